"""Request bodies through the real web server: cut off, in chunks, rejected, too large, and slow."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.databases import ALL_ORGANIZATIONS, cloned_database
from tests.support.files import new_file
from tests.support.servers import serving

FILE = new_file(1000)


@pytest.fixture(scope="module")
def service(server_url):
    with cloned_database(server_url, "wire") as database_url, serving(database_url, SECRET_KEY) as url:
        yield Service(url, database_url)


class Service:
    """The running service, and raw requests to it."""

    def __init__(self, url, database_url):
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self.engine = sa.create_engine(database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
        account = {"email": "ada@example.org", "password": factories.PASSWORD}
        self.post("/api/v1/auth/register", {**account, "name": "Ada"})
        self.token = self.post("/api/v1/auth/login", account)[1]["access_token"]

    def post(self, path, body):
        content = json.dumps(body).encode()
        return self.send(request("POST", path, content, f"Content-Length: {len(content)}"))

    def send(self, *parts, pause=0.0, half_close=False):
        """Send the bytes of a request. Return the status and JSON of the response."""
        with socket.create_connection(self.address, timeout=20) as connection:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            response = b""
            while b"\r\n\r\n" not in response and (received := connection.recv(65_536)):
                response += received
            head, _, body = response.partition(b"\r\n\r\n")
            if not head:
                return None, None
            headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
            while len(body) < int(headers.get("content-length", 0)) and (received := connection.recv(65_536)):
                body += received
            return int(head.split()[1]), json.loads(body) if body else None

    def upload(self, *headers):
        """Return the head of an import request."""
        return request(
            "POST",
            "/api/v1/imports?usage_type_id=100",
            b"",
            *headers,
            f"Authorization: Bearer {self.token}",
            content_type="text/csv",
        )

    def usage_count(self):
        with self.engine.connect() as connection:
            return connection.scalar(sa.text("SELECT count(*) FROM usages"))


def request(method, path, body, *headers, content_type="application/json"):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_upload_that_is_cut_off_records_nothing(service):
    before = service.usage_count()
    # The client disconnects in the middle of the file, after a complete line.
    service.send(service.upload(f"Content-Length: {len(FILE) * 2}"), FILE, half_close=True)
    time.sleep(1)

    assert service.usage_count() == before
    status, imported = service.send(service.upload(f"Content-Length: {len(FILE)}"), FILE)
    assert (status, imported["usage_count"]) == (201, 1000)
    assert service.usage_count() == before + 1000


def in_chunks(body, size=8192):
    parts = [body[begin : begin + size] for begin in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


@pytest.mark.parametrize("size", [100, 50_000])
def test_chunked_upload_is_imported(service, size):
    file = new_file(size)  # A long one is streamed to its thread.
    before = service.usage_count()

    status, imported = service.send(service.upload("Transfer-Encoding: chunked"), in_chunks(file))

    assert (status, imported["usage_count"]) == (201, size)
    assert service.usage_count() == before + size


@pytest.mark.parametrize("size", [100, 50_000])
@pytest.mark.parametrize("end", [b"", b"5\r\n202", b"zz\r\n"])
def test_truncated_chunks_record_nothing(service, size, end):
    file = new_file(size)
    before = service.usage_count()
    cut = in_chunks(file).removesuffix(b"0\r\n\r\n") + end

    status, _ = service.send(service.upload("Transfer-Encoding: chunked"), cut, half_close=True)

    assert status in (None, 400)
    time.sleep(0.5)
    assert service.usage_count() == before


def test_chunked_json_has_the_limit_of_other_json(service):
    def record(note):
        body = json.dumps({"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1, "note": note})
        head = request(
            "POST", "/api/v1/usages", b"", "Transfer-Encoding: chunked", f"Authorization: Bearer {service.token}"
        )
        return service.send(head, in_chunks(body.encode()))

    assert record("short")[0] == 201
    assert record("x" * 1_100_000)[0] == 413


def test_other_transfer_coding_is_400(service):
    before = service.usage_count()

    status, problem = service.send(service.upload("Transfer-Encoding: gzip, chunked"), in_chunks(FILE))

    detail = "A body must have either a Content-Length or `Transfer-Encoding: chunked`, and no others."
    assert (status, problem["detail"]) == (400, detail)
    assert service.usage_count() == before


def test_rejected_upload_is_read_on(service):
    """A client that sends everything before it reads gets the response, not a broken connection."""
    size = 20_000_000
    head = service.upload(f"Content-Length: {size}").replace(service.token.encode(), b"x.y.z")

    for _ in range(20):
        assert service.send(head, b"x" * size)[0] == 401


def test_large_body_is_413_before_it_is_sent(service):
    head = request(
        "POST",
        "/api/v1/usages",
        b"",
        "Content-Length: 10000000",
        f"Authorization: Bearer {service.token}",
    )
    status, problem = service.send(head)
    assert (status, problem["status"]) == (413, 413)


def test_body_in_pieces_is_complete(service):
    file = new_file(1000)
    pieces = [file[begin : begin + 8192] for begin in range(0, len(file), 8192)]

    status, _ = service.send(service.upload(f"Content-Length: {len(file)}"), *pieces, pause=0.2)

    assert status == 201


@pytest.mark.parametrize("line", ["GET /api/v1/usages/%00 HTTP/1.1", "GET /api/v1/usages?a=%ff%fe&%00=1 HTTP/1.1"])
def test_odd_paths_are_answered(service, line):
    status, problem = service.send(f"{line}\r\nHost: x\r\nAuthorization: Bearer {service.token}\r\n\r\n".encode())

    assert status in (404, 422)
    assert problem["status"] == status


def test_unreadable_header_is_not_ignored(service):
    body = b'{"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}'
    before = service.usage_count()
    head = request(
        "POST", "/api/v1/usages", b"", f"Content-Length: {len(body)}", f"Authorization: Bearer {service.token}"
    )

    status, problem = service.send(head.replace(b"\r\n\r\n", b"\r\nIdempotency-Key: \xc3\xa9\r\n\r\n") + body)

    detail = "Idempotency-Key must be 1 to 255 visible ASCII characters, for example a UUID."
    assert (status, problem["detail"]) == (422, detail)
    assert service.usage_count() == before
