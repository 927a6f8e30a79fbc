"""The dashboard as it is served: small, from here alone, under a policy that lets nothing else run."""

import gzip
import re
from pathlib import Path

import pytest

from carbonapi.dashboard.page import FILES, VERSION

FOLDER = Path(__file__).parents[2] / "carbonapi/dashboard"
TEMPLATE = (FOLDER / "templates/dashboard.html").read_text()
SCRIPTS = {name: content.decode() for name, content in FILES.items() if name.endswith(".js")}
# Whatever makes markup or code of text, and what would be shown outside of the page.
FORBIDDEN = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\b(?:eval|Function|alert|prompt|import)\("
MOST_BYTES = 100_000


@pytest.fixture
def http(app):
    return app.test_client()


def addresses(page):
    return re.findall(r'(?:href|src)="([^"#]+)"', page)


def test_the_page_has_a_strict_policy_and_is_asked_for_anew_each_time(http):
    answer = http.get("/dashboard")

    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )
    assert answer.headers["Cache-Control"] == "no-cache"
    assert http.get("/dashboard", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_all_that_it_loads_is_served_from_here_and_small(http):
    page = http.get("/dashboard")
    sizes = {"/dashboard": len(gzip.compress(page.data))}
    for address in addresses(page.text):
        answer = http.get(address, headers={"Accept-Encoding": "gzip"})
        assert answer.status_code in (200, 302), address
        if address.startswith("/dashboard/"):
            assert answer.headers["Content-Encoding"] == "gzip"
            sizes[address] = len(answer.data)

    assert {address.rpartition("/")[2] for address in sizes} == {*FILES, "dashboard"}
    print(f"{sum(sizes.values())} bytes, compressed")
    assert sum(sizes.values()) < MOST_BYTES


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [("main.js", "text/javascript"), ("dashboard.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_a_file_has_its_type_and_is_kept_for_good(http, name, mimetype):
    answer = http.get(f"/dashboard/{VERSION}/{name}")
    compressed = http.get(f"/dashboard/{VERSION}/{name}", headers={"Accept-Encoding": "gzip"})

    assert answer.mimetype == mimetype
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.data == gzip.decompress(compressed.data) == FILES[name]
    assert answer.headers["ETag"] != compressed.headers["ETag"]
    unchanged = {"If-None-Match": answer.headers["ETag"]}
    assert http.get(f"/dashboard/{VERSION}/{name}", headers=unchanged).status_code == 304


def test_a_file_of_another_version_is_not_kept(http):
    answer = http.get("/dashboard/another/main.js")

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "public, no-cache")


@pytest.mark.parametrize("name", ["page.py", "..%2fpage.py", "nothing.js"])
def test_nothing_else_is_served_as_a_file(http, name):
    assert http.get(f"/dashboard/{VERSION}/{name}").status_code == 404


def test_nothing_is_inline_and_nothing_comes_from_elsewhere():
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", TEMPLATE) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", TEMPLATE) == []
    for name, content in {"dashboard.html": TEMPLATE, **{name: FILES[name].decode() for name in FILES}}.items():
        assert set(re.findall(r"https?://[^\s\"']+", content)) <= {"http://www.w3.org/2000/svg"}, name


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_makes_nothing_of_text_but_text(name):
    code = re.sub(r"//.*", "", SCRIPTS[name])

    assert re.findall(FORBIDDEN, code) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_is_imports_what_is_there_and_is_short(name):
    script = SCRIPTS[name]

    assert re.match(r"// [A-Z]", script)
    assert set(re.findall(r'from "\./([^"]+)"', script)) <= SCRIPTS.keys()
    assert len(script.splitlines()) <= 300


def test_the_page_leads_to_the_documentation_of_the_api_where_the_root_leads_too(http):
    assert "/docs" in addresses(http.get("/dashboard").text)
    assert http.get("/").headers["Location"] == "/docs"
