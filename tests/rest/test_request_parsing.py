"""Invalid requests: each returns the documented status, names the field and stores nothing."""

import io
import json

import pytest

from carbonapi.rest.request_parsing import DetectTruncatedBodies

GOOD = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 12.5}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("amount", "NaN"),
        ("amount", "Infinity"),
        ("amount", "-Infinity"),
        ("amount", '"NaN"'),
        ("amount", '"Infinity"'),
        ("amount", "1e400"),
        ("amount", "1E+1000000000"),
        ("amount", "1e99999999999999999999"),
        ("amount", "1e-99999999999999999999"),
        ("amount", "1e-30"),
        ("amount", "0.0000001"),
        ("amount", "1000000000000"),
        ("amount", "-1"),
        ("amount", "-0.000001"),
        ("amount", '"1_000"'),
        ("amount", '"1,5"'),
        ("amount", '" 1"'),
        ("amount", '"1e3"'),
        ("amount", '"٣"'),
        ("amount", '""'),
        ("amount", "true"),
        ("amount", "null"),
        ("amount", "[1]"),
        ("amount", "{}"),
        ("amount", "1" * 4000),
        ("amount", "0." + "1" * 5000),
        ("usage_type_id", "1.5"),
        ("usage_type_id", "100.5"),
        ("usage_type_id", "1E+1000000000"),
        ("usage_type_id", "1E+99999999999999999999"),
        ("usage_type_id", "NaN"),
        ("usage_type_id", '"100"'),
        ("usage_type_id", "0"),
        ("usage_type_id", "-1"),
        ("usage_type_id", "9" * 30),
        ("usage_type_id", "9223372036854775808"),
        ("usage_type_id", "true"),
        ("usage_type_id", "null"),
        ("usage_at", '"2024-01-31T12:00:00"'),
        ("usage_at", '"2024-01-31"'),
        ("usage_at", '"2024-02-30T12:00:00Z"'),
        ("usage_at", '"2024-01-31T24:00:00Z"'),
        ("usage_at", '"2024-01-31T12:00:60Z"'),
        ("usage_at", '"2024-01-31T12:00:00.1234567Z"'),
        ("usage_at", '"2024-01-31T12:00:00+24:00"'),
        ("usage_at", '"9999-12-31T23:59:59-12:00"'),
        ("usage_at", '"0001-01-01T00:00:00+14:00"'),
        ("usage_at", '"1899-12-31T23:59:59Z"'),
        ("usage_at", '"1900-01-01T00:00:00+00:01"'),
        ("usage_at", '"2201-01-01T00:00:00Z"'),
        ("usage_at", '"2200-12-31T23:59:59-00:01"'),
        ("usage_at", '"٢٠٢٤-01-31T12:00:00Z"'),
        ("usage_at", "1706702400"),
        ("usage_at", "null"),
        ("user_id", '"1"'),
        ("user_id", "9" * 30),
        ("quality", '"guessed"'),
        ("quality", "null"),
        ("region", '"gb"'),
        ("region", '"GB\\n"'),
        ("region", "7"),
        ("note", '"a\\u0000b"'),
        ("note", '"a\\ud800b"'),
        ("note", '"a\\u001bb"'),
        ("note", "7"),
        ("note", '"' + "x" * 2001 + '"'),
        ("external_id", '""'),
        ("external_id", '"  "'),
        ("external_id", '"' + "x" * 201 + '"'),
        ("co2e_kg", "1"),
        ("factor", "1"),
        ("id", "1"),
        ("organization_id", "1"),
        ("version", "1"),
        ("recorded_at", '"2024-01-31T12:00:00Z"'),
        ("import_id", "1"),
        ("ammount", "1"),
        ("a\\u0000b", "1"),
    ],
)
def test_invalid_value_is_422_and_names_the_field(as_member, field, text):
    fields = {name: json.dumps(value) for name, value in GOOD.items()} | {field: text}
    body = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"

    answer = as_member.post("/usages", data=body, content_type="application/json")

    assert answer.status_code == 422, answer.text
    assert list(answer.json["errors"]["json"]) == [json.loads(f'"{field}"')]
    assert answer.content_type == "application/problem+json"
    assert as_member.get("/usages").json == []


