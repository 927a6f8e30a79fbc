"""Swagger UI in Chromium, under the page's Content-Security-Policy. `make browser` runs this."""

import json
import urllib.request

import pytest

from tests.support import browser, factories
from tests.support.apps import SECRET_KEY
from tests.support.servers import serving

pytestmark = pytest.mark.browser
ACCOUNT = {"email": "ada@example.org", "password": factories.PASSWORD}


@pytest.fixture
def service(fresh_database_url):
    with serving(fresh_database_url, SECRET_KEY) as url:
        yield url


@pytest.fixture
def page(tmp_path):
    with browser.page(tmp_path) as page:
        yield page


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def text_of(page, selector):
    """Return the text of an element when it is there."""
    return page.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText")


def execute(page, operation):
    """Open an operation and send what Swagger UI proposes: the address asked, the status, and the JSON answered."""
    page.click(f'[id$="-{operation}"] .opblock-summary-control')
    page.click(f'[id$="-{operation}"] button.execute')
    status = text_of(page, f'[id$="-{operation}"] .live-responses-table .response .response-col_status')
    body = text_of(page, f'[id$="-{operation}"] .live-responses-table .response .highlight-code')
    return text_of(page, f'[id$="-{operation}"] .request-url pre'), status.strip(), json.loads(body[body.index("\n") :])


def test_swagger_ui_lists_operations_and_executes_them(service, page):
    post(f"{service}/api/v1/auth/register", {**ACCOUNT, "name": "Ada"})
    token = post(f"{service}/api/v1/auth/login", ACCOUNT)["access_token"]

    page.open(f"{service}/docs")
    page.wait_for("document.querySelectorAll('.opblock').length")
    shown = page.run("[...document.querySelectorAll('.opblock')].map(block => block.id.split('-').pop())")
    document = page.run("fetch('/openapi.json').then(answer => answer.json())")
    page.click("button.authorize")
    page.type(".auth-container input", token)
    page.click(".auth-container button[type=submit]")
    page.click(".auth-container button.btn-done")
    recorded = execute(page, "record_usage")
    listed = execute(page, "list_usages")

    documented = [
        operation["operationId"]
        for methods in document["paths"].values()
        for method, operation in methods.items()
        if method != "parameters"
    ]
    assert sorted(shown) == sorted(documented)
    assert recorded[:2] == (f"{service}/api/v1/usages", "201")
    assert listed == (f"{service}/api/v1/usages?page_size=50", "200", [recorded[2]])
    assert page.run("violations") == []
    assert page.errors == []


def test_swagger_ui_keeps_the_token_after_a_reload(service, page):
    page.open(f"{service}/docs")
    registered = execute(page, "register_organization")
    logged_in = execute(page, "log_in")
    page.click("button.authorize")
    page.type(".auth-container input", logged_in[2]["access_token"])
    page.click(".auth-container button[type=submit]")
    page.click(".auth-container button.btn-done")
    before = execute(page, "list_usages")
    violations = page.run("violations")
    page.run("window.isBefore = true")
    page.open(f"{service}/docs")
    page.wait_for("window.isBefore === undefined && document.querySelectorAll('.opblock').length")
    again = execute(page, "list_usages")

    assert (registered[1], logged_in[1]) == ("201", "200")
    assert before == again == (f"{service}/api/v1/usages?page_size=50", "200", [])
    assert (violations, page.run("violations"), page.errors) == ([], [], [])


def test_tags_are_in_learning_order(service, page):
    page.open(f"{service}/docs")
    page.wait_for("document.querySelectorAll('.opblock').length")

    shown = page.run("[...document.querySelectorAll('.opblock-tag')].map(tag => tag.dataset.tag)")

    learned = ["Auth", "Catalogue", "Factor sets", "Sites", "Meters", "Usages", "Changes", "Imports"]
    assert shown[:8] == learned
    assert page.run("document.querySelector('.info h3').innerText") == "Getting started"
    assert page.run("document.querySelector('section.models').className") == "models"  # Schemas are folded.


def test_content_security_policy_violations_are_detected(service, page):
    page.open(f"{service}/docs")
    page.wait_for("document.querySelectorAll('.opblock').length")

    page.run("document.head.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))")

    assert page.wait_for("violations.length") == 1
    assert page.run("violations[0]").startswith("script-src-elem inline")
    assert page.run("window.ran") is None
    assert len(page.errors) == 1
