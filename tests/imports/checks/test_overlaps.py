"""Warnings about overlapping intervals."""

import itertools

import pytest

from tests.support import factories

HEADER = "usage_at,usage_until,amount,external_id\n"


def load(client, *lines, query="usage_type_id=100"):
    answer = client.post(f"/imports?{query}", data=HEADER + "".join(lines), content_type="text/csv")
    assert answer.status_code == 201, answer.text
    return answer.json


def bill(first, last, external_id=""):
    return f"2024-{first}T00:00:00Z,2024-{last}T00:00:00Z,1,{external_id}\n"


def warned(imported):
    """Return (line, overlapped line, overlapped usage) of each warning."""
    assert imported["warning_count"] == len(imported["warnings"])
    return [
        (warning["line"], warning["overlaps_line"], warning["overlaps_usage_id"]) for warning in imported["warnings"]
    ]


def test_overlapping_intervals_are_recorded_with_warning(as_member):
    imported = load(
        as_member, bill("02-01", "03-01"), bill("01-01", "02-01"), bill("02-15", "02-20"), bill("01-31", "02-02")
    )

    assert imported["usage_count"] == 4
    nothing = {"overlaps_usage_id": None, "gap_start": None, "gap_end": None}
    shown = {"kind": "overlap", "message": "Its interval overlaps line 2.", "overlaps_line": 2} | nothing
    assert imported["warnings"] == [{"line": 4} | shown, {"line": 5} | shown]
    assert as_member.get(f"/imports/{imported['id']}").json == imported


def test_interval_within_longer_one_overlaps_it(as_member):
    imported = load(as_member, bill("01-01", "12-01"), bill("02-01", "02-02"), bill("03-01", "03-02"))

    assert warned(imported) == [(3, 2, None), (4, 2, None)]


def test_overlap_with_ledger_names_usage(as_member):
    first = load(as_member, bill("01-01", "02-01"))
    usage_id = as_member.get(f"/usages?import_id={first['id']}").json[0]["id"]

    again = load(as_member, bill("01-31", "03-01"), bill("03-01", "04-01"))

    assert (warned(first), warned(again)) == ([], [(2, None, usage_id)])
    assert again["warnings"][0]["message"] == f"Its interval overlaps usage {usage_id}."


def test_other_meters_users_and_types_do_not_overlap(as_manager, as_member):
    load(as_manager, bill("01-01", "02-01", "meter-1/2024-01"), bill("01-01", "02-01", "x"))
    same_days = bill("01-01", "02-01", "meter-2/2024-01")

    assert warned(load(as_manager, same_days)) == []
    assert warned(load(as_manager, bill("01-01", "02-01"), query="usage_type_id=101")) == []
    assert (
        warned(
            load(as_manager, bill("01-01", "02-01"), query=f"usage_type_id=100&user_id={as_member.user.id}&again=true")
        )
        == []
    )
    assert len(warned(load(as_manager, bill("01-20", "02-20", "meter-1/2024-01b")))) == 1
    assert len(warned(load(as_manager, bill("01-20", "02-20")))) == 1  # Like "x", which has no meter.


def test_first_hundred_overlaps_are_shown(as_member):
    factories.usage(as_member.user, "1", "2024-01-01", usage_until=factories.at("2025-01-01"))

    imported = load(as_member, *(f"2024-01-01T00:00:00.{n:06}Z,2024-02-01T00:00:00Z,1,\n" for n in range(102)))

    assert (imported["warning_count"], len(imported["warnings"])) == (102, 100)


def test_readings_never_overlap(as_member, statements):
    load(as_member, *(f"2024-01-01T00:00:00Z,,1,{n}\n" for n in range(3)))

    assert warned(load(as_member, *(f"2024-01-01T00:00:00Z,,1,{n}\n" for n in range(3, 6)))) == []


BILLS = "usage_at,usage_until,amount,"


def bills(site, year="2023", without=None):
    months = [f"{year}-{month:02}-01T00:00:00Z" for month in range(1, 13)] + [f"{int(year) + 1}-01-01T00:00:00Z"]
    lines = [f"{start},{end},1,{site}\n" for start, end in itertools.pairwise(months)]
    return [line for month, line in enumerate(lines, 1) if month != without]


