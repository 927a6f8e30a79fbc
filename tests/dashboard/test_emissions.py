"""Emissions over time, in a browser. `make browser` runs this."""

import csv
import io
import re
import time
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
JANUARY = {"range": "free", "start": "2022-01-01", "end": "2022-03-31"}


def readout(page):
    return page.locator(".readout")


def seconds_to_chart(page):
    began = time.perf_counter()
    page.reload()
    page.locator(".bar").first.wait_for()
    return time.perf_counter() - began


def saved(page, name):
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_the_first_chart_is_there_within_a_second(enter, household):
    page = enter(household)
    page.locator(".bar").first.wait_for()
    # The best of several: other tests may run beside it.
    first_chart = min(seconds_to_chart(page) for _ in range(5))

    transferred = page.evaluate(
        "[performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]"
        ".filter(one => one.name.includes('/dashboard')).reduce((sum, one) => sum + one.encodedBodySize, 0)"
    )
    print(f"first chart after {first_chart:.3f} s, {transferred} bytes")
    assert first_chart < 1
    assert transferred < 100_000


def test_every_bar_tells_its_digits_to_pointer_and_keyboard(enter, household):
    page = enter(household, **JANUARY)
    trend = household.ask("GET", "/emissions/trend?bucket=month&start=2022-01-01&end=2022-04-01")
    bars = page.locator(".bar")
    expect(bars).to_have_count(3)

    bars.nth(0).hover()
    expect(readout(page)).to_contain_text("January 2022")
    expect(readout(page)).to_contain_text(f"{trend[0]['co2e_kg']:,.9f}".rstrip("0"))
    page.mouse.move(0, 0)
    expect(readout(page)).to_be_hidden()

    bars.nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(bars.nth(1)).to_be_focused()
    expect(readout(page)).to_contain_text("February 2022")
    page.keyboard.press("End")
    expect(readout(page)).to_contain_text("March 2022")
    page.keyboard.press("ArrowRight")
    expect(bars.nth(2)).to_be_focused()
    page.keyboard.press("Home")
    told = re.compile(r"^January 2022: [\d,.]+ kg CO2e\. heating .* electricity")
    expect(bars.nth(0)).to_have_attribute("aria-label", told)
    assert readout(page).get_attribute("aria-live") == "polite"
    page.keyboard.press("Escape")
    expect(readout(page)).to_be_hidden()


def test_what_is_shown_is_chosen_stands_in_the_address_and_can_be_shared(enter, household, context):
    page = enter(household)
    page.get_by_label("Range").select_option("Last year")
    page.get_by_text("There are no usages").or_(page.locator(".bar").first).first.wait_for()
    page.get_by_label("Range").select_option("From … to …")
    page.get_by_label("From", exact=True).fill("2022-02-01")
    page.get_by_label("To, included").fill("2022-02-28")
    page.get_by_label("In", exact=True).select_option("Days")
    page.get_by_label("Split by").select_option("User")
    page.get_by_label("Time zone").select_option("America/New_York")
    expect(page.locator(".bar")).to_have_count(28)
    expect(page.locator(".bar").first).to_have_attribute("aria-label", re.compile("1 February 2022"))

    other = context.new_page()
    other.goto(page.url)
    expect(other.locator(".bar")).to_have_count(28)
    expect(other.get_by_label("Split by")).to_have_value("user")
    expect(other.get_by_label("Time zone")).to_have_value("America/New_York")

    page.go_back()
    expect(page.get_by_label("Time zone")).to_have_value("Europe/London")


@pytest.mark.parametrize(("bucket", "bars"), [("Weeks", 14), ("Quarters", 1), ("Years", 1), ("Hours", 2159)])
def test_buckets_from_hour_to_year(enter, household, bucket, bars):
    page = enter(household, **JANUARY)

    page.get_by_label("In", exact=True).select_option(bucket)

    expect(page.locator(".bar")).to_have_count(bars)


def test_the_year_before_stands_beside(enter, household):
    household.book("electricity", 100, ("2021-01",))
    page = enter(household, **JANUARY)

    page.get_by_label("Beside it").select_option("A year before")

    page.locator("rect.previous").first.wait_for()
    page.locator(".bar").nth(0).focus()
    expect(readout(page)).to_contain_text("The year before:")
    expect(page.locator(".tile", has_text="The year before")).to_contain_text("more; its data are incomplete")


def test_the_incomplete_and_the_estimated_look_and_read_differently(enter, household):
    estimate = {"usage_type_id": 100, "usage_at": "2022-05-10T00:00:00Z", "amount": "60", "quality": "estimated"}
    household.ask("POST", "/usages", estimate)
    page = enter(household)

    expect(page.locator(".bar").nth(4).locator("rect[fill='url(#hatch-estimated)']")).to_have_count(1)
    expect(page.locator(".bar").nth(3).locator("rect[fill='url(#hatch-incomplete)']")).to_have_count(1)
    expect(page.locator(".bar").nth(0).locator("rect[fill^=url]")).to_have_count(0)
    expect(page.get_by_label("Legend")).to_contain_text("partly estimated")
    expect(page.get_by_label("Legend")).to_contain_text("incomplete")
    expect(page.locator(".bar").nth(4)).to_have_attribute("aria-label", re.compile(r"Incomplete: .* 100% estimated\."))


def test_the_table_and_the_csv_have_the_very_digits(enter, household):
    trend = household.ask("GET", "/emissions/trend?bucket=month&start=2022-01-01&end=2022-04-01")
    page = enter(household, **JANUARY)

    page.get_by_text("The same numbers as a table").click()
    cells = page.locator("details table tbody tr").first.locator("td").all_inner_texts()
    name, content = saved(page, "CSV")
    first, *_ = csv.DictReader(io.StringIO(content.decode()))

    assert name == "emissions-by-month.csv"
    assert first["bucket_start"] == "2022-01-01T00:00:00Z"
    assert Decimal(first["co2e_kg"]) == Decimal(first["heating"]) + Decimal(first["electricity"])
    assert float(first["co2e_kg"]) == trend[0]["co2e_kg"]
    assert cells[0] == "January 2022"
    assert cells[1].replace(",", "") == first["co2e_kg"]


def test_the_chart_is_saved_as_svg_and_png(enter, household):
    page = enter(household, **JANUARY)
    page.locator(".bar").first.wait_for()

    _, svg = saved(page, "SVG")
    name, png = saved(page, "PNG")

    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"heating", "electricity"} <= set(texts)
    assert b"class=" not in svg
    assert b"var(" not in svg
    assert name == "emissions-by-month.png"
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(png) > 5_000


def test_what_the_api_refuses_is_said_beside_its_field(enter, household):
    page = enter(household, **JANUARY, bucket="month")

    page.get_by_label("To, included").fill("2021-01-01")

    expect(page.get_by_label("To, included")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".fault:visible")).to_contain_text("later than start")
