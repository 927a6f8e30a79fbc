"""The served files of the dashboard: small, all from this origin, with a strict Content-Security-Policy."""

import gzip
import re
from pathlib import Path

import pytest

from carbonapi.dashboard.page import FILES, VERSION

DIRECTORY = Path(__file__).parents[2] / "carbonapi/dashboard"
TEMPLATE = (DIRECTORY / "templates/dashboard.html").read_text()
SCRIPTS = {name: content.decode() for name, content in FILES.items() if name.endswith(".js")}
# Anything that turns text into markup or code, or shows dialogs of the browser.
FORBIDDEN = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\b(?:eval|Function|alert|prompt|import)\("
MAX_BYTES = 100_000


@pytest.fixture
def http(app):
    return app.test_client()


def urls(page):
    return re.findall(r'(?:href|src)="([^"#]+)"', page)


def test_page_has_a_strict_policy_and_is_revalidated(http):
    answer = http.get("/dashboard")

    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )
    assert answer.headers["Cache-Control"] == "no-cache"
    assert http.get("/dashboard", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_files_are_local_and_small(http):
    page = http.get("/dashboard")
    sizes = {"/dashboard": len(gzip.compress(page.data))}
    for url in urls(page.text):
        answer = http.get(url, headers={"Accept-Encoding": "gzip"})
        assert answer.status_code in (200, 302), url
        if url.startswith("/dashboard/"):
            assert answer.headers["Content-Encoding"] == "gzip"
            sizes[url] = len(answer.data)

    assert {url.rpartition("/")[2] for url in sizes} == {*FILES, "dashboard"}
    print(f"{sum(sizes.values())} bytes, compressed")
    assert sum(sizes.values()) < MAX_BYTES


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [("main.js", "text/javascript"), ("dashboard.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_file_has_its_type_and_is_immutable(http, name, mimetype):
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


def test_file_of_another_version_is_not_cached(http):
    answer = http.get("/dashboard/another/main.js")

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "public, no-cache")


@pytest.mark.parametrize("name", ["page.py", "..%2fpage.py", "nothing.js"])
def test_other_files_are_not_served(http, name):
    assert http.get(f"/dashboard/{VERSION}/{name}").status_code == 404


def test_page_has_no_inline_or_foreign_content():
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", TEMPLATE) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", TEMPLATE) == []
    for name, content in {"dashboard.html": TEMPLATE, **{name: FILES[name].decode() for name in FILES}}.items():
        assert set(re.findall(r"https?://[^\s\"']+", content)) <= {"http://www.w3.org/2000/svg"}, name


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_never_executes_text(name):
    code = re.sub(r"//.*", "", SCRIPTS[name])

    assert re.findall(FORBIDDEN, code) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_has_a_comment_valid_imports_and_is_short(name):
    script = SCRIPTS[name]

    assert re.match(r"// [A-Z]", script)
    assert set(re.findall(r'from "\./([^"]+)"', script)) <= SCRIPTS.keys()
    assert len(script.splitlines()) <= 300


def test_page_and_root_link_to_the_documentation(http):
    assert "/docs" in urls(http.get("/dashboard").text)
    assert http.get("/").headers["Location"] == "/docs"
