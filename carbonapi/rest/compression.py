"""Compress responses with gzip (RFC 9110, section 8.4) for clients that accept it.

Level 1 takes 1.5 ms for a page of 1000 usages, a third of the time of level 6, and the result is a quarter larger: 5 %
of the JSON instead of 4 %. No page of another origin can guess secrets by the length, because it cannot log in.
"""

import functools
import zlib
from collections.abc import Iterable, Iterator
from typing import cast

from flask import Response, request

MIN_BYTES = 1024
LEVEL = 1
FILE_LEVEL = 6  # Of files, which are compressed once.
_GZIP = 16 + zlib.MAX_WBITS
MIME_TYPES = {
    "application/json",
    "application/problem+json",
    "application/x-ndjson",
    "application/javascript",
    "image/svg+xml",
}


def compress(response: Response) -> Response:
    """Compress the body, if its kind allows that. The ETag becomes weak, because it no longer names the bytes."""
    mime_type = response.mimetype or ""
    if mime_type not in MIME_TYPES and not mime_type.startswith("text/"):
        return response
    response.vary.add("Accept-Encoding")
    length = response.content_length
    is_complete = response.status_code not in (204, 206, 304) and request.method != "HEAD"
    if not is_complete or response.content_encoding or (length is not None and length < MIN_BYTES):
        return response
    if request.accept_encodings.best_match(("gzip", "identity"), "identity") != "gzip":
        return response
    tag = response.get_etag()[0]
    if response.direct_passthrough:
        response.direct_passthrough = False
        response.data = _compress_file(tag, response.get_data())
    elif response.is_streamed:
        response.response = _compress_chunks(cast(Iterable[bytes], response.response))
    else:
        response.data = _compress_bytes(response.get_data(), LEVEL)
    response.content_encoding = "gzip"
    response.headers.pop("Accept-Ranges", None)  # Ranges are of the uncompressed file.
    if tag is not None:
        response.set_etag(tag, weak=True)
    return response


def _compress_bytes(content: bytes, level: int) -> bytes:
    compressor = zlib.compressobj(level, wbits=_GZIP)
    return compressor.compress(content) + compressor.flush()


@functools.lru_cache(maxsize=16)
def _compress_file(tag: str | None, content: bytes) -> bytes:
    return _compress_bytes(content, FILE_LEVEL)


def _compress_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield compressed chunks. After an error, the client gets everything up to it, and no end of the file."""
    compressor = zlib.compressobj(LEVEL, wbits=_GZIP)
    try:
        for chunk in chunks:
            if compressed := compressor.compress(chunk):
                yield compressed
    except Exception:
        yield compressor.flush(zlib.Z_SYNC_FLUSH)
        raise
    yield compressor.flush()
