"""The dashboard in a real Chromium, before the service as it is shipped, with a British household's readings."""

import gzip
import json
import re
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from carbonapi.settings import DEFAULTS
from tests.support import browser as chromium
from tests.support.apps import SECRET_KEY
from tests.support.databases import cloned_database
from tests.support.factories import PASSWORD, numbers
from tests.support.servers import serving

READINGS = Path(__file__).parents[1] / "data"
OPTIONS = [option for option in chromium.OPTIONS if not option.startswith(("--remote-debugging", "--window"))]


class Person:
    """Somebody at the API, over HTTP."""

    def __init__(self, service, email):
        self.service, self.email, self.token = service, email, None

    def ask(self, method, path, body=None, content_type="application/json"):
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        request = urllib.request.Request(f"{self.service}/api/v1{path}", content, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    def sign_in(self):
        self.token = self.ask("POST", "/auth/login", {"email": self.email, "password": PASSWORD})["access_token"]
        return self

    def book(self, kind, usage_type_id, months):
        """Import the household's readings of these months."""
        packed = (READINGS / f"gb-household-{kind}-hourly-kwh.csv.gz").read_bytes()
        lines = gzip.decompress(packed).decode().splitlines(keepends=True)
        chosen = [line for line in lines[1:] if line[:7] in months]
        query = {"usage_type_id": usage_type_id, "columns": "usage_at:start,amount:value", "round": 3}
        path = f"/imports?{urllib.parse.urlencode(query)}"
        return self.ask("POST", path, "".join([lines[0], *chosen]).encode(), "text/csv")


@pytest.fixture(scope="session")
def service(server_url):
    unlimited = {name: 0 for name in DEFAULTS if name.startswith("RATE_LIMIT_")}
    with cloned_database(server_url, "dashboard") as url, serving(url, SECRET_KEY, **unlimited) as service:
        yield service


@pytest.fixture
def manager(service):
    """A manager, whose organization is in London and has no usages yet."""
    person = Person(service, f"ada{next(numbers)}@example.org")
    account = {"email": person.email, "password": PASSWORD, "name": "Ada Lovelace", "organization": "Northwind House"}
    person.user = person.ask("POST", "/auth/register", account)
    person.sign_in()
    place = {"timezone": "Europe/London", "region": "GB"}
    person.ask("PATCH", f"/organizations/{person.user['organization_id']}", place)
    return person


@pytest.fixture
def household(manager):
    """The same, with the readings of three months."""
    for kind, usage_type_id in (("electricity", 100), ("gas", 102)):
        manager.book(kind, usage_type_id, ("2022-01", "2022-02", "2022-03"))
    return manager


@pytest.fixture(scope="session")
def launched():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def context(launched, service):
    """A browser of somebody in Britain. Whatever its pages complain of is a fault, but answers that were refused."""
    context = launched.new_context(
        base_url=service, locale="en-GB", timezone_id="Europe/London", viewport={"width": 1280, "height": 900}
    )
    context.set_default_timeout(10_000)
    context.add_init_script(chromium.NOTE_VIOLATIONS)
    complaints = []
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    refused = r"Failed to load resource: the server responded with a status of (401|409|412|422) .*"
    assert [text for text in complaints if not re.fullmatch(refused, text)] == []
    for page in context.pages:
        assert page.evaluate("violations") == []
    context.close()


@pytest.fixture
def page(context):
    return context.new_page()


@pytest.fixture
def enter(page):
    """A function that signs somebody in, and shows them a view."""

    def entered(person, view="emissions", **told):
        page.goto(f"/dashboard?{urllib.parse.urlencode({'view': view, **told})}")
        page.get_by_label("E-mail address").fill(person.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("button", name="Sign out").wait_for()
        return page

    return entered
