"""Sites, meters and coverage in a browser. `make browser` runs this."""

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.support.factories import PASSWORD, numbers

pytestmark = pytest.mark.browser
INDENT = "\u00a0" * 3
LOCAL = ZoneInfo("Europe/London")
MONTHS = [dt.datetime(2023 + month // 12, month % 12 + 1, 1, tzinfo=LOCAL).isoformat() for month in range(13)]


@pytest.fixture
def sites(manager):
    """The ids of two sites with a meter each, and their bills of 2023 by local months. Berlin's June is missing."""

    def add(path, **fields):
        return manager.ask("POST", path, fields)["id"]

    europe = add("/sites", name="Europe")
    ids = {"Europe": europe, "Berlin": add("/sites", name="Berlin", parent_id=europe, region="DE")}
    ids["London"] = add("/sites", name="London")
    for name, amount in (("Berlin", "20"), ("London", "7")):
        meter = ids[f"{name} meter"] = add("/meters", site_id=ids[name], usage_type_id=100, name="Main meter")
        for number, (start, end) in enumerate(itertools.pairwise(MONTHS), 1):
            if (name, number) != ("Berlin", 6):
                add("/usages", meter_id=meter, usage_at=start, usage_until=end, amount=amount)
    return ids


def rows(page):
    return page.locator(".results tbody tr")


def options(select):
    return select.locator("option").all_text_contents()


def test_emissions_of_a_site_include_sites_below_it(enter, manager, sites):
    page = enter(manager)
    total = page.locator(".tile", has_text="Total, location-based")
    expect(total).to_contain_text("456 kg")
    assert options(page.get_by_label("Site")) == ["All", "Europe", f"{INDENT}Berlin", "London"]

    page.get_by_label("Site").select_option(str(sites["Europe"]))
    expect(total).to_contain_text("330 kg")
    expect(page.locator(".tile", has_text="Usages")).to_contain_text("of Europe")
    page.reload()
    expect(total).to_contain_text("330 kg")
    expect(page.get_by_label("Site")).to_have_value(str(sites["Europe"]))
    page.go_back()
    expect(total).to_contain_text("456 kg")


def test_empty_site_offers_to_clear_the_filter(enter, manager, sites):
    empty = manager.ask("POST", "/sites", {"name": "Paris"})["id"]
    page = enter(manager, site_id=empty)

    expect(page.get_by_text("No usages match these filters.")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()

    expect(page.locator(".bar")).to_have_count(12)


@pytest.mark.parametrize(
    ("group_by", "names"),
    [
        ("Site", ["Berlin", "London", "no site"]),
        ("Meter", ["Main meter (Berlin)", "Main meter (London)", "no meter"]),
        ("Region", ["DE", "GB"]),
    ],
)
def test_emissions_are_grouped_by_place(enter, manager, sites, group_by, names):
    manager.ask("POST", "/usages", {"usage_type_id": 100, "usage_at": "2023-03-01T00:00:00Z", "amount": "1"})
    page = enter(manager)

    page.get_by_label("Group by").select_option(group_by)

    legend = page.get_by_role("list", name="Legend").get_by_role("listitem")
    for number, name in enumerate(names):
        expect(legend.nth(number)).to_contain_text(name)


def test_usages_are_filtered_by_site_and_name_it(enter, manager, sites):
    place = {"site_id": sites["London"], "usage_at": "2023-03-01T00:00:00Z", "amount": "1"}
    manager.ask("POST", "/usages", {"usage_type_id": 102} | place)
    page = enter(manager, "usages")
    expect(page.locator(".pager")).to_contain_text("24 in total")

    page.get_by_label("Site").select_option(f"{INDENT}Berlin")
    expect(page.locator(".pager")).to_contain_text("11 in total")
    expect(rows(page).first).to_contain_text("Main meter, Berlin")
    page.get_by_label("Site").select_option("London")
    page.get_by_label("Usage type").select_option("102")
    expect(rows(page)).to_have_count(1)
    expect(rows(page).get_by_role("cell", name="London", exact=True)).to_be_visible()


def test_meter_sets_type_and_site_of_a_usage(enter, manager, sites):
    page = enter(manager, "usages")
    page.get_by_role("button", name="Add a usage").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Usage type").select_option("102")
    form.get_by_label("Meter").select_option("Main meter, London")
    expect(form.get_by_label("Usage type")).to_have_value("100")
    expect(form.get_by_label("Site")).to_have_value(str(sites["London"]))
    form.get_by_label("Site").select_option(f"{INDENT}Berlin")
    expect(form.get_by_label("Meter")).to_have_value("")
    form.get_by_label("Meter").select_option("Main meter, Berlin")
    form.get_by_label("Time, or start").fill("2023-06-01T00:00:00")
    form.get_by_label("Amount").fill("2")
    form.get_by_role("button", name="Add", exact=True).click()

    expect(page.locator(".pager")).to_contain_text("24 in total")
    (usage,) = manager.ask("GET", "/usages?start=2023-05-31T23:00:00Z&end=2023-06-02&region=DE")
    assert (usage["meter_id"], usage["site_id"], usage["usage_type_id"]) == (
        sites["Berlin meter"], sites["Berlin"], 100,
    )  # fmt: skip


def test_correction_moves_a_usage_to_another_site(enter, manager, sites):
    path = f"/usages?meter_id={sites['Berlin meter']}&start=2023-01-01&end=2023-02-01"
    usage = manager.ask("GET", path)[0]["id"]
    page = enter(manager, "usages", site_id=sites["Berlin"], end="2023-01-31")
    page.get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Meter")).to_have_value(str(sites["Berlin meter"]))
    form.get_by_label("Site").select_option("London")
    form.get_by_role("button", name="Save").click()

    expect(page.get_by_text("No usages match these filters.")).to_be_visible()
    corrected = manager.ask("GET", f"/usages/{usage}")
    assert (corrected["meter_id"], corrected["site_id"], corrected["amount"]) == (None, sites["London"], 20)


def test_correction_of_the_amount_keeps_the_meter(enter, manager, sites):
    manager.ask("PATCH", f"/meters/{sites['Berlin meter']}", {"archived": True})
    page = enter(manager, "usages", site_id=sites["Berlin"], end="2023-01-31")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Amount").fill("21")
    page.get_by_role("button", name="Save").click()

    expect(rows(page)).to_contain_text("21 kwh")
    expect(rows(page)).to_contain_text("Main meter, Berlin")


def test_calendar_shows_the_share_of_each_month(enter, manager, sites):
    page = enter(manager, "coverage")

    expect(page.get_by_label("Year")).to_have_value("2023")
    expect(page.locator(".results .lead")).to_contain_text("95.8% of the time has data. 23 of 24 months are complete.")
    berlin, london = (rows(page).filter(has_text=f"Main meter, {name}") for name in ("Berlin", "London"))
    expect(berlin.get_by_role("cell")).to_have_text(["100%"] * 5 + ["0%"] + ["100%"] * 6)
    expect(london.get_by_role("cell")).to_have_text(["100%"] * 12)
    page.get_by_label("Site").select_option("London")
    expect(rows(page)).to_have_count(1)
    page.get_by_label("Year").select_option("2026")
    expect(page.locator(".results .lead")).to_contain_text("0% of the time has data.")
    page.reload()
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_label("Year")).to_have_value("2026")


def test_gap_is_filled_from_the_calendar(enter, manager, sites):
    page = enter(manager, "coverage")

    page.get_by_role("button", name="June 2023: show the gaps").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 Jun 2023, 00:00 to 1 Jul 2023, 00:00")
    page.get_by_role("button", name="Add a usage from 1 Jun 2023, 00:00").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Meter")).to_have_value(str(sites["Berlin meter"]))
    expect(form.get_by_label("Time, or start")).to_have_value("2023-06-01T00:00")
    expect(form.get_by_label("End of the interval")).to_have_value("2023-07-01T00:00")
    form.get_by_label("Amount").fill("20")
    form.get_by_role("button", name="Add", exact=True).click()

    expect(page.locator(".results .lead")).to_contain_text("100% of the time has data. 24 of 24 months are complete.")
    assert manager.ask("GET", "/coverage?start=2023-01-01&end=2024-01-01")["coverage"] == 1


def test_calendar_without_meters_lists_types_by_site(enter, manager):
    bill = {"usage_type_id": 100, "usage_at": "2023-03-01T00:00:00Z", "usage_until": "2023-03-16T12:00:00Z"}
    manager.ask("POST", "/usages", bill | {"amount": "1"})
    page = enter(manager, "coverage", year="2023")

    row = rows(page)
    expect(row).to_contain_text("No siteelectricity (kwh)")
    page.get_by_role("button", name="March 2023: show the gaps").click()
    expect(page.get_by_role("dialog")).to_contain_text("16 Mar 2023, 12:00 to 1 Apr 2023, 00:00")


def test_nothing_about_sites_is_shown_without_any(enter, manager):
    manager.ask("POST", "/usages", {"usage_type_id": 100, "usage_at": "2023-03-01T00:00:00Z", "amount": "1"})
    page = enter(manager)
    page.locator(".bar").first.wait_for()
    expect(page.get_by_label("Site")).to_have_count(0)
    assert not {"Site", "Meter"} & {*options(page.get_by_label("Group by"))}

    page.get_by_role("link", name="Usages").click()
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_label("Site")).to_have_count(0)
    expect(page.get_by_role("columnheader", name="Site or meter")).to_have_count(0)
    page.get_by_role("button", name="Add a usage").click()
    expect(page.get_by_label("Meter")).to_have_count(0)


def test_manager_adds_sites_and_meters(enter, manager):
    page = enter(manager, "settings")
    meters, sites = (page.get_by_role("region", name=name, exact=True).first for name in ("Meters", "Sites"))
    expect(meters).to_contain_text("No meters yet. Add a site first.")

    for name, region, parent in (("Europe", "", None), ("Berlin", "de", "Europe")):
        page.get_by_role("button", name="Add a site").click()
        form = page.get_by_role("dialog")
        form.get_by_label("Name").fill(name)
        form.get_by_label("Region").fill(region)
        if parent:
            form.get_by_label("Part of").select_option(parent)
            form.get_by_label("External ID").fill("BER")
            form.get_by_role("button", name="Add", exact=True).click()
            expect(form.get_by_label("Region")).to_have_attribute("aria-invalid", "true")
            form.get_by_label("Region").fill("DE")
        form.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("button", name="Add a site")).to_be_focused()
    expect(sites.locator("tbody tr")).to_have_text(["EuropeEdit", f"{INDENT}BerlinDEBEREdit"])
    page.get_by_role("button", name="Add a meter").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name").fill("Main meter")
    form.get_by_label("Site").select_option(f"{INDENT}Berlin")
    form.get_by_label("Usage type").select_option("electricity (kwh)")
    form.get_by_label("External ID").fill("19001")
    form.get_by_role("button", name="Add", exact=True).click()

    expect(meters.locator("tbody tr")).to_have_text(["Main meterBerlinelectricity (kwh)19001Edit"])
    (meter,) = manager.ask("GET", "/meters")
    (berlin,) = manager.ask("GET", "/sites?external_id=BER")
    assert (meter["site_id"], meter["usage_type_id"]) == (berlin["id"], 100)


