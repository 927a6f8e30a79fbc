"""Sites and meters in imported files."""

import pytest
import sqlalchemy as sa

from carbonapi.db import db
from tests.support import factories
from tests.support.imports import post

METER_A = "start,kwh\n2022-01-01T00:00:00Z,10\n2022-01-01T01:00:00Z,10\n"
METER_B = "start,kwh\n2022-01-01T00:00:00Z,3\n2022-01-01T01:00:00Z,4\n"
COLUMNS = "columns=usage_at:start,amount:kwh"
AT = "2024-01-01T00:00:00Z"
# A column names the meter; two meters have readings at the same times.
METERS = (
    "mpan,start,kwh\n1001,2024-01-01 00:00,1\n1002,2024-01-01 00:00,2\n1001,2024-01-01 00:30,1\n"
    "1002,2024-01-01 00:30,2\n"
)
METER_OPTIONS = "columns=meter:mpan,usage_at:start,amount:kwh&timezone=UTC"


@pytest.fixture
def berlin(organization):
    return factories.site(organization, "Berlin", region="DE", external_id="BER")


@pytest.fixture
def london(organization):
    return factories.site(organization, "London")


@pytest.fixture
def main(berlin):
    return factories.meter(berlin, "Main", external_id="1001")


def load(client, file, query="", status=201):
    answer = post(client, file, f"?{query}")
    assert answer.status_code == status, answer.text
    return answer.json


def errors(client, file, query=""):
    return load(client, file, query, 422)["errors"]["file"]


def places(client, query="sort=id"):
    return [
        (usage["site_id"], usage["meter_id"], usage["usage_type_id"], usage["region"])
        for usage in client.get(f"/usages?{query}").json
    ]


def total(client, query=""):
    return sum(usage["amount"] for usage in client.get(f"/usages?page_size=1000&{query}").json)


def counts(imported):
    return tuple(imported[f"{name}_count"] for name in ("new", "changed", "unchanged", "skipped", "rejected"))


@pytest.mark.parametrize(("column", "cell"), [("meter", "1001"), ("meter", "Main"), ("meter_id", None)])
def test_row_gets_site_type_and_region_of_its_meter(as_manager, berlin, main, column, cell):
    load(as_manager, f"usage_at,amount,{column}\n{AT},1,{cell or main.id}\n")

    assert places(as_manager) == [(berlin.id, main.id, 100, "DE")]


@pytest.mark.parametrize("option", ["meter=1001", "meter=Main", "meter_id={id}"])
def test_option_names_the_meter_of_all_rows(as_manager, berlin, main, option):
    load(as_manager, METER_A, f"{COLUMNS}&{option.format(id=main.id)}")

    assert places(as_manager) == [(berlin.id, main.id, 100, "DE")] * 2


@pytest.mark.parametrize(("column", "cell"), [("site", "BER"), ("site", "Berlin"), ("site_id", None)])
def test_row_names_a_site(as_manager, berlin, column, cell):
    load(as_manager, f"usage_at,amount,{column}\n{AT},1,{cell or berlin.id}\n", "usage_type_id=100")
    load(as_manager, "usage_at,amount\n2024-02-01T00:00:00Z,1\n", f"usage_type_id=100&site_id={berlin.id}")

    assert places(as_manager) == [(berlin.id, None, 100, "DE")] * 2


def test_own_region_takes_precedence_over_that_of_the_site(as_manager, berlin):
    load(as_manager, f"usage_at,amount,site,region\n{AT},1,BER,FR\n", "usage_type_id=100")

    assert places(as_manager) == [(berlin.id, None, 100, "FR")]


def test_site_of_the_row_selects_among_meters_of_one_name(as_manager, berlin, london, main):
    other = factories.meter(london, "Main")
    file = f"usage_at,amount,site,meter\n{AT},1,BER,Main\n{AT},2,London,Main\n"

    load(as_manager, file)

    assert [place[1] for place in places(as_manager)] == [main.id, other.id]
    ambiguous = errors(as_manager, f"usage_at,amount,meter\n{AT},1,Main\n")
    message = f"Meters {main.id}, {other.id} have this name. Give the external_id of one, or its id as meter_id."
    assert ambiguous == {"2": [f"meter: {message}"]}


