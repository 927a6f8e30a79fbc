"""The dashboard below a base path, in a browser. `make browser` runs this."""

import pytest
from playwright.sync_api import expect

from carbonapi.settings import DEFAULTS
from tests.support.apps import SECRET_KEY
from tests.support.databases import cloned_database
from tests.support.factories import PASSWORD
from tests.support.servers import serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def service(server_url):
    settings = {name: 0 for name in DEFAULTS if name.startswith("RATE_LIMIT_")} | {"BASE_PATH": "/carbon"}
    with cloned_database(server_url, "dashboard_path") as url, serving(url, SECRET_KEY, **settings) as service:
        yield f"{service}/carbon"


def test_login_import_and_chart_work_below_a_base_path(page, manager):
    page.goto(f"{manager.service}/dashboard?view=imports")
    page.get_by_label("E-mail address").fill(manager.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    content = b"usage_at,amount,usage_type_id\n2022-02-01T10:00:00Z,1.5,100\n"
    page.set_input_files("#import-file", {"name": "meter.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("meter.csv: 1 usage imported, 2.25 kg CO2e.")).to_be_visible()

    page.get_by_role("link", name="Emissions").click()
    expect(page.locator(".bar")).to_have_count(1)
    assert page.url.startswith(f"{manager.service}/dashboard?view=emissions")
    page.get_by_role("link", name="Users").click()
    page.get_by_role("button", name="Add a user").click()
    page.get_by_label("Name", exact=True).fill("Grace Hopper")
    page.get_by_label("E-mail address").fill(f"grace.{manager.email}")
    page.get_by_role("button", name="Add", exact=True).click()
    link = page.get_by_label("Link", exact=True).input_value()
    assert link.startswith(f"{manager.service}/dashboard#token=")
    page.goto(link)
    expect(page.get_by_role("heading", name="Set your password")).to_be_visible()
