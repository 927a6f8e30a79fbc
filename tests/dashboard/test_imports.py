"""Importing files in a browser. `make browser` runs this."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
FOREIGN = "when;kWh used;state\n01.02.2022 10:00;1,5;ok\n01.02.2022 11:00;{};ok\n"


def choose(page, text, name="meter.csv"):
    page.set_input_files("#import-file", {"name": name, "mimeType": "text/csv", "buffer": text.encode()})


def is_post(route):
    return route.request.method == "POST"


def map_foreign(page):
    page.get_by_label("Time", exact=True).select_option("when")
    page.get_by_label("Amount", exact=True).select_option("kWh used")
    page.get_by_label("Default usage type").select_option("electricity (kwh)")
    page.get_by_label("Time zone of times").select_option("Europe/London")
    page.get_by_label("Dates").select_option("day, month, year")
    page.get_by_label("Decimal separator").select_option("comma")


def test_file_is_mapped_previewed_imported_and_reverted(enter, manager):
    page = enter(manager, "imports")

    choose(page, FOREIGN.format("two"))
    map_foreign(page)
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="1 line with errors")).to_be_visible()
    expect(page.locator(".outcome tbody tr")).to_have_text(["3amounttwoNot a number."])
    expect(page.get_by_role("button", name="Import", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Cancel").click()

    choose(page, FOREIGN.format("2,25"))
    map_foreign(page)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".outcome")).to_contain_text("2 new usages, 5.625 kg CO2e")
    assert manager.ask("GET", "/usages") == []
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("meter.csv: 2 usages imported, 5.625 kg CO2e.")).to_be_visible()
    recorded = manager.ask("GET", "/usages?sort=usage_at")
    assert [(usage["usage_at"], usage["amount"], usage["note"]) for usage in recorded] == [
        ("2022-02-01T10:00:00Z", 1.5, None),
        ("2022-02-01T11:00:00Z", 2.25, None),
    ]

    page.get_by_role("button", name="Revert import").click()
    page.get_by_label("Reason").fill("The wrong meter.")
    page.get_by_role("button", name="Revert", exact=True).click()
    expect(page.locator(".results tbody tr")).to_contain_text("reverted")
    assert manager.ask("GET", "/usages") == []


def test_valid_lines_can_be_imported_alone(enter, manager):
    page = enter(manager, "imports")

    choose(page, FOREIGN.format("two"))
    map_foreign(page)
    page.get_by_label("Lines with errors").select_option("are skipped")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import", exact=True).click()

    expect(page.get_by_text("meter.csv: 1 usage imported, 2.25 kg CO2e.")).to_be_visible()


def test_columns_of_a_dropped_file_are_guessed(enter, manager):
    page = enter(manager, "imports")
    text = "start,value\\n2022-02-01T10:00:00Z,1.5\\n"
    dropped = page.evaluate_handle(
        f"() => {{ const files = new DataTransfer(); files.items.add(new File(['{text}'], 'a.csv')); return files; }}"
    )

    page.dispatch_event(".drop", "drop", {"dataTransfer": dropped})

    expect(page.get_by_label("Time", exact=True)).to_have_value("start")
    expect(page.get_by_label("Amount", exact=True)).to_have_value("value")


def test_export_can_be_imported(enter, manager):
    manager.ask("POST", "/usages", {"usage_type_id": 100, "usage_at": "2022-01-31T12:00:00Z", "amount": "0.3"})
    page = enter(manager, "imports")
    exported = page.evaluate(
        "token => fetch('api/v1/usages/export?format=csv', {headers: {Authorization: `Bearer ${token}`}})"
        ".then(response => response.text())",
        manager.token,
    )

    choose(page, exported)
    page.get_by_label("Existing usages").select_option("stay unchanged")
    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_role("heading", name="No errors")).to_be_visible()
    expect(page.locator(".outcome")).to_contain_text("1 unchanged")


def test_rejected_file_shows_the_error(enter, manager):
    page = enter(manager, "imports")

    choose(page, "start,value\n2022-02-01T10:00:00Z,1.5\n")
    page.get_by_label("Amount", exact=True).select_option("")
    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_role("alert")).to_contain_text("Missing column amount.")


def test_repeated_file_names_its_import_and_can_be_imported(enter, manager):
    file = "usage_at,amount,usage_type_id\n2022-02-01T10:00:00Z,1.5,100\n"
    page = enter(manager, "imports")
    choose(page, file)
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("meter.csv: 1 usage imported, 2.25 kg CO2e.")).to_be_visible()

    choose(page, file)
    page.get_by_role("button", name="Preview").click()
    imported = manager.ask("GET", "/imports")[0]["id"]
    expect(page.get_by_text(f"This file was imported before: import {imported} of ")).to_be_visible()

    page.get_by_label("File that was imported before").select_option("is imported again")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="1 line with errors")).to_be_visible()
    expect(page.locator(".outcome tbody tr")).to_contain_text("The ledger already has this reading: usage ")


def test_double_click_imports_once(enter, manager):
    page = enter(manager, "imports")
    choose(page, "usage_at,amount,usage_type_id\n2022-02-01T10:00:00Z,1.5,100\n")
    page.get_by_label("Existing usages").select_option("are errors")
    page.get_by_role("button", name="Preview").click()
    held = []
    page.route("**/api/v1/imports*", lambda route: held.append(route) if is_post(route) else route.continue_())
    importer = page.get_by_role("button", name="Import", exact=True)
    importer.evaluate("button => { button.click(); button.click(); }")
    expect(importer).to_be_disabled()
    expect(page.get_by_role("button", name="Preview")).to_be_disabled()
    for route in held:
        route.continue_()
    expect(page.get_by_text("meter.csv: 1 usage imported, 2.25 kg CO2e.")).to_be_visible()

    assert len(held) == 1
    assert [each["usage_count"] for each in manager.ask("GET", "/imports")] == [1]


def test_import_without_a_response_keeps_its_key(enter, manager):
    page = enter(manager, "imports")
    choose(page, "usage_at,amount,usage_type_id\n2022-02-01T10:00:00Z,1.5,100\n")
    page.get_by_role("button", name="Preview").click()
    importer = page.get_by_role("button", name="Import", exact=True)
    keys = []

    def lose_response(route):
        if not is_post(route):
            return route.continue_()
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            return route.continue_()
        route.fetch()
        return route.fulfill(status=409, content_type="application/problem+json", body='{"detail": "Busy."}')

    page.route("**/api/v1/imports*", lose_response)
    importer.click()
    expect(page.get_by_role("alert")).to_contain_text("Busy.")
    importer.click()
    expect(page.get_by_text("meter.csv: 1 usage imported, 2.25 kg CO2e.")).to_be_visible()

    assert keys[0] == keys[1]
    assert len(manager.ask("GET", "/imports")) == 1


def test_region_is_set_for_a_whole_file(enter, manager):
    manager.ask("PATCH", f"/organizations/{manager.user['organization_id']}", {"region": None})
    factor = {"factor": "0.2", "valid_from": "2020-01-01T00:00:00Z", "source": "Our supplier", "region": "FR"}
    manager.ask("POST", "/usage-types/100/factors", factor)
    page = enter(manager, "imports")
    choose(page, "usage_at,amount,usage_type_id\n2022-02-01T10:00:00Z,10,100\n")

    page.get_by_label("Region of the file").fill("FR")
    page.get_by_role("button", name="Preview").click()

    expect(page.locator(".outcome")).to_contain_text("1 new usage, 2 kg CO2e")


def test_method_column_is_rejected_with_the_way_out(enter, manager):
    page = enter(manager, "imports")

    choose(page, "usage_at,amount,usage_type_id,method\n2022-02-01T10:00:00Z,10,100,market\n")
    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_text("Unknown column 'method'. Remove it: a usage has both numbers")).to_be_visible()
