"""Exports: the rows of the JSON API as files that can be imported again."""

import csv
import io

import pytest

from tests.support import factories
from tests.support.client import query_now

COLUMNS = (
    "id,organization_id,user_id,usage_type_id,usage_at,usage_until,amount,unit,amount_in_type_unit,factor,"
    "market_factor,emission_factor_id,valuation_id,co2e_kg,market_co2e_kg,split_co2e_kg,split_market_co2e_kg,"
    "provisional,region,site_id,meter_id,quality,note,external_id,adjusts_closed_period_id,import_id,restatement_id,version,recorded_at,recorded_by,reason"
)
# Cells by their text. An apostrophe stops spreadsheets from running a formula, without loss.
CELLS = {
    "=1+1": "'=1+1",
    "+1": "'+1",
    "-1": "'-1",
    "@a": "'@a",
    "\ta": "'\ta",
    "\r\na": "'\r\na",
    "'=1": "''=1",
    "''-": "'''-",
    "'": "''",
    "": "'",
    "'a": "'a",
    " =1": " =1",
    "a=1": "a=1",
    'a, "b"\nc': 'a, "b"\nc',
    "\\.": "\\.",
}
FOLLOWS = ("id", "organization_id", "user_id", "import_id", "valuation_id", "version", "recorded_at", "recorded_by")


def lines_of(answer):
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))


def imported(client, file, query=""):
    return client.post(f"/imports{query}", data=file, content_type="text/csv")


def test_ndjson_lines_equal_json_of_list(as_member):
    odd = 'quotes " \\ / tab \t lines \r\n € 😀 \u2028 \u00a0 =x %s :a'
    factories.usage(as_member.user, "0.1", "2024-01-01T12:00:00.000001+01:00", note=odd, external_id="a")
    factories.usage(
        as_member.user, "999999999999.999999", "1900-01-01", note="", usage_until=factories.at("1901-01-01")
    )
    factories.usage(as_member.user, "0", "2200-12-31T23:59:59.5", region="GB", quality="estimated")
    factories.usage(as_member.user, "1200", "2024-05-01", unit="MWh")

    listed = as_member.get("/usages?sort=id").text
    answer = as_member.get("/usages/export?sort=id&format=ndjson")

    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usages.ndjson"'
    assert "[" + answer.text.removesuffix("\n").replace("\n", ",") + "]" == listed


def test_csv_cells_are_json_texts_and_empty_for_null(as_member):
    usage = factories.usage(as_member.user, "0.10", "2024-01-01T12:00:00.5+01:00")

    answer = as_member.get("/usages/export")

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usages.csv"'
    header, line, end = answer.text.split("\n")
    assert (header, end) == (COLUMNS, "")
    recorded_at = as_member.get(f"/usages/{usage.id}").json["recorded_at"]
    assert line == (
        f"{usage.id},{usage.organization_id},{usage.user_id},100,2024-01-01T11:00:00.500000Z,,0.1,kwh,0.1,1.5,1.5,"
        f"{usage.emission_factor_id},{usage.valuation_id},0.15,0.15,,,false,,,,measured,,,,,,1,{recorded_at},{usage.user_id},"
    )


def test_times_have_six_decimals_or_none(as_member):
    written = {
        "1969-12-31T23:59:59": "1969-12-31T23:59:59Z",
        "2024-01-01T12:00:00": "2024-01-01T12:00:00Z",
        "2024-01-01T12:00:00.000001": "2024-01-01T12:00:00.000001Z",
        "2024-01-01T12:00:00.00002": "2024-01-01T12:00:00.000020Z",
        "2024-01-01T12:00:00.0304": "2024-01-01T12:00:00.030400Z",
        "2024-01-01T12:00:00.608": "2024-01-01T12:00:00.608000Z",
        "2024-01-01T12:00:00.98": "2024-01-01T12:00:00.980000Z",
        "2024-01-01T12:00:10.5": "2024-01-01T12:00:10.500000Z",
        "2199-12-31T23:59:59.999999": "2199-12-31T23:59:59.999999Z",
    }
    for usage_at in written:
        factories.usage(as_member.user, usage_at=usage_at)

    for shown in (as_member.get("/usages?sort=usage_at").json, lines_of(as_member.get("/usages/export?sort=usage_at"))):
        assert [usage["usage_at"] for usage in shown] == list(written.values())


def test_empty_export_has_header_only(as_member):
    assert as_member.get("/usages/export").text == COLUMNS + "\n"
    assert as_member.get("/usages/export?format=ndjson").text == ""


def test_export_supports_filters_order_and_as_of(as_manager):
    for day, amount in ((1, 3), (2, 1), (3, 2)):
        factories.usage(as_manager.user, amount, f"2024-01-0{day}", quality="estimated" if day == 3 else "measured")
    before = query_now()
    changed = as_manager.get("/usages?sort=id").json[1]["id"]
    as_manager.patch(f"/usages/{changed}", json={"amount": 9, "reason": "misread"})

    for query in (
        "",
        "?sort=-amount",
        "?sort=amount,id&quality=measured&quality=estimated",
        "?start=2024-01-02&end=2024-01-03",
        "?scope=1",
        "?user_id=987654321",
        f"?as_of={before}&sort=amount",
    ):
        listed = as_manager.get(f"/usages{query}").json
        lines = lines_of(as_manager.get(f"/usages/export{query}"))
        assert [line["id"] for line in lines] == [str(usage["id"]) for usage in listed], query
        assert [line["amount"] for line in lines] == [str(usage["amount"]) for usage in listed], query
    amounts = [line["amount"] for line in lines_of(as_manager.get(f"/usages/export?as_of={before}&sort=amount"))]
    assert amounts == ["1", "2", "3"]