def load_places(client, column, *lines, query="usage_type_id=100"):
    answer = client.post(f"/imports?{query}", data=BILLS + f"{column}\n" + "".join(lines), content_type="text/csv")
    assert answer.status_code == 201, answer.text
    return answer.json


def overlapping(imported):
    return [
        (warning["line"], warning["overlaps_line"], warning["overlaps_usage_id"])
        for warning in imported["warnings"]
        if warning["kind"] == "overlap"
    ]


@pytest.mark.parametrize("column", ["site", "meter"])
def test_bills_of_two_places_do_not_overlap(as_manager, organization, column):
    for name in ("Berlin", "London"):
        factories.meter(factories.site(organization, name), name)
    lines = [*bills("Berlin", without=6), *bills("London")]

    imported = load_places(as_manager, column, *lines)

    assert (imported["new_count"], overlapping(imported)) == (23, [])
    assert [warning["gap_start"] for warning in imported["warnings"]] == ["2023-06-01T00:00:00Z"]
    duplicate = "2023-03-02T00:00:00Z,2023-04-01T00:00:00Z,1,Berlin\n"
    again = load_places(as_manager, column, duplicate)
    march = as_manager.get(f"/usages?import_id={imported['id']}&sort=usage_at&page_size=100").json[4]["id"]
    assert overlapping(again) == [(2, None, march)]


def test_duplicate_bill_of_a_site_in_one_file_is_found(as_manager, organization):
    factories.site(organization, "Berlin")
    duplicate = "2023-03-02T00:00:00Z,2023-04-01T00:00:00Z,1,Berlin\n"

    assert overlapping(load_places(as_manager, "site", *bills("Berlin"), duplicate)) == [(14, 4, None)]


READINGS = [f"2024-01-01T{hour:02}:00:00Z,,1," for hour in range(4)]
BILL = "2023-12-31T00:00:00Z,2024-02-01T00:00:00Z,9,"


@pytest.mark.parametrize("place", ["Main", "Berlin", ""])
def test_bill_over_readings_is_a_warning(as_manager, organization, place):
    berlin = factories.site(organization, "Berlin")
    factories.meter(berlin, "Main")
    column = "meter" if place == "Main" else "site"
    readings = [f"{line}{place}\n" for line in READINGS]

    imported = load_places(as_manager, column, f"{BILL}{place}\n", *readings)

    assert overlapping(imported) == [(2, 3, None)]
    assert imported["warnings"][0]["message"] == "Its interval includes a reading: line 3."


@pytest.mark.parametrize("place", ["Main", "Berlin", ""])
def test_bill_over_readings_of_the_ledger_is_a_warning(as_manager, organization, place):
    berlin = factories.site(organization, "Berlin")
    factories.meter(berlin, "Main")
    column = "meter" if place == "Main" else "site"
    first, *later = (f"{line}{place}\n" for line in READINGS[1:])
    load_places(as_manager, column, first)

    bill = load_places(as_manager, column, f"{BILL}{place}\n")
    again = load_places(as_manager, column, *later)

    first_id, bill_id = (usage["id"] for usage in as_manager.get("/usages?sort=id").json[:2])
    assert (overlapping(bill), overlapping(again)) == ([(2, None, first_id)], [(2, None, bill_id)])
    assert again["warnings"][0]["message"] == f"It is within the interval of usage {bill_id}."


def test_readings_of_other_places_are_not_in_a_bill(as_manager, organization):
    berlin = factories.site(organization, "Berlin")
    for name in ("Main", "Other"):
        factories.meter(berlin, name)

    imported = load_places(as_manager, "meter", f"{BILL}Main\n", *(f"{line}Other\n" for line in READINGS))

    assert overlapping(imported) == []
    assert overlapping(load_places(as_manager, "site", *(f"{line}Berlin\n" for line in READINGS))) == []


def test_bill_ends_where_the_next_reading_begins(as_manager):
    lines = ["2024-01-01T00:00:00Z,2024-02-01T00:00:00Z,1,\n", "2024-02-01T00:00:00Z,,1,\n"]

    assert load_places(as_manager, "external_id", *lines)["warnings"] == []
