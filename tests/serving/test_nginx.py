"""The service behind a real nginx: compression, path prefixes, rejected uploads, and long queries."""

import gzip
import http.client
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import httpx
import pytest
import requests

from carbonapi.serving.request_body import DISCARD_IDLE_SECONDS, DISCARD_SECONDS
from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.files import new_file
from tests.support.nginx import nginx
from tests.support.servers import serving, serving_with_gunicorn

pytestmark = pytest.mark.nginx
TRIES = 20
ACCOUNT = {"email": "ada@example.org", "password": factories.PASSWORD}
USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 1}
UNLIMITED = {"RATE_LIMIT_IMPORTS_PER_ACCOUNT": 0, "RATE_LIMIT_IMPORTS_PER_IP": 0}
NODE = """
const [url, file] = process.argv.slice(1);
const body = require("fs").readFileSync(file);
const headers = { Authorization: "Bearer x.y.z", "Content-Type": "text/csv" };
fetch(url, { method: "POST", headers, body }).then(
  async answer => console.log(answer.status, (await answer.json()).status),
  error => console.log(String(error.cause ?? error)),
);
"""


@pytest.fixture(scope="module")
def service(module_database_url):
    with serving(module_database_url, SECRET_KEY, TRUSTED_PROXIES=1, **UNLIMITED) as url:
        requests.post(f"{url}/api/v1/auth/register", json=ACCOUNT | {"name": "Ada"}).raise_for_status()
        yield url


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("upload") / "readings.csv"
    path.write_bytes(b"usage_at,amount\n" + b"2024-01-01T00:00:00Z,1\n" * 1_000_000)  # 23 MB.
    return path


def log_in(url):
    session = requests.Session()
    token = session.post(f"{url}/api/v1/auth/login", json=ACCOUNT).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def curl(url, file, *options):
    authorization = ("-H", "Authorization: Bearer x.y.z", "-H", "Content-Type: text/csv")
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *authorization, *options]
    return subprocess.run([*command, "--data-binary", f"@{file}", url], capture_output=True, text=True).stdout


def curl_without_expect(url, file):
    return curl(url, file, "-H", "Expect:")


def curl_in_chunks(url, file):
    return curl(url, file, "-H", "Transfer-Encoding: chunked")


def with_requests(url, file):
    headers = {"Authorization": "Bearer x.y.z", "Content-Type": "text/csv"}
    with file.open("rb") as body:
        return str(requests.post(url, data=body, headers=headers).status_code)


def with_urllib(url, file):
    headers = {"Authorization": "Bearer x.y.z", "Content-Type": "text/csv"}
    try:
        urllib.request.urlopen(urllib.request.Request(url, file.read_bytes(), headers))
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)


def with_http_client_in_chunks(url, file):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    headers = {"Authorization": "Bearer x.y.z", "Content-Type": "text/csv"}
    content = file.read_bytes()
    body = (content[begin : begin + 65_536] for begin in range(0, len(content), 65_536))
    connection.request("POST", f"{parts.path}?{parts.query}", body, headers, encode_chunked=True)
    with connection.getresponse() as answer:
        connection.close()
        return str(answer.status)


def with_httpx(url, file):
    headers = {"Authorization": "Bearer x.y.z", "Content-Type": "text/csv"}
    return str(httpx.post(url, content=file.read_bytes(), headers=headers, timeout=60).status_code)


def with_node(url, file):
    return subprocess.run(["node", "-e", NODE, url, str(file)], capture_output=True, text=True).stdout[:3]


UPLOADS = [
    curl,
    curl_without_expect,
    curl_in_chunks,
    with_requests,
    with_urllib,
    with_http_client_in_chunks,
    with_httpx,
    with_node,
]


def upload_often(upload, service, file, buffering):
    """Return the statuses of rejected uploads to the service, or through an nginx with this buffering."""
    query = "/api/v1/imports?usage_type_id=101"
    if buffering == "direct":
        return [upload(service + query, file) for _ in range(TRIES)]
    with nginx(service, settings=f"proxy_request_buffering {buffering};") as (url, folder):
        statuses = [upload(url + query, file) for _ in range(TRIES)]
        assert (folder / "error.log").read_text().count("Broken pipe") == 0
    return statuses