@pytest.mark.parametrize("query", ["page=1", "format=xlsx", "sort=note", "as_of=2999-01-01T00:00:00Z", "strat=2024"])
def test_invalid_query_is_problem(as_member, query):
    answer = as_member.get(f"/usages/export?{query}")

    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert list(answer.json["errors"]["query"]) == [query.partition("=")[0]]


def test_export_has_visible_usages_only(as_member, as_manager, as_auditor, as_other_manager):
    mine, other = factories.usage(as_member.user).id, factories.usage(as_manager.user).id

    seen = [
        {int(line["id"]) for line in lines_of(client.get("/usages/export"))}
        for client in (as_member, as_manager, as_auditor, as_other_manager)
    ]

    assert seen == [{mine}, {mine, other}, {mine, other}, set()]


def test_formulas_are_escaped_by_apostrophe(as_member):
    for text in CELLS:
        factories.usage(as_member.user, note=text)

    lines = lines_of(as_member.get("/usages/export?sort=id"))

    assert [line["note"] for line in lines] == list(CELLS.values())


def test_negative_amount_is_not_escaped(as_manager):
    period = as_manager.post("/closed-periods", json={"until": "2021-01-01T00:00:00Z"}).json
    factories.usage(as_manager.user, "-12.5", "2022-01-01", adjusts_closed_period_id=period["id"])

    (line,) = lines_of(as_manager.get("/usages/export"))
    assert (line["amount"], line["co2e_kg"], line["adjusts_closed_period_id"]) == ("-12.5", "-18.75", str(period["id"]))


def exported_fields(client):
    """Return the usages without the fields that depend on how they were recorded."""
    usages = client.get("/usages?sort=usage_at,amount&page_size=1000").json
    return [{name: value for name, value in usage.items() if name not in FOLLOWS} for usage in usages]


@pytest.fixture
def full(as_manager, as_member):
    """Return the manager of an organization with usages of every kind, the last one an adjustment."""
    period = as_manager.post("/closed-periods", json={"until": "2020-12-31T00:00:00Z"}).json
    for number, text in enumerate(CELLS):
        factories.usage(as_member.user, "0.1", f"2024-01-01T00:{number:02}", note=text, external_id=f"={number}")
    factories.usage(as_manager.user, "1.5", "2024-02-01", unit="MWh", region="GB")
    factories.usage(as_manager.user, "12", "2024-03-01", usage_until=factories.at("2024-04-01"), quality="estimated")
    own = factories.usage_type("=own", "=unit", factor="0.000000000001")
    factories.usage(as_manager.user, "7", "2024-05-01", usage_type_id=own.id)
    factories.usage(as_manager.user, "-3", "2024-06-01T00:00:00.000001", adjusts_closed_period_id=period["id"])
    return as_manager


def test_exported_usages_can_be_imported_again(full):
    before, users = exported_fields(full), [usage["user_id"] for usage in full.get("/usages?sort=usage_at").json]
    exported = full.get("/usages/export")
    file = exported.text
    ids = "&".join(f"id={line['id']}" for line in lines_of(exported))
    assert full.delete(f"/usages?{ids}").status_code == 204

    answer = imported(full, file)

    assert answer.status_code == 201, answer.text
    assert exported_fields(full) == before
    assert [usage["user_id"] for usage in full.get("/usages?sort=usage_at").json] == users


def test_export_can_be_imported_by_other_organization(full, as_other_manager):
    before = exported_fields(full)
    file = full.get("/usages/export?end=2024-06-01").text
    assert "user_id: There is no user " in imported(as_other_manager, file).json["errors"]["file"]["2"][0]

    answer = imported(as_other_manager, file, "?ignore=user_id")

    assert answer.status_code == 201, answer.text
    assert exported_fields(as_other_manager) == before[:-1]
    users = {usage["user_id"] for usage in as_other_manager.get("/usages?page_size=1000").json}
    assert users == {as_other_manager.user.id}


def test_adjustment_requires_closed_period_of_organization(full, as_other_manager):
    exported = full.get("/usages/export?start=2024-06-01")
    period_id = lines_of(exported)[0]["adjusts_closed_period_id"]

    rejected = imported(as_other_manager, exported.text, "?ignore=user_id")
    message = (
        f"adjusts_closed_period_id: Your organization has no closed period {period_id}; GET /closed-periods lists them."
    )
    assert (rejected.status_code, rejected.json["errors"]["file"]) == (422, {"2": [message]})

    own = as_other_manager.post("/closed-periods", json={"until": "2020-12-31T00:00:00Z"}).json["id"]
    file = exported.text.replace(f",measured,,,{period_id},", f",measured,,,{own},")
    assert imported(as_other_manager, file, "?ignore=user_id").status_code == 201
    assert as_other_manager.get("/usages").json[0]["adjusts_closed_period_id"] == own


def test_required_column_must_not_be_ignored(as_member):
    factories.usage(as_member.user)
    file = as_member.get("/usages/export").text

    answer = imported(as_member, file, "?ignore=amount&ignore=usage_at")

    missing = ["Missing column usage_at.", "Missing column amount."]
    assert (answer.status_code, answer.json["errors"]["file"]) == (422, {"1": missing})
    unknown = imported(as_member, file, "?ignore=mood")
    assert (unknown.status_code, list(unknown.json["errors"]["query"])) == (422, ["ignore"])
