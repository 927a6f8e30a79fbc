"""The keyboard's focus, typed dates, and Back, in a browser. `make browser` runs this."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
JANUARY = {"usage_type_id": 100, "usage_at": "2022-01-10T12:00:00Z", "amount": "10"}
HISTORY = "history.length"


def rows(page):
    return page.locator(".results tbody tr")


@pytest.fixture
def three_usages(manager):
    for day in ("10", "11", "12"):
        manager.ask("POST", "/usages", JANUARY | {"usage_at": f"2022-01-{day}T12:00:00Z"})
    return manager


@pytest.mark.parametrize("view", ["emissions", "usages"])
def test_date_can_be_typed_and_takes_effect_on_enter(enter, manager, view):
    manager.ask("POST", "/usages", JANUARY)
    page = enter(manager, view, **({"range": "custom"} if view == "emissions" else {}))
    page.locator(".results:not([aria-busy])").wait_for()
    entries = page.evaluate(HISTORY)
    start = page.get_by_label("From", exact=True)

    start.press("0")
    for key in "1012022":
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    expect(start).to_have_value("2022-01-01")
    expect(start).to_be_focused()
    assert page.evaluate(HISTORY) == entries
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("start=2022-01-01"))
    expect(start).to_be_focused()
    assert page.evaluate(HISTORY) == entries + 1


def test_typed_date_takes_effect_when_the_field_is_left(enter, manager):
    manager.ask("POST", "/usages", JANUARY)
    page = enter(manager, "usages")

    page.get_by_label("From", exact=True).press_sequentially("02022022", delay=60)
    page.get_by_label("Usage type").focus()

    expect(page).to_have_url(re.compile("start=2022-02-02"))
    expect(page.get_by_text("No usages match these filters.")).to_be_visible()


def test_back_closes_a_dialog(enter, three_usages):
    page = enter(three_usages, "users")
    page.get_by_role("link", name="Usages").click()
    page.get_by_role("button", name="Add a usage").click()
    page.get_by_role("dialog").wait_for()

    page.go_back()

    expect(page.get_by_role("heading", level=1)).to_have_text("Users")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_late_response_appears_only_in_its_own_view(enter, three_usages):
    page = enter(three_usages, "users")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("link", name="Usages").click()
    page.get_by_role("button", name="Add a usage").click()
    page.get_by_label("Amount").fill("7")
    held = []
    page.route("**/api/v1/usages", lambda route: held.append(route))
    page.get_by_role("button", name="Add", exact=True).click()
    page.wait_for_timeout(300)

    page.go_back()
    expect(rows(page)).to_have_count(1)
    with page.expect_response(lambda response: response.request.method == "POST"):
        held[0].continue_()
    page.wait_for_timeout(500)

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("Ada Lovelace")


def test_back_within_a_view_keeps_its_form(enter, manager):
    for amount in range(21):
        content = f"usage_at,amount,usage_type_id\n2022-02-01T{amount:02}:00:00Z,1,100\n".encode()
        manager.ask("POST", "/imports", content, "text/csv")
    page = enter(manager, "imports")
    page.get_by_role("button", name="Next").click()
    expect(rows(page)).to_have_count(1)
    file = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"start,value\n"}
    page.set_input_files("#import-file", file)

    page.go_back()

    expect(rows(page)).to_have_count(20)
    expect(page.get_by_text("a.csv has 2 columns")).to_be_visible()


def test_focus_survives_sorting_and_paging(enter, household):
    page = enter(household, "usages")
    sorter = page.get_by_role("columnheader", name="Amount").get_by_role("button")
    sorter.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Amount")).to_have_attribute("aria-sort", "descending")
    expect(sorter).to_be_focused()

    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".pager")).to_contain_text("Page 2 of")
    expect(page.get_by_role("button", name="Next")).to_be_focused()
    # The start of the new page is on the screen.
    expect(page.get_by_role("columnheader", name="Amount")).to_be_in_viewport()


def test_focus_survives_editing_and_deleting(enter, three_usages):
    page = enter(three_usages, "usages")
    page.get_by_role("button", name=re.compile("Edit the usage of 11 Jan")).press("Enter")
    page.get_by_label("Amount").fill("11")
    page.get_by_role("button", name="Save").click()
    expect(rows(page).nth(1)).to_contain_text("11 kwh")
    expect(page.get_by_role("button", name=re.compile("Edit the usage of 11 Jan"))).to_be_focused()

    page.get_by_role("button", name=re.compile("Delete the usage of 11 Jan")).press("Enter")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(rows(page)).to_have_count(2)
    # The row below has moved to the place of the deleted one.
    expect(page.get_by_role("button", name=re.compile("Delete the usage of 10 Jan"))).to_be_focused()


def test_factors_that_open_below_are_focused(enter, manager):
    page = enter(manager, "catalogue")

    page.get_by_role("button", name="Factors of water (kg)").press("Enter")

    expect(page.get_by_role("heading", name="Factors of water (kg)")).to_be_focused()
    expect(page.get_by_role("button", name="Factors of water (kg)")).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(page.locator(".factors")).to_be_hidden()