def test_archived_meter_does_not_make_a_name_ambiguous(as_manager, london, main):
    factories.meter(london, "Main", archived=True)

    load(as_manager, f"usage_at,amount,meter\n{AT},1,Main\n")

    assert places(as_manager)[0][1] == main.id


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("meter\n{at},1,2002", "meter: There is no meter 2002; GET /meters lists them."),
        ("meter_id\n{at},1,987654321", "meter_id: There is no meter 987654321; GET /meters lists them."),
        ("site,usage_type_id\n{at},1,Paris,100", "site: There is no site Paris; GET /sites lists them."),
        ("site_id,usage_type_id\n{at},1,987654321,100", "site_id: There is no site 987654321;"),
        ("meter,usage_type_id\n{at},1,1001,101", "usage_type_id: usage_type_id must be 100, that of meter "),
        ("meter,site\n{at},1,1001,London", "site_id: site_id must be "),
        ("meter,meter_id\n{at},1,1001,1", "meter: Give meter or meter_id, not both."),
        ("site,site_id,usage_type_id\n{at},1,BER,1,100", "site: Give site or site_id, not both."),
        ("meter\n2019-12-31T23:59:59Z,1,old", "usage_at: Meter {old} was installed at 2020-01-01T00:00:00Z. Choose "),
        ("meter\n2021-01-01T00:00:00Z,1,old", "usage_at: Meter {old} was removed at 2021-01-01T00:00:00Z. Choose "),
        ("meter\n{at},1,gone", "meter_id: The meter {gone} or its site is archived and accepts no new usages."),
        ("site,usage_type_id\n{at},1,Closed,100", "site_id: The site {closed} or its site is archived and accepts "),
        ("meter,usage_type_id\n{at},1,,", "usage_type_id: Missing data for required field."),
    ],
)
def test_contradictory_place_is_row_error(as_manager, organization, berlin, london, main, file, error):
    validity = {"valid_from": factories.at("2020-01-01"), "valid_until": factories.at("2021-01-01")}
    ids = {
        "old": factories.meter(berlin, external_id="old", **validity).id,
        "gone": factories.meter(berlin, external_id="gone", archived=True).id,
        "closed": factories.site(organization, "Closed", archived=True).id,
    }

    found = errors(as_manager, f"usage_at,amount,{file.format(at=AT)}\n")

    assert list(found) == ["2"]
    assert found["2"][0].startswith(error.format(**ids)), found


@pytest.mark.parametrize("name", ["site_id", "meter_id"])
def test_unknown_place_of_the_query_names_the_parameter(as_manager, name):
    rejected = load(as_manager, METER_A, f"{COLUMNS}&usage_type_id=100&{name}=987654321", 422)

    assert list(rejected["errors"]["query"]) == [name]


def test_places_of_other_organizations_are_unknown(as_manager):
    elsewhere = factories.meter(factories.site(factories.organization(), "Berlin"), "Main", external_id="1001")
    file = f"usage_at,amount,meter,meter_id\n{AT},1,1001,\n{AT},1,,{elsewhere.id}\n"

    assert list(errors(as_manager, file)) == ["2", "3"]
    site = f"usage_at,amount,site,site_id\n{AT},1,Berlin,\n{AT},1,,{elsewhere.site_id}\n"
    assert list(errors(as_manager, site, "usage_type_id=100")) == ["2", "3"]


def test_create_meters_creates_them_at_the_site(as_manager, berlin):
    query = f"{METER_OPTIONS}&site_id={berlin.id}&usage_type_id=100&create_meters=true"

    checked = load(as_manager, METERS, f"{query}&mode=dry-run", 200)
    assert (checked["created_meter_count"], as_manager.get("/meters").json) == (2, [])
    imported = load(as_manager, METERS, query)

    assert (imported["created_meter_count"], imported["new_count"]) == (2, 4)
    meters = as_manager.get("/meters?sort=id").json
    shown = [(meter["name"], meter["external_id"], meter["site_id"], meter["usage_type_id"]) for meter in meters]
    assert shown == [("1001", "1001", berlin.id, 100), ("1002", "1002", berlin.id, 100)]
    assert [total(as_manager, f"meter_id={meter['id']}") for meter in meters] == [2, 4]
    again = load(as_manager, METERS, f"{query}&on_conflict=skip&again=true")
    assert (again["created_meter_count"], counts(again)) == (0, (0, 0, 4, 0, 0))
    entries = as_manager.get("/audit-entries?subject=meter&sort=id").json
    assert [(entry["action"], entry["subject_id"], entry["new"]["name"]) for entry in entries] == [
        ("created", meter["id"], meter["name"]) for meter in meters
    ]


