"""gzip for clients that accept it: what is compressed, what is not, and the headers."""

import gzip
import json
import time
import zlib

import pytest

from carbonapi.rest import compression
from tests.support import factories
from tests.support.plans import add_many_usages

GZIP = {"Accept-Encoding": "gzip, deflate, br"}
USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 1}


def get(client, path, **headers):
    with client.get(path, headers=headers) as answer:
        return answer.status_code, answer.headers, answer.data


@pytest.fixture
def usages(as_manager, organization):
    for _ in range(20):
        assert as_manager.post("/usages", json=USAGE).status_code == 201
    return as_manager


@pytest.mark.parametrize(
    "path",
    [
        "/usages",
        "/usages/export?format=csv",
        "/usages/export?format=ndjson",
        "/openapi.json",
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
    ],
)
def test_long_response_is_compressed_when_asked(usages, path):
    _, plain_headers, plain = get(usages, path)
    status, headers, compressed = get(usages, path, **GZIP)

    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert gzip.decompress(compressed) == plain
    assert len(compressed) < len(plain) / 2
    for each in (headers, plain_headers):
        assert "Accept-Encoding" in each["Vary"]
    assert "Content-Encoding" not in plain_headers
    assert headers.get("Content-Length") in (None, str(len(compressed)))


def test_long_problem_is_compressed(as_manager):
    lines = b"usage_at,amount\n" + b"nonsense,x\n" * 50
    answer = as_manager.post("/imports?usage_type_id=100", data=lines, content_type="text/csv", headers=GZIP)

    assert (answer.status_code, answer.headers["Content-Encoding"]) == (422, "gzip")
    assert json.loads(gzip.decompress(answer.data))["status"] == 422


@pytest.mark.parametrize("accepted", ["", "br", "identity", "gzip;q=0", "identity, gzip;q=0.5", "*;q=0", "GZIP-X"])
def test_other_codings_get_the_plain_response(usages, accepted):
    _, headers, body = get(usages, "/usages", **{"Accept-Encoding": accepted})

    assert "Content-Encoding" not in headers
    assert len(json.loads(body)) == 20


def test_short_and_empty_responses_are_not_compressed(usages):
    usage_id = json.loads(get(usages, "/usages")[2])[0]["id"]

    status, headers, _ = get(usages, f"/usages/{usage_id}", **GZIP)
    assert (status, headers.get("Content-Encoding"), headers["ETag"]) == (200, None, '"1"')
    unchanged = usages.get(f"/usages/{usage_id}", headers=GZIP | {"If-None-Match": 'W/"1"'})
    assert (unchanged.status_code, unchanged.headers.get("Content-Encoding")) == (304, None)
    head = usages.open("/usages", "HEAD", headers=GZIP)
    assert (head.status_code, head.headers.get("Content-Encoding")) == (200, None)
    deleted = usages.delete(f"/usages/{usage_id}", headers=GZIP)
    assert (deleted.status_code, deleted.headers.get("Content-Encoding")) == (204, None)


def test_compressed_resource_has_a_weak_etag(as_manager):
    usage = as_manager.post("/usages", json=USAGE | {"note": "A note. " * 200}).json
    _, plain, _ = get(as_manager, f"/usages/{usage['id']}")
    _, compressed, _ = get(as_manager, f"/usages/{usage['id']}", **GZIP)

    assert (plain["ETag"], compressed["ETag"]) == ('"1"', 'W/"1"')
    headers = {"If-Match": compressed["ETag"]}
    assert as_manager.patch(f"/usages/{usage['id']}", json={"amount": 2}, headers=headers).status_code == 200


def test_static_file_is_revalidated_and_compressed_once(stranger, monkeypatch):
    path = "/docs/swagger-ui-bundle.js"
    _, headers, body = get(stranger, path, **GZIP)
    assert get(stranger, path, **GZIP, **{"If-None-Match": headers["ETag"]})[0] == 304
    assert "Accept-Ranges" not in headers

    monkeypatch.setattr(compression, "_compress_bytes", None)
    assert get(stranger, path, **GZIP)[2] == body
    status, partial, part = get(stranger, path, **GZIP, Range="bytes=0-99")
    assert (status, len(part), partial.get("Content-Encoding")) == (206, 100, None)


def test_dashboard_files_are_compressed_once(stranger):
    page = stranger.http.get("/dashboard").text
    path = page.partition('type="module" src="')[2].partition('"')[0]

    answer = stranger.http.get(path, headers=GZIP)

    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"import" in gzip.decompress(answer.data)


def test_broken_export_has_no_end_of_the_file():
    def chunks():
        yield b"id\n" * 10_000
        yield b'"The export failed here'
        raise RuntimeError

    received, stream = b"", compression._compress_chunks(chunks())
    with pytest.raises(RuntimeError):
        for chunk in stream:
            received += chunk

    decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert decompressor.decompress(received).endswith(b'"The export failed here')
    assert not decompressor.eof


def test_export_is_compressed_while_it_is_read(app, sign_in, organization):
    """The first bytes arrive before the last row is read, and no chunk is as long as the file."""
    add_many_usages(organization)
    manager = sign_in(factories.user(organization, "manager"))

    answer = manager.get("/usages/export?format=ndjson", headers=GZIP, buffered=False)
    chunks = list(answer.response)

    assert gzip.decompress(b"".join(chunks)).count(b"\n") == 8000
    assert len(chunks) > 3
    answer.close()


def test_compressing_a_page_takes_few_milliseconds(many_usages, sign_in, organization):
    manager = sign_in(factories.user(organization, "manager"))
    body = get(manager, "/usages?page_size=1000")[2]

    started_at = time.process_time()
    compressed = compression._compress_bytes(body, compression.LEVEL)
    seconds = time.process_time() - started_at

    assert len(compressed) < len(body) / 10
    assert seconds < 0.02  # 1.5 ms on a quiet core; reading the page takes some 15.