def test_integer_accepts_a_zero_fraction(as_member):
    body = '{"usage_type_id": 100.0, "usage_at": "2024-01-31T12:00:00Z", "amount": 1}'

    answer = as_member.post("/usages", data=body, content_type="application/json")

    assert (answer.status_code, answer.json["usage_type_id"]) == (201, 100)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'amount': 1}",
        b'{"amount": 1,}',
        b'{"amount": 01}',
        b'{"amount": .5}',
        b'{"amount": 1} x',
        b'{"amount": 1, "amount": 2}',
        b'{"note": "a\nb"}',
        b"\xff\xfe",
        b'{"note": "\xed\xa0\x80"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"amount": ' + b"1" * 5000 + b"}",
        '{"amount": 1}'.encode("utf-16"),
    ],
)
def test_invalid_json_is_400(as_member, body):
    answer = as_member.post("/usages", data=body, content_type="application/json")

    assert answer.status_code == 400, answer.text
    assert answer.json["type"] == "urn:carbonapi:problem:bad-request"


@pytest.mark.parametrize("body", ["[]", "[{}]", '"text"', "1", "null", "true"])
def test_body_that_is_no_object_is_422(as_member, body):
    for method, path in (("POST", "/usages"), ("POST", "/auth/login"), ("PATCH", "/auth/me")):
        answer = as_member.open(path, method, data=body, content_type="application/json")
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["json"])


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", "x"]
)
def test_unsupported_media_type_is_415(as_member, content_type):
    assert as_member.post("/usages", data=json.dumps(GOOD), content_type=content_type).status_code == 415
    assert as_member.get("/usages").json == []


def test_unpaired_surrogate_in_a_name_becomes_a_question_mark(as_member):
    answer = as_member.post("/usages", data='{"a\\ud800": 1}', content_type="application/json")

    assert (answer.status_code, answer.json["errors"]["json"]["a?"]) == (422, ["Unknown field."])


def test_json_with_a_charset_is_accepted(as_member):
    answer = as_member.post("/usages", data=json.dumps(GOOD), content_type="application/json; charset=utf-8")

    assert answer.status_code == 201


def test_body_of_ten_megabytes_is_413(as_member):
    body = json.dumps(GOOD | {"note": "x" * 10_000_000})

    answer = as_member.post("/usages", data=body, content_type="application/json")

    assert (answer.status_code, answer.content_type) == (413, "application/problem+json")


def test_compressed_body_is_415(as_member):
    headers = {"Content-Encoding": "gzip"}
    assert as_member.post("/usages", data=b"x", content_type="application/json", headers=headers).status_code == 415


def send_chunks(client, server, note="short", coding="chunked", **environ):
    """Send a body without a length, as this web server passes it to the application."""
    body = json.dumps(GOOD | {"note": note}).encode()
    environ |= {"SERVER_SOFTWARE": server, "HTTP_TRANSFER_ENCODING": coding, "wsgi.input_terminated": True}
    environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_TYPE": "application/json"}
    return client.post("/usages", environ_overrides=environ)


@pytest.mark.parametrize("server", ["carbonapi", "gunicorn/27.0.1"])
def test_chunked_body_is_read(as_member, server):
    assert send_chunks(as_member, server).status_code == 201
    assert send_chunks(as_member, server, "x" * 2_000_000).status_code == 413


def test_chunks_need_a_server_that_detects_truncation(as_member):
    answer = send_chunks(as_member, "Granian")

    assert (answer.status_code, answer.json["title"]) == (411, "Length required")
    assert as_member.get("/usages").json == []


def test_other_coding_or_a_length_with_chunks_is_400(as_member):
    assert send_chunks(as_member, "gunicorn/27.0.1", coding="gzip, chunked").status_code == 400
    assert send_chunks(as_member, "gunicorn/27.0.1", CONTENT_LENGTH="5").status_code == 400
    assert as_member.get("/usages").json == []