def test_revert_keeps_created_meters(as_manager, berlin):
    query = f"{METER_OPTIONS}&site=BER&usage_type_id=100&create_meters=true"
    imported = load(as_manager, METERS, query)

    reverted = as_manager.post(f"/imports/{imported['id']}/revert", json={})

    assert reverted.status_code == 200, reverted.text
    assert (as_manager.get("/usages").json, len(as_manager.get("/meters").json)) == ([], 2)
    assert load(as_manager, METERS, query)["created_meter_count"] == 0


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("meter,site,usage_type_id\n{at},1,A,,100", "meter: There is no meter A. To create it, set its site."),
        ("meter,site,usage_type_id\n{at},1,A,BER,", "meter: There is no meter A. To create it, set its usage type."),
        ("meter,site,usage_type_id\n{at},1,A,BER,9999", "usage_type_id: There is no usage type 9999;"),
        ("meter,site,usage_type_id\n{at},1,A,Closed,100", "site_id: Site {closed} is archived and accepts no new "),
        (
            "meter,site,usage_type_id\n{at},1,A,BER,100\n{at},1,A,London,100",
            "meter: Rows with meter A have several sites or usage types.",
        ),
        (
            "meter,site,usage_type_id\n{at},1,A,BER,100\n{at},1,A,BER,101",
            "meter: Rows with meter A have several sites or usage types.",
        ),
    ],
)
def test_meter_that_cannot_be_created_is_row_error(as_manager, organization, berlin, london, file, error):
    closed = factories.site(organization, "Closed", archived=True).id

    found = errors(as_manager, f"usage_at,amount,{file.format(at=AT)}\n", "create_meters=true")

    assert found["2"][0].startswith(error.format(closed=closed)), found
    assert as_manager.get("/meters").json == []


def test_rejected_file_creates_no_meters(as_manager, berlin):
    file = f"usage_at,amount,meter\n{AT},1,A\n{AT},x,B\n"

    errors(as_manager, file, "create_meters=true&site=BER&usage_type_id=100")

    assert as_manager.get("/meters").json == []


def test_number_of_created_meters_is_limited(as_manager, berlin):
    file = "usage_at,amount,meter\n" + "".join(f"{AT},1,{n}\n" for n in range(1001))

    found = errors(as_manager, file, "create_meters=true&site=BER&usage_type_id=100")

    assert found == {"1": ["The file must not create more than 1000 meters."]}


def test_only_managers_create_meters(as_member, berlin):
    rejected = load(as_member, METERS, f"{METER_OPTIONS}&site=BER&usage_type_id=100&create_meters=true", 403)

    assert rejected["detail"].startswith("Only managers create meters.")


def test_member_with_sites_names_only_their_meters(as_manager, as_member, berlin, london, main):
    other = factories.meter(london, "Other", external_id="2002")
    as_manager.put(f"/users/{as_member.user.id}/sites", json={"site_ids": [london.id]})

    assert list(errors(as_member, f"usage_at,amount,meter\n{AT},1,1001\n{AT},1,2002\n")) == ["2"]
    load(as_member, f"usage_at,amount,meter\n{AT},1,2002\n")
    assert places(as_member) == [(london.id, other.id, 100, None)]