@pytest.mark.parametrize("buffering", ["direct", "on", "off"])
@pytest.mark.parametrize("upload", UPLOADS)
def test_rejection_of_an_upload_reaches_the_client(service, file, buffering, upload):
    assert upload_often(upload, service, file, buffering) == ["401"] * TRIES


@pytest.fixture(scope="module")
def gunicorn(service, module_database_url):
    with serving_with_gunicorn(module_database_url, SECRET_KEY, **UNLIMITED) as url:
        yield url


@pytest.mark.parametrize("buffering", ["direct", "on", "off"])
@pytest.mark.parametrize("upload", UPLOADS)
def test_rejection_by_gunicorn_reaches_the_client(gunicorn, file, buffering, upload):
    assert upload_often(upload, gunicorn, file, buffering) == ["401"] * TRIES


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_too_large_json_and_invalid_query_are_not_502(service, buffering):
    with nginx(service, settings=f"proxy_request_buffering {buffering};") as (url, _):
        session = log_in(url)
        headers = {"Content-Type": "text/csv"}
        for _ in range(TRIES):
            assert session.post(f"{url}/api/v1/usages", json=USAGE | {"note": "x" * 2_000_000}).status_code == 413
            upload = session.post(f"{url}/api/v1/imports?nonsense=1", data=b"x" * 3_000_000, headers=headers)
            assert upload.status_code == 422


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_chunked_upload_passes_nginx(service, buffering):
    with nginx(service, settings=f"proxy_request_buffering {buffering};") as (url, _):
        lines = (line for line in (b"usage_at,amount\n", b"2024-01-01T00:00:00Z,1\n", b"2024-01-02T00:00:00Z,1\n"))
        query = {"usage_type_id": 101, "mode": "dry-run"}
        answer = log_in(url).post(
            f"{url}/api/v1/imports", data=lines, params=query, headers={"Content-Type": "text/csv"}
        )

        assert (answer.status_code, answer.json()["usage_count"]) == (200, 2)


def test_etag_of_an_nginx_that_compresses_can_be_sent_back(service):
    gzip_on = "gzip on; gzip_types application/json; gzip_proxied any; gzip_min_length 1;"
    # nginx must compress, not the service.
    with nginx(service, server=gzip_on, settings='proxy_set_header Accept-Encoding "";') as (url, _):
        session = log_in(url)
        path = session.post(f"{url}/api/v1/usages", json=USAGE).headers["Location"]
        read = session.get(f"{url}{path}")
        assert (read.headers["ETag"], read.headers["Content-Encoding"]) == ('W/"1"', "gzip")

        corrected = session.patch(f"{url}{path}", json={"amount": 2}, headers={"If-Match": read.headers["ETag"]})
        assert corrected.status_code == 200
        assert session.get(f"{url}{path}", headers={"If-None-Match": 'W/"2"'}).status_code == 304
        stale = session.patch(f"{url}{path}", json={"amount": 3}, headers={"If-Match": read.headers["ETag"]})
        assert stale.status_code == 412
        assert session.delete(f"{url}{path}", headers={"If-Match": 'W/"2"'}).status_code == 204


def test_compressed_responses_pass_nginx(service):
    with nginx(service) as (url, _):
        session = log_in(url)
        for _ in range(20):
            session.post(f"{url}/api/v1/usages", json=USAGE)
        for path in ("/api/v1/usages", "/api/v1/usages/export", "/openapi.json", "/docs/swagger-ui-bundle.js"):
            answer = session.get(f"{url}{path}", headers={"Accept-Encoding": "gzip"}, stream=True)
            plain = session.get(f"{url}{path}", headers={"Accept-Encoding": "identity"})
            assert (answer.headers["Content-Encoding"], "Content-Encoding" in plain.headers) == ("gzip", False)
            assert gzip.decompress(answer.raw.read()) == plain.content


def test_links_of_45_filters_fit_the_default_buffers(service):
    with nginx(service) as (url, _):
        session = log_in(url)
        for _ in range(3):
            session.post(f"{url}/api/v1/usages", json=USAGE)
        query = "&".join(f"usage_type_id={10_000_000 + number}" for number in range(44))
        answer = session.get(f"{url}/api/v1/usages?usage_type_id=100&{query}&page_size=1&page=2")

        assert (answer.status_code, len(answer.json())) == (200, 1)
        assert session.get(f"{url}{answer.links['next']['url']}").json()[0]["id"] != answer.json()[0]["id"]