def test_truncated_body_is_400_and_stores_nothing(as_member):
    """Servers pass a body that ends early as if it were whole, and say so by a flag."""
    body = json.dumps(GOOD).encode()

    def cut_off(whole):
        return {"wsgi.input_terminated": True, "CONTENT_LENGTH": str(len(whole) + 10)}

    answer = as_member.post("/usages", data=body, content_type="application/json", environ_overrides=cut_off(body))

    assert answer.status_code == 400
    file = b"usage_at,amount\n2024-01-01T00:00:00Z,1\n"
    cut = as_member.post(
        "/imports?usage_type_id=100", data=file, content_type="text/csv", environ_overrides=cut_off(file)
    )
    assert cut.status_code == 400
    assert as_member.get("/usages").json == []


def test_middleware_removes_the_input_terminated_flag():
    seen = []
    DetectTruncatedBodies(lambda environ, start: seen.append(dict(environ)) or [])(
        {"wsgi.input_terminated": True}, None
    )
    assert seen == [{}]


@pytest.mark.parametrize(
    "id_",
    ["9" * 30, "9223372036854775808", "0", "01", "-1", "1.0", "٣", "1_0", "abc", "%00", "1%0a", "+1", "", "1 OR 1=1"],
)
def test_invalid_id_in_a_path_is_404(as_manager, id_):
    for path in ("/usages/{}", "/users/{}", "/organizations/{}", "/usage-types/{}", "/imports/{}"):
        if id_:
            answer = as_manager.get(path.format(id_))
            assert answer.status_code == 404, path
            assert answer.content_type == "application/problem+json"
    assert as_manager.get(f"/users/{id_ or 'x'}/usages").status_code == 404


def test_errors_are_problems(as_member, stranger):
    for answer, status, kind, title in (
        (stranger.get("/usages"), 401, "unauthenticated", "Unauthenticated"),
        (as_member.get("/nowhere"), 404, "not-found", "Not found"),
        (as_member.get("/usages/1"), 404, "not-found", "Not found"),
        (as_member.open("/usages/1", "POST"), 405, "method-not-allowed", "Method Not Allowed"),
        (as_member.post("/organizations", json={"name": "x"}), 403, "forbidden", "Forbidden"),
        (as_member.post("/usages", json={}), 422, "validation-failed", "Validation failed"),
    ):
        problem = answer.json
        assert answer.status_code == problem["status"] == status
        assert problem["type"] == f"urn:carbonapi:problem:{kind}"
        assert problem["title"] == title
        assert problem["detail"].endswith(".")
        assert problem["instance"].startswith("/api/v1/")
        assert problem["request_id"] == answer.headers["X-Request-ID"]
    allowed = as_member.open("/usages/1", "POST").headers["Allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"}


@pytest.mark.parametrize(
    ("asked", "echoed"),
    [("abc-123_x.Y", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("<script>", False), ("", False)],
)
def test_valid_request_id_is_echoed_and_others_are_replaced(stranger, asked, echoed):
    answer = stranger.get("/health/live", headers={"X-Request-ID": asked})

    assert (answer.headers["X-Request-ID"] == asked) is echoed
    assert len(answer.headers["X-Request-ID"]) > 10


def test_unexpected_error_is_500_without_details(app, as_member, monkeypatch, log_lines):
    def broken(*args, **kwargs):
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("carbonapi.usages.service.record", broken)

    answer = as_member.post("/usages", json=GOOD)

    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert "secret" not in answer.text
    error, request = log_lines()
    assert error["request_id"] == request["request_id"] == answer.json["request_id"]
    assert (error["level"], error["message"], error["actor_id"]) == ("error", "unexpected error", as_member.user.id)
    assert error["stack"].endswith('raise RuntimeError("the secret inside")\nbuiltins.RuntimeError')


def test_text_is_stored_unchanged(as_member):
    note = "Ünïcödé 🌍, tab\tand\r\nlines, <script>alert(1)</script> '; DROP TABLE usages; --"

    usage = as_member.post("/usages", json=GOOD | {"note": note}).json

    assert as_member.get(f"/usages/{usage['id']}").json["note"] == note
