"""Catalogue, restatements and users in a browser. `make browser` runs this."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.factories import PASSWORD, numbers

pytestmark = pytest.mark.browser


@pytest.fixture
def colleague(manager):
    """Return a function that creates a user of the same organization."""

    def colleague_with(role):
        email = f"grace{next(numbers)}@example.org"
        account = {"email": email, "password": PASSWORD, "name": "Grace Hopper", "role": role}
        manager.ask("POST", "/users", account)
        return type(manager)(manager.service, email).log_in()

    return colleague_with


def test_new_factor_is_restated_after_a_preview(enter, manager):
    for month in ("01", "02"):
        usage = {"usage_type_id": 100, "usage_at": f"2022-{month}-10T12:00:00Z", "amount": "10"}
        manager.ask("POST", "/usages", usage)
    page = enter(manager, "catalogue")

    page.get_by_role("button", name="Factors of electricity (kwh)").click()
    expect(page.locator(".factors tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Add a factor").click()
    page.get_by_label("kg CO2e per kwh").fill("0.25")
    page.get_by_label("Valid from").fill("2022-01-01")
    page.get_by_label("Source").fill("Our supplier")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".factors tbody tr")).to_have_count(2)
    expect(page.locator(".factors tbody tr").first).to_contain_text("your organization")

    page.get_by_role("link", name="Restatements").click()
    page.get_by_label("Usage type").select_option("electricity (kwh)")
    page.get_by_label("Reason").fill("New data of the supplier.")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="2 usages would change")).to_be_visible()
    expect(page.locator(".outcome tbody tr").first).to_have_text("2022-011152.5-12.5-12.5")
    expect(page.locator(".outcome tbody tr").last).to_have_text("Total2305-25-25")
    assert manager.ask("GET", "/restatements") == []
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".results tbody tr")).to_contain_text("New data of the supplier.")
    assert manager.ask("GET", "/emissions/summary")["co2e_kg"] == 5


def test_restatement_needs_a_reason(enter, manager):
    page = enter(manager, "restatements")

    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_label("Reason")).to_be_focused()
    expect(page.get_by_label("Reason")).to_have_attribute("aria-invalid", "true")


def test_user_is_added_and_deactivated(enter, manager):
    page = enter(manager, "users")
    email = f"grace{next(numbers)}@example.org"

    page.get_by_role("button", name="Add a user").click()
    page.get_by_label("Name", exact=True).fill("Grace Hopper")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Initial password").fill("short")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_label("Initial password")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Initial password").fill(PASSWORD)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".results tbody tr")).to_have_count(2)

    page.get_by_role("button", name="Deactivate Grace Hopper").click()
    page.get_by_role("button", name="Deactivate", exact=True).click()
    expect(page.get_by_role("button", name="Activate Grace Hopper", exact=True)).to_be_visible()
    (grace,) = manager.ask("GET", "/users?active=false")
    assert grace["email"] == email


def test_member_sees_allowed_views_only(enter, colleague):
    page = enter(colleague("member"), "users")

    expect(page.get_by_role("heading", level=1)).to_have_text("Emissions")
    tabs = page.get_by_role("navigation", name="Views").get_by_role("link")
    expect(tabs).to_have_text(["Emissions", "Coverage", "Usages", "Imports", "Catalogue", "Settings"])
    tabs.get_by_text("Usages").click()
    expect(page.get_by_role("button", name="Add a usage")).to_be_visible()


def test_auditor_sees_no_write_actions(enter, manager, colleague):
    manager.ask("POST", "/usages", {"usage_type_id": 100, "usage_at": "2022-01-10T12:00:00Z", "amount": "10"})
    page = enter(colleague("auditor"), "usages")

    expect(page.locator(".results tbody tr")).to_contain_text("Ada Lovelace")
    expect(page.get_by_role("button", name="Edit")).to_have_count(0)
    expect(page.get_by_role("button", name="Add a usage")).to_have_count(0)
    page.get_by_role("link", name="Imports").click()
    expect(page.get_by_text("No imports yet.")).to_be_visible()
    expect(page.get_by_text("Import a file")).to_have_count(0)


def test_manager_changes_the_organization(enter, manager):
    page = enter(manager, "settings")
    expect(page.get_by_label("Name")).to_have_value("Northwind House")

    page.get_by_label("Name").fill("Northwind Works")
    page.get_by_label("Time zone").select_option("Europe/Paris")
    page.get_by_label("Region").fill("UK")
    page.get_by_role("button", name="Save").first.click()
    expect(page.get_by_label("Region")).to_have_accessible_description(re.compile("GB"))
    expect(page.get_by_label("Region")).to_be_focused()
    page.get_by_label("Region").fill("FR")
    page.get_by_label("Usages after the last factor").select_option("Use the latest factor, provisionally")
    page.get_by_role("button", name="Save").first.click()
    expect(page.get_by_text("Saved.").first).to_be_visible()
    expect(page.locator(".account")).to_contain_text("Northwind Works")
    page.get_by_role("link", name="Usages").click()
    expect(page.get_by_text("Local times of Europe/Paris.")).to_be_visible()
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Region").fill("")
    page.get_by_role("button", name="Save").first.click()
    expect(page.get_by_text("Saved.").first).to_be_visible()

    organization = manager.ask("GET", f"/organizations/{manager.user['organization_id']}")
    assert (organization["name"], organization["timezone"], organization["region"]) == (
        "Northwind Works", "Europe/Paris", None,
    )  # fmt: skip
    assert organization["missing_factor"] == "latest"


def test_catalogue_shows_the_factor_that_would_be_used(enter, manager):
    page = enter(manager, "catalogue")
    electricity = page.locator(".types tbody tr", has_text="electricity")
    expect(electricity).to_contain_text("1.5")

    for region, factor in (("FR", "0.05"), ("GB", "0.25")):
        fields = {"factor": factor, "region": region, "valid_from": "2020-01-01T00:00:00Z", "source": "Our supplier"}
        manager.ask("POST", "/usage-types/100/factors", fields)
    page.reload()
    expect(electricity).to_contain_text("0.25 GB, your own")

    usage = {"usage_type_id": 100, "usage_at": "2022-01-10T12:00:00Z", "amount": "10"}
    assert manager.ask("POST", "/usages", usage)["factor"] == 0.25


def test_catalogue_is_searched(enter, manager):
    made = {"name": "R-410A", "unit": "kg", "scope": 1, "category": "fugitive_emissions"}
    path = f"/usage-types/{manager.ask('POST', '/usage-types', made)['id']}/factors"
    wrong = manager.ask("POST", path, {"factor": "19235", "valid_from": "2020-01-01T00:00:00Z", "source": "AR5"})
    right = {"factor": "1923.5", "source": "AR5", "reason": "A typing error"}
    manager.ask("POST", f"{path}/{wrong['id']}/supersede", right)
    page = enter(manager, "catalogue")
    rows = page.locator(".types tbody tr")
    expect(rows).to_have_count(6)

    page.get_by_label("Search").fill("fugitive r-410")
    page.get_by_label("Search").press("Enter")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("your organization")
    page.get_by_role("button", name="Factors of R-410A (kg)").click()
    expect(page.locator(".factors tbody tr", has_text="superseded")).to_contain_text("19,235")
    expect(page.locator(".factors tbody tr")).to_have_count(2)
    page.get_by_label("Scope", exact=True).select_option("3")
    expect(page.get_by_text("No usage types match this search.")).to_be_visible()
    page.go_back()
    expect(rows).to_have_count(1)


def test_upstream_line_is_added_and_shown(enter, manager, power):
    page = enter(manager, "catalogue", usage_type_id=power)
    lines = page.get_by_role("region", name="Upstream lines of power").locator("tbody tr")
    expect(lines).to_have_text(["t_and_dlosses (kwh)your organization"])

    page.get_by_role("button", name="Add an upstream line").click()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_label("Name of the line")).to_be_focused()
    page.get_by_label("Name of the line").fill("wtt_generation")
    page.get_by_label("Usage type whose factors apply").select_option("electricity (kwh)")
    page.get_by_role("button", name="Add", exact=True).click()

    expect(lines).to_have_text(
        ["t_and_dlosses (kwh)your organization", "wtt_generationelectricity (kwh)your organization"]
    )