@pytest.mark.parametrize("target", ["", "/"], ids=["kept", "stripped"])
@pytest.mark.parametrize("source", ["setting", "header"])
@pytest.mark.parametrize("server", [serving, serving_with_gunicorn])
def test_service_below_a_prefix(service, module_database_url, server, source, target):
    settings = {"BASE_PATH": "/carbon"} if source == "setting" else {"TRUSTED_PROXIES": 1}
    header = "proxy_set_header X-Forwarded-Prefix /carbon;" if source == "header" else ""
    with (
        server(module_database_url, SECRET_KEY, **settings, **UNLIMITED) as address,
        nginx(address, location="/carbon/", target=target, settings=header) as (url, _),
    ):
        session = log_in(f"{url}/carbon")
        for _ in range(2):
            recorded = session.post(f"{url}/carbon/api/v1/usages", json=USAGE)
        assert recorded.headers["Location"] == f"/carbon/api/v1/usages/{recorded.json()['id']}"
        assert session.get(f"{url}{recorded.headers['Location']}").json()["id"] == recorded.json()["id"]
        page = session.get(f"{url}/carbon/api/v1/usages?page_size=1")
        assert session.get(f"{url}{page.links['next']['url']}").status_code == 200
        assert session.get(f"{url}/carbon/", allow_redirects=False).headers["Location"] == "/carbon/docs"
        assert 'data-document="/carbon/openapi.json"' in session.get(f"{url}/carbon/").text
        assert session.get(f"{url}/carbon/openapi.json").json()["servers"][0]["url"] == "/carbon"
        collection = session.get(f"{url}/carbon/postman.json").json()
        assert collection["variable"][0]["value"].endswith("/carbon")
        dashboard = session.get(f"{url}/carbon/dashboard").text
        script = dashboard.partition('type="module" src="')[2].partition('"')[0]
        assert session.get(f"{url}{script}").status_code == 200


@pytest.mark.parametrize("size", [100, 50_000])
def test_gunicorn_reads_chunks_and_detects_truncated_ones(service, module_database_url, size):
    with serving_with_gunicorn(module_database_url, SECRET_KEY, **UNLIMITED) as url:
        session = log_in(url)
        file = new_file(size)
        query = {"usage_type_id": 102, "mode": "dry-run"}
        parts = (file[begin : begin + 8192] for begin in range(0, len(file), 8192))
        headers = {"Content-Type": "text/csv"}
        answer = session.post(f"{url}/api/v1/imports", data=parts, params=query, headers=headers)
        assert (answer.status_code, answer.json()["usage_count"]) == (200, size)
        recorded = session.post(
            f"{url}/api/v1/usages",
            data=iter([json.dumps(USAGE).encode()]),
            headers={"Content-Type": "application/json"},
        )
        assert recorded.status_code == 201

        token, before = session.headers["Authorization"], session.get(f"{url}/api/v1/imports").json()
        lines = ["POST /api/v1/imports?usage_type_id=102 HTTP/1.1", "Host: x", f"Authorization: {token}"]
        head = "\r\n".join([*lines, "Content-Type: text/csv", "Transfer-Encoding: chunked", "", ""]).encode()
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=20) as connection:
            connection.sendall(head + b"%x\r\n%s\r\n" % (len(file), file))
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(12) in (b"HTTP/1.1 400", b"")
        assert session.get(f"{url}/api/v1/imports").json() == before


def test_gunicorn_closes_the_connection_of_a_stalled_upload(gunicorn):
    head = b"POST /api/v1/imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 50000000\r\n\r\n"
    with socket.create_connection((urlsplit(gunicorn).hostname, urlsplit(gunicorn).port), timeout=20) as connection:
        began = time.monotonic()
        connection.sendall(head + b"x" * 1_000_000)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        seconds = time.monotonic() - began

    assert answer.startswith(b"HTTP/1.1 401")
    assert DISCARD_IDLE_SECONDS <= seconds < DISCARD_SECONDS
