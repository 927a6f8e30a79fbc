"""Usages in a browser: adding, correcting, deleting and explaining them. `make browser` runs this."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
BILL = {"usage_type_id": 100, "usage_at": "2022-01-31T12:00:00Z", "amount": "0.3", "note": "Main meter"}


def rows(page):
    return page.locator(".results tbody tr")


def test_usage_is_added_in_local_time_with_all_digits(enter, manager):
    page = enter(manager, "usages")

    page.get_by_role("button", name="Add a usage").click()
    page.get_by_label("Usage type").last.select_option("heating (l)")
    expect(page.get_by_label("Unit").locator("option").first).to_have_text("l")
    page.get_by_label("Time, or start").fill("2022-07-01T00:00:00")
    page.get_by_label("End of the interval").fill("2022-08-01T00:00:00")
    page.get_by_label("Amount").fill("123456789012.000001")
    page.get_by_label("Quality").last.select_option("Estimated")
    page.get_by_role("button", name="Add", exact=True).click()

    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text("1 Jul 2022, 00:00 to 1 Aug 2022, 00:00")
    expect(rows(page).first).to_contain_text("123,456,789,012.000001 l")
    expect(rows(page).first).to_contain_text("1,058,024,681,832.84000857")
    (recorded,) = manager.ask("GET", "/usages")
    assert (recorded["usage_at"], recorded["usage_until"]) == ("2022-06-30T23:00:00Z", "2022-07-31T23:00:00Z")


def test_errors_are_beside_fields_and_focused(enter, manager):
    page = enter(manager, "usages")

    page.get_by_role("button", name="Add a usage").click()
    page.get_by_label("Amount").fill("two")
    page.get_by_label("Region").fill("gb")
    page.get_by_role("button", name="Add", exact=True).click()

    amount = page.get_by_label("Amount")
    expect(amount).to_be_focused()
    expect(amount).to_have_attribute("aria-invalid", "true")
    expect(amount).to_have_accessible_description(re.compile(r"Not a number\.$"))
    expect(page.get_by_label("Region")).to_have_accessible_description(re.compile("Must be in capitals: GB"))
    amount.fill("2")
    page.get_by_label("Region").fill("GB")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(rows(page)).to_have_count(1)


def test_correction_appears_in_versions(enter, manager):
    manager.ask("POST", "/usages", BILL)
    page = enter(manager, "usages")

    page.get_by_role("button", name=re.compile("Edit the usage of 31 Jan 2022")).click()
    page.get_by_label("Amount").fill("0.7")
    page.get_by_label("Reason for the correction").fill("Read again.")
    page.get_by_role("button", name="Save").click()
    expect(rows(page).first).to_contain_text("1.05")

    page.get_by_role("button", name=re.compile("1.05 kg: explain")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("0.7 kwh × 1.5 kg CO2e/kwh = 1.05 kg CO2e")
    expect(dialog).to_contain_text("exercise")
    versions = dialog.get_by_role("region", name="Versions of this usage").locator("tbody tr")
    expect(versions).to_have_count(2)
    expect(versions.first).to_contain_text("0.45")
    expect(versions.last).to_contain_text("Read again.")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("1.05 kg: explain"))).to_be_focused()


def test_concurrent_change_is_not_overwritten(enter, manager):
    usage = manager.ask("POST", "/usages", BILL)
    page = enter(manager, "usages")

    page.get_by_role("button", name=re.compile("^Edit")).click()
    page.get_by_label("Amount").fill("7")
    manager.ask("PATCH", f"/usages/{usage['id']}", {"amount": "5"})
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("alert")).to_contain_text("Another user has changed this usage.")
    assert manager.ask("GET", f"/usages/{usage['id']}")["amount"] == 5


def test_deletion_needs_confirmation(enter, manager):
    usage = manager.ask("POST", "/usages", BILL)
    page = enter(manager, "usages")

    page.get_by_role("button", name=re.compile("^Delete the usage")).click()
    page.get_by_role("button", name="Cancel").click()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name=re.compile("^Delete the usage")).click()
    page.get_by_label("Reason").fill("Recorded twice.")
    page.get_by_role("button", name="Delete", exact=True).click()

    expect(page.get_by_text("No usages yet.")).to_be_visible()
    (version,) = manager.ask("GET", f"/usages/{usage['id']}/versions")
    assert version["superseded_reason"] == "Recorded twice."


def test_list_is_sorted_filtered_and_paged_by_url(enter, household):
    page = enter(household, "usages")
    expect(page.locator(".pager")).to_contain_text("Page 1 of 173, 4,320 in total")

    page.get_by_role("button", name="kg CO₂e, location").click()
    largest = household.ask("GET", "/usages?sort=-co2e_kg&page_size=1")[0]
    expect(rows(page).first).to_contain_text(f"{largest['co2e_kg']}")
    expect(page.get_by_role("columnheader", name="kg CO₂e, location")).to_have_attribute("aria-sort", "descending")
    page.get_by_label("Usage type").select_option("electricity (kwh)")
    page.get_by_label("From", exact=True).fill("2022-02-01")
    page.get_by_label("To (inclusive)").fill("2022-02-02")
    expect(page.locator(".pager")).to_contain_text("Page 1 of 2, 48 in total")
    page.get_by_role("button", name="Next").click()
    expect(rows(page)).to_have_count(23)

    page.reload()
    expect(rows(page)).to_have_count(23)
    page.go_back()
    expect(rows(page)).to_have_count(25)


def test_usage_shows_both_numbers_and_all_lines(enter, manager, power):
    manager.ask("POST", "/usages", BILL | {"usage_type_id": power})
    page = enter(manager, "usages")

    expect(rows(page).locator("td.number")).to_have_text(["0.3 kwh", "0.45", "0.015"])
    page.get_by_role("button", name="0.45 kg: explain").click()
    lines = page.get_by_role("dialog").get_by_role("region", name="All numbers of this usage").locator("tbody tr")
    expect(lines).to_have_count(3)
    expect(lines.nth(0)).to_contain_text("0.3 kwh × 1.5 kg CO2e/kwh = 0.45 kg CO2e")
    expect(lines.nth(1)).to_contain_text("0.3 kwh × 0.05 kg CO2e/kwh = 0.015 kg CO2e")
    expect(lines.nth(2)).to_contain_text("t_and_d")
    expect(lines.nth(2)).to_contain_text("fuel and energy related")


def test_outdated_usages_can_be_listed(enter, manager):
    manager.ask("POST", "/usages", BILL)
    manager.ask("POST", "/usages", BILL | {"usage_type_id": 101})
    factor = {"factor": "0.2", "valid_from": "2022-01-01T00:00:00Z", "source": "Our supplier"}
    manager.ask("POST", "/usage-types/100/factors", factor)
    page = enter(manager, "usages")
    expect(rows(page)).to_have_count(2)

    page.get_by_label("Factors").select_option("Would get others now")

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("electricity (kwh)")


def test_fallback_of_market_based_number_is_marked(enter, manager):
    grid = manager.ask("POST", "/usage-types", {"name": "grid", "unit": "kwh", "scope": 2})["id"]
    factor = {"factor": "0.2", "valid_from": "2020-01-01T00:00:00Z", "source": "The grid"}
    manager.ask("POST", f"/usage-types/{grid}/factors", factor)
    manager.ask("POST", "/usages", BILL | {"usage_type_id": grid})
    page = enter(manager, "usages")

    page.get_by_role("button", name="0.06 kg: explain").click()

    lines = page.get_by_role("dialog").get_by_role("region", name="All numbers of this usage").locator("tbody tr")
    expect(lines.nth(0)).not_to_contain_text("applies")
    expect(lines.nth(1)).to_contain_text("Market-based No market-based factor applies")


def test_bill_over_a_change_of_factor_shows_its_parts(enter, manager):
    grid = manager.ask("POST", "/usage-types", {"name": "grid", "unit": "kwh"})["id"]
    factor = {"factor": "0.2", "valid_from": "2021-01-01T00:00:00Z", "valid_until": "2022-01-01T00:00:00Z"}
    manager.ask("POST", f"/usage-types/{grid}/factors", factor | {"source": "The grid"})
    organization = manager.ask("GET", "/auth/me")["organization_id"]
    manager.ask("PATCH", f"/organizations/{organization}", {"missing_factor": "latest"})
    times = {"usage_at": "2021-12-15T00:00:00Z", "usage_until": "2022-01-15T00:00:00Z"}
    manager.ask("POST", "/usages", {"usage_type_id": grid, "amount": 3100} | times)
    page = enter(manager, "usages")
    expect(rows(page)).to_contain_text("provisional")

    page.get_by_role("button", name="620 kg: explain").click()

    dialog = page.get_by_role("dialog")
    for part, amount in (("From 15 Dec 2021", "1,700 kwh"), ("From 1 Jan 2022", "1,400 kwh")):
        lines = dialog.get_by_role("region", name=re.compile(part)).locator("tbody tr")
        expect(lines).to_have_count(2)
        expect(lines.first).to_contain_text(amount.replace(",", ""))
