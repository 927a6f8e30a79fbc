"""The dashboard in Chromium, with the real service and the readings of a British household."""

import contextlib
import gzip
import json
import os
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
from tests.support.nginx import nginx
from tests.support.servers import serving

READINGS = Path(__file__).parents[2] / "carbonapi/commands/demo"
OPTIONS = [option for option in chromium.OPTIONS if not option.startswith(("--remote-debugging", "--window"))]

GZIP = "gzip on; gzip_types application/json text/css text/javascript; gzip_proxied any; gzip_min_length 1;"
# `make browser-nginx` sets CARBONAPI_TEST_NGINX to one of these: the settings of the service, then those of nginx.
PROXIES = {
    # nginx compresses, not the service.
    "stripped": (
        {"TRUSTED_PROXIES": 1},
        {
            "target": "/",
            "settings": 'proxy_set_header X-Forwarded-Prefix /carbon; proxy_set_header Accept-Encoding "";'
            "proxy_buffering on; proxy_request_buffering on;",
        },
    ),
    "kept": ({"BASE_PATH": "/carbon"}, {"settings": "proxy_buffering off; proxy_request_buffering off;"}),
}


class ApiUser:
    """A user of the API, over HTTP."""

    def __init__(self, service, email):
        self.service, self.email, self.token = service, email, None

    def ask(self, method, path, body=None, content_type="application/json"):
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        request = urllib.request.Request(f"{self.service}/api/v1{path}", content, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    def log_in(self):
        self.token = self.ask("POST", "/auth/login", {"email": self.email, "password": PASSWORD})["access_token"]
        return self

    def import_readings(self, kind, usage_type_id, months):
        """Import the readings of these months."""
        compressed = (READINGS / f"gb-household-{kind}-hourly-kwh.csv.gz").read_bytes()
        lines = gzip.decompress(compressed).decode().splitlines(keepends=True)
        selected = [line for line in lines[1:] if line[:7] in months]
        query = {"usage_type_id": usage_type_id, "columns": "usage_at:start,amount:value", "round": 3}
        path = f"/imports?{urllib.parse.urlencode(query)}"
        return self.ask("POST", path, "".join([lines[0], *selected]).encode(), "text/csv")


@pytest.fixture(scope="session")
def service(server_url):
    unlimited = {name: 0 for name in DEFAULTS if name.startswith("RATE_LIMIT_")}
    proxy = os.environ.get("CARBONAPI_TEST_NGINX")
    settings, proxy_settings = PROXIES[proxy] if proxy else ({}, {})
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(cloned_database(server_url, "dashboard"))
        service = stack.enter_context(serving(url, SECRET_KEY, **unlimited, **settings))
        if proxy:
            address, _ = stack.enter_context(nginx(service, location="/carbon/", server=GZIP, **proxy_settings))
            service = f"{address}/carbon"
        yield service


@pytest.fixture
def manager(service):
    """A manager of an organization in London without usages."""
    user = ApiUser(service, f"ada{next(numbers)}@example.org")
    account = {"email": user.email, "password": PASSWORD, "name": "Ada Lovelace", "organization": "Northwind House"}
    user.user = user.ask("POST", "/auth/register", account)
    user.log_in()
    location = {"timezone": "Europe/London", "region": "GB"}
    user.ask("PATCH", f"/organizations/{user.user['organization_id']}", location)
    return user


@pytest.fixture
def household(manager):
    """The manager, with the readings of three months."""
    for kind, usage_type_id in (("electricity", 100), ("gas", 102)):
        manager.import_readings(kind, usage_type_id, ("2022-01", "2022-02", "2022-03"))
    return manager


@pytest.fixture
def power(manager):
    """The id of a usage type of scope 2 with a contract of the supplier and an upstream line for losses."""
    power, losses = (
        manager.ask("POST", "/usage-types", {"name": name, "unit": "kwh", "scope": scope, "category": category})["id"]
        for name, scope, category in (
            ("power", 2, "purchased_electricity"),
            ("losses", 3, "fuel_and_energy_related"),
        )
    )
    for id_, factor, method in ((power, "1.5", "location"), (power, "0.05", "market"), (losses, "0.1", "location")):
        fields = {"factor": factor, "method": method, "valid_from": "2020-01-01T00:00:00Z", "source": "A test"}
        manager.ask("POST", f"/usage-types/{id_}/factors", fields)
    manager.ask("POST", f"/usage-types/{power}/upstream-lines", {"line": "t_and_d", "factor_type_id": losses})
    return power


@pytest.fixture(scope="session")
def chromium_browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium_browser, service):
    """A British browser context. Its pages must not log errors, except for error responses."""
    context = chromium_browser.new_context(
        base_url=f"{service}/", locale="en-GB", timezone_id="Europe/London", viewport={"width": 1280, "height": 900}
    )
    context.set_default_timeout(10_000)
    context.add_init_script(chromium.NOTE_VIOLATIONS)
    errors = []
    context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    rejected = r"Failed to load resource: the server responded with a status of (401|409|412|422) .*"
    assert [text for text in errors if not re.fullmatch(rejected, text)] == []
    for page in context.pages:
        assert page.evaluate("violations") == []
    context.close()


@pytest.fixture
def page(context):
    return context.new_page()


@pytest.fixture
def enter(page):
    """Return a function that logs a user in and shows a view."""

    def log_in(user, view="emissions", **params):
        page.goto(f"dashboard?{urllib.parse.urlencode({'view': view, **params})}")
        page.get_by_label("E-mail address").fill(user.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in", exact=True).click()
        page.get_by_role("button", name="Log out").wait_for()
        return page

    return log_in