@pytest.mark.parametrize("on_conflict", ["skip", "replace"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_meters_with_the_same_hours_are_both_recorded(as_manager, berlin, main, on_conflict, order):
    other = factories.meter(berlin, external_id="1002")
    files = [(METER_A, main.id), (METER_B, other.id)]

    for _ in range(2):
        for file, meter_id in (files[place] for place in order):
            load(as_manager, file, f"{COLUMNS}&meter_id={meter_id}&on_conflict={on_conflict}&again=true")

    assert (total(as_manager), len(as_manager.get("/usages").json)) == (27, 4)


def test_usage_of_a_meter_in_the_ledger_is_rejected(as_manager, main):
    first = load(as_manager, METER_A, f"{COLUMNS}&meter=Main")
    usage_id = as_manager.get(f"/usages?import_id={first['id']}&sort=usage_at").json[0]["id"]

    found = errors(as_manager, METER_B, f"{COLUMNS}&meter=Main")

    message = f"usage_at: The meter {main.id} already has a usage at this time: usage {usage_id}."
    assert found["2"] == [message]
    assert len(found) == 2


def test_usage_of_a_meter_is_skipped_or_corrected(as_manager, main):
    load(as_manager, METER_A, f"{COLUMNS}&meter=Main")

    skipping = load(as_manager, METER_B, f"{COLUMNS}&meter=Main&on_conflict=skip")
    assert (counts(skipping), total(as_manager)) == ((0, 0, 0, 2, 0), 20)
    replacing = load(as_manager, METER_B, f"{COLUMNS}&meter=Main&on_conflict=replace&again=true")
    assert (counts(replacing), total(as_manager)) == ((0, 2, 0, 0, 0), 7)


@pytest.mark.parametrize("on_conflict", ["reject", "skip", "replace"])
def test_second_line_of_a_meter_and_time_is_rejected(as_manager, main, on_conflict):
    file = f"usage_at,amount,meter,external_id\n{AT},1,1001,a\n2024-01-01T01:00:00+01:00,2,Main,b\n"

    found = errors(as_manager, file, f"on_conflict={on_conflict}")

    assert found == {"3": ["usage_at: Line 2 has the same meter and time. Remove one of the lines."]}


def test_usage_keeps_its_site_after_its_meter_moved(as_manager, berlin, london, main):
    load(as_manager, METER_A, f"{COLUMNS}&meter=Main")
    as_manager.patch(f"/meters/{main.id}", json={"site_id": london.id})

    again = load(as_manager, METER_A, f"{COLUMNS}&meter=Main&on_conflict=skip&again=true")
    replacing = load(as_manager, METER_B, f"{COLUMNS}&meter=Main&on_conflict=replace&again=true")

    assert (counts(again), counts(replacing)) == ((0, 0, 2, 0, 0), (0, 2, 0, 0, 0))
    assert places(as_manager) == [(berlin.id, main.id, 100, "DE")] * 2


def test_replace_adds_the_meter_to_a_usage_with_external_id(as_manager, berlin, main):
    load(as_manager, f"usage_at,amount,external_id\n{AT},1,a\n", "usage_type_id=100")
    file = f"usage_at,amount,external_id,meter\n{AT},1,a,1001\n"

    assert counts(load(as_manager, file, "on_conflict=skip")) == (0, 0, 0, 1, 0)
    assert counts(load(as_manager, file, "on_conflict=replace&again=true")) == (0, 1, 0, 0, 0)
    assert places(as_manager) == [(berlin.id, main.id, 100, "DE")]
    assert counts(load(as_manager, file, "on_conflict=replace&again=true")) == (0, 0, 1, 0, 0)
    # A row without a meter leaves the usage its own, and contradicts no part of it.
    bare = f"usage_at,amount,external_id,usage_type_id\n{AT},2,a,100\n"
    assert counts(load(as_manager, bare, "on_conflict=replace")) == (0, 1, 0, 0, 0)
    assert places(as_manager) == [(berlin.id, main.id, 100, "DE")]
    other = load(as_manager, bare.replace(",100", ",101"), "on_conflict=replace", 422)["errors"]["file"]
    assert list(other) == ["2"] and "keeps its meter" in other["2"][0]


def test_two_lines_about_one_usage_are_rejected(as_manager, main):
    load(as_manager, f"usage_at,amount,external_id,meter\n{AT},1,a,1001\n")
    file = f"usage_at,amount,external_id,meter\n{AT},2,,1001\n2024-01-02T00:00:00Z,3,a,1001\n"

    found = errors(as_manager, file, "on_conflict=replace")

    assert found == {"3": ["external_id: Line 2 is about the same usage. Remove one of the lines."]}


def test_row_whose_external_id_another_usage_has_is_rejected(as_manager, main):
    load(as_manager, f"usage_at,amount,external_id,meter\n{AT},1,a,1001\n2024-01-02T00:00:00Z,2,b,1001\n")

    found = errors(as_manager, f"usage_at,amount,external_id,meter\n{AT},1,b,1001\n", "on_conflict=replace")

    assert found == {"2": ["external_id: 'b' is already in the ledger."]}


def test_meter_and_time_of_an_invisible_usage_are_taken(as_manager, as_member, main):
    load(as_manager, f"usage_at,amount,meter\n{AT},1,1001\n")

    for on_conflict in ("reject", "skip", "replace"):
        found = errors(as_member, f"usage_at,amount,meter\n{AT},2,1001\n", f"on_conflict={on_conflict}&again=true")
        assert found == {"2": [f"usage_at: The meter {main.id} already has a usage at this time."]}


def test_same_time_at_two_sites_is_two_usages(as_manager, berlin, london):
    file = f"usage_at,amount,site\n{AT},1,BER\n{AT},2,London\n"

    assert load(as_manager, file, "usage_type_id=100")["new_count"] == 2
    again = load(as_manager, file, "usage_type_id=100&on_conflict=skip&again=true")
    assert counts(again) == (0, 0, 2, 0, 0)


def test_import_with_places_has_bounded_statements(as_manager, berlin, statements):
    def count(number):
        file = "usage_at,amount,meter\n" + "".join(f"{AT},1,{number}-{n}\n" for n in range(number))
        statements.clear()
        load(as_manager, file, "create_meters=true&site=BER&usage_type_id=100")
        return len(statements)

    count(1)
    assert count(2) == count(200)


def test_partial_import_exports_the_names_of_rejected_rows(as_manager, main):
    file = f"usage_at,amount,meter\n{AT},1,1001\n{AT},1,2002\n"

    imported = load(as_manager, file, "mode=partial")

    assert counts(imported) == (1, 0, 0, 0, 1)
    exported = as_manager.get(f"/imports/{imported['id']}/errors/export?format=ndjson").text
    assert '"meter":"2002"' in exported
    assert db.session.scalar(sa.text("SELECT count(*) FROM usages WHERE meter_id IS NOT NULL")) == 1