def test_manager_edits_and_archives_sites_and_meters(enter, manager):
    group = manager.ask("POST", "/sites", {"name": "Group"})
    berlin = manager.ask("POST", "/sites", {"name": "Berlin", "region": "DE", "parent_id": group["id"]})
    meter = manager.ask("POST", "/meters", {"name": "Main", "site_id": berlin["id"], "usage_type_id": 100})
    page = enter(manager, "settings")

    page.get_by_role("button", name="Edit Berlin").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name").fill("")
    form.get_by_label("Region").fill("")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    form.get_by_label("Name").fill("Potsdam")
    form.get_by_label("Part of").select_option("None")
    form.get_by_label("New usages").select_option("Not accepted: archived")
    form.get_by_role("button", name="Save").click()
    sites = page.get_by_role("region", name="Sites", exact=True).first
    expect(sites.locator("tbody tr")).to_have_text(["GroupEdit", "Potsdam archivedEdit"])
    changed = manager.ask("GET", f"/sites/{berlin['id']}")
    assert (changed["parent_id"], changed["region"], changed["archived"]) == (None, None, True)

    page.get_by_role("button", name="Edit Main").click()
    form.get_by_label("Site").select_option("Group")
    form.get_by_label("External ID").fill("19")
    form.get_by_role("button", name="Save").click()
    meters = page.get_by_role("region", name="Meters", exact=True).first
    expect(meters.locator("tbody tr")).to_have_text(["MainGroupelectricity (kwh)19Edit"])
    changed = manager.ask("GET", f"/meters/{meter['id']}")
    assert (changed["site_id"], changed["external_id"], changed["archived"]) == (group["id"], "19", False)


def test_member_has_no_settings_of_sites(enter, manager, sites):
    member = {"email": f"grace{next(numbers)}@example.org", "password": PASSWORD, "name": "Grace", "role": "member"}
    manager.ask("POST", "/users", member)
    page = enter(type(manager)(manager.service, member["email"]), "settings")

    expect(page.get_by_role("heading", level=2)).to_have_text(["Your password"])
