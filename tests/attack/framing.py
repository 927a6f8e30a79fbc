"""Bodies with wrong framing: compressed, truncated, too large, with two lengths, or in wrong chunks."""

import gzip
import json

SAMPLE = ("record_usage", "import_usages")
TOO_LARGE = 10_000_000
FILE = b"usage_at,amount\n2024-01-01T00:00:00Z,1\n"


def attack(part, service, target):
    """Send every kind of wrong framing to an operation with a body."""
    operation = target.operation
    if not operation.media:
        return
    is_json = "application/json" in operation.media
    media_type = "application/json" if is_json else "text/csv"
    body = json.dumps(operation.body(**target.fields)).encode() if is_json else FILE
    compressed, length = gzip.compress(body), f"Content-Length: {len(body)}"
    chunk, chunked = b"%x\r\n%s\r\n" % (len(body), body), "Transfer-Encoding: chunked"
    too_large = b"%x\r\n%s\r\n0\r\n\r\n" % (TOO_LARGE, b" " * TOO_LARGE)
    before = rows(service, target)
    for name, expected, headers, content in (
        ("cut off before the last chunk", {0, 400}, [chunked], chunk),
        ("cut off inside a chunk", {0, 400}, [chunked], chunk[:-8]),
        ("a chunk whose size is no number", {0, 400}, [chunked], chunk + b"-1\r\n"),
        ("chunks that are too large", {413} if is_json else None, [chunked], too_large),
        ("another transfer coding", {0, 400}, ["Transfer-Encoding: gzip, chunked"], chunk + b"0\r\n\r\n"),
        ("gzip", {415}, ["Content-Encoding: gzip", f"Content-Length: {len(compressed)}"], compressed),
        ("cut off", {0, 400}, [f"Content-Length: {len(body) + 10}"], body),
        ("cut off inside", {0, 400}, [length], body[:-8]),
        ("two lengths", {0, 400}, [length, "Content-Length: 5"], body),
        ("a length and chunks that are cut off", {0, 400}, [length, chunked], chunk),
        ("a negative length", {0, 400}, ["Content-Length: -1"], body),
        ("a length that is no number", {0, 400}, ["Content-Length: 1e3"], body),
        ("too large", {413} if is_json else None, [f"Content-Length: {TOO_LARGE}"], b""),
        ("no media type", {415}, [length, "Content-Type:"], body),
    ):
        if expected is None:
            continue
        kind = [] if name == "no media type" else [f"Content-Type: {media_type}"]
        lines = [f"{operation.method} {operation.path(target.ids)} HTTP/1.1", "Host: x", *kind, *headers]
        lines += ["Connection: close", f"Authorization: Bearer {target.token}"]
        answer = service.send("\r\n".join(lines).encode() + b"\r\n\r\n" + content, half_close="cut off" in name)
        # The web server itself rejects invalid HTTP, and closes the connection.
        is_valid = answer.status in (0, 400) or answer.is_problem
        details = (operation.method, operation.template, name, answer.status, answer.text)
        part.attack(operation.id, answer.status in expected and is_valid, *details)
    part.expect(rows(service, target) == before, operation.id, "has stored a body with wrong framing")


def rows(service, target):
    """Return the rows that the operation would have changed."""
    path = "/usages?page_size=1000" if target.operation.id in SAMPLE else "/auth/me"
    return service.ask("GET", path, target.token).json
