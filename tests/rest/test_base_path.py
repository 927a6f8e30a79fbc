"""The service below a base path, by setting or by the header of a trusted proxy."""

import json
import re

import pytest

from carbonapi.settings import SettingsError, from_environ

PATHS = ("/docs", "/dashboard", "/openapi.json", "/postman.json", "/health/live")


@pytest.fixture(params=["setting", "header"])
def prefixed(request, app, monkeypatch):
    """The headers of a request through a proxy below /carbon."""
    monkeypatch.setitem(app.config, "BASE_PATH", "/carbon" if request.param == "setting" else "")
    monkeypatch.setitem(app.config, "TRUSTED_PROXIES", 1)
    return {} if request.param == "setting" else {"X-Forwarded-Prefix": "/carbon"}


def links_of(page):
    return re.findall(r'(?:href|src|data-document)="([^"]+)"', page)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("passed_on", ["", "/carbon"])
def test_pages_are_found_with_and_without_the_prefix(stranger, prefixed, path, passed_on):
    assert stranger.http.get(f"{passed_on}{path}", headers=prefixed).status_code == 200


def test_pages_and_documents_link_below_the_prefix(stranger, prefixed):
    for path in ("/docs", "/dashboard"):
        links = links_of(stranger.http.get(path, headers=prefixed).text)
        assert len(links) > 3
        assert {link for link in links if not link.startswith(("/carbon/", "#"))} == set()
        for link in links:
            if link.startswith("/"):
                with stranger.http.get(link, headers=prefixed) as answer:
                    assert answer.status_code == 200
    assert stranger.http.get("/openapi.json", headers=prefixed).json["servers"][0]["url"] == "/carbon"
    variables = stranger.http.get("/postman.json", headers=prefixed).json["variable"]
    assert variables[0] == {"key": "base_url", "value": "http://127.0.0.1:8000/carbon"}
    for root in ("/", "/carbon", "/carbon/"):
        assert stranger.http.get(root, headers=prefixed).headers["Location"] == "/carbon/docs"


def test_links_and_locations_begin_with_the_prefix(as_member, prefixed):
    usage = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 1}
    recorded = [as_member.post("/usages", json=usage, headers=prefixed) for _ in range(2)]
    file = b"usage_at,amount\n2024-01-01T00:00:00Z,1\n"
    imported = as_member.post("/imports?usage_type_id=100", data=file, content_type="text/csv", headers=prefixed)
    listed = as_member.get("/usages?page_size=1", headers=prefixed)
    missing = as_member.get("/usages/9", headers=prefixed)

    assert recorded[0].headers["Location"] == f"/carbon/api/v1/usages/{recorded[0].json['id']}"
    assert as_member.http.get("/carbon/api/v1/usages", headers=prefixed).status_code == 401
    assert imported.headers["Location"] == f"/carbon/api/v1/imports/{imported.json['id']}"
    assert '</carbon/api/v1/usages?page_size=1&page=2>; rel="next"' in listed.headers["Link"]
    assert missing.json["instance"] == "/carbon/api/v1/usages/9"


def test_redirect_to_a_path_without_double_slashes_is_relative(stranger, prefixed):
    answer = stranger.http.get("/api//v1/usages", headers=prefixed | {"Host": "evil.example"})

    assert (answer.status_code, answer.headers["Location"]) == (308, "/carbon/api/v1/usages")


@pytest.mark.parametrize("value", ["//evil.example", "/a/../b", "carbon", '/carbon"><script>', "/api", "/a,x", ""])
def test_prefix_of_a_trusted_proxy_must_be_a_path(app, stranger, monkeypatch, value):
    monkeypatch.setitem(app.config, "TRUSTED_PROXIES", 1)

    assert stranger.http.get("/", headers={"X-Forwarded-Prefix": value}).headers["Location"] == "/docs"


def test_prefix_without_trusted_proxies_is_ignored(stranger):
    assert stranger.http.get("/", headers={"X-Forwarded-Prefix": "/carbon"}).headers["Location"] == "/docs"
    assert stranger.http.get("/carbon/docs", headers={"X-Forwarded-Prefix": "/carbon"}).status_code == 404


def test_setting_takes_precedence_over_the_header(app, stranger, monkeypatch):
    monkeypatch.setitem(app.config, "TRUSTED_PROXIES", 1)
    monkeypatch.setitem(app.config, "BASE_PATH", "/carbon")

    assert stranger.http.get("/", headers={"X-Forwarded-Prefix": "/x"}).headers["Location"] == "/carbon/docs"


@pytest.mark.parametrize("value", ["carbon", "/carbon/", "/", "//x", "/a/../b", "/a b", "/api", "/docs/x", "/%2e"])
def test_base_path_setting_is_validated(value):
    with pytest.raises(SettingsError, match="CARBONAPI_BASE_PATH must be a path such as /carbon"):
        from_environ({"CARBONAPI_BASE_PATH": value})


def test_server_that_sets_script_name_is_respected(stranger):
    answer = stranger.http.get("/", environ_overrides={"SCRIPT_NAME": "/carbon"})

    assert answer.headers["Location"] == "/carbon/docs"
    document = stranger.http.get("/openapi.json", environ_overrides={"SCRIPT_NAME": "/carbon"})
    assert json.loads(document.data)["servers"][0]["url"] == "/carbon"
