"""Warnings about missing readings and intervals."""

import datetime as dt
import gzip
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from carbonapi.db import db
from tests.support import factories

DATA = Path(__file__).parents[2] / "data"
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def load(client, file, query=""):
    answer = client.post(f"/imports?usage_type_id=100{query}", data=file, content_type="text/csv")
    assert answer.status_code == 201, answer.text
    return answer.json


def readings(*moments):
    return "usage_at,amount\n" + "".join(f"{moment},1\n" for moment in moments)


def hours(*numbers, first="2024-01-01T00:00:00Z"):
    begin = dt.datetime.fromisoformat(first)
    return [(begin + number * HOUR).isoformat() for number in numbers]


def gap_warnings(imported):
    """Return (line, start, end) of each gap."""
    assert imported["warning_count"] == len(imported["warnings"])
    return [(warning["line"], warning["gap_start"], warning["gap_end"]) for warning in imported["warnings"]]


def test_late_reading_is_recorded_with_warning(as_member):
    imported = load(as_member, readings(*hours(0, 1, 2, 5, 6)))

    assert (imported["usage_count"], imported["warning_count"]) == (5, 1)
    assert imported["warnings"] == [
        {
            "line": 5,
            "kind": "gap",
            "message": "No reading since 2024-01-01T02:00:00Z; usually there is one every hour.",
            "overlaps_line": None,
            "overlaps_usage_id": None,
            "gap_start": "2024-01-01T02:00:00Z",
            "gap_end": "2024-01-01T05:00:00Z",
        }
    ]
    assert as_member.get(f"/imports/{imported['id']}").json == imported


def test_unordered_and_simultaneous_readings_make_no_gaps(as_member):
    lines = (f"{moment},1,m/{number}\n" for number, moment in enumerate(hours(3, 1, 0, 2, 2, 1, 1)))
    simultaneous = "usage_at,amount,external_id\n" + "".join(lines)

    assert gap_warnings(load(as_member, simultaneous)) == []
    assert gap_warnings(load(as_member, readings(*hours(7, 1, 0, 2, 3)), "&on_conflict=skip")) == [
        (2, "2024-01-01T03:00:00Z", "2024-01-01T07:00:00Z")
    ]


@pytest.mark.parametrize(("minutes", "number"), [(90, 0), (91, 1)])
def test_distance_up_to_one_and_a_half_is_no_gap(as_member, minutes, number):
    late = dt.datetime(2024, 1, 1, 3, tzinfo=dt.UTC) + dt.timedelta(minutes=minutes)

    assert load(as_member, readings(*hours(0, 1, 2, 3), late.isoformat()))["warning_count"] == number


@pytest.mark.parametrize(
    ("moments", "zone"),
    [
        ([dt.datetime(2024, 3, 25) + n * DAY for n in range(14)], "Europe/London"),
        ([dt.datetime(2024, 10, 20) + n * DAY for n in range(14)], "Europe/London"),
        ([dt.datetime(2024, month, 1) for month in range(1, 13)], "America/Chicago"),
        ([dt.datetime(2023, month, 28) for month in range(1, 13)], "UTC"),
        ([dt.datetime(year, month, 1) for year in (2023, 2024) for month in (1, 4, 7, 10)], "UTC"),
        ([dt.datetime(year, 1, 1) for year in range(2015, 2026)], "UTC"),
    ],
    ids=["spring", "autumn", "months", "months of 28 days", "quarters", "years"],
)
def test_days_months_quarters_and_years_are_regular(as_member, moments, zone):
    written = [moment.replace(tzinfo=ZoneInfo(zone)).isoformat() for moment in moments]

    assert gap_warnings(load(as_member, readings(*written))) == []
    del written[4]
    missing = load(as_member, readings(*written), "&on_conflict=skip")["warnings"]
    assert [warning["line"] for warning in missing] == [6]


def test_clock_change_makes_no_gap_between_local_hours(as_member):
    local = [dt.datetime(2024, 3, 31, hour) for hour in (0, 2, 3, 4)]

    assert gap_warnings(load(as_member, readings(*map(str, local)), "&timezone=Europe/London")) == []


def test_irregular_readings_have_no_gaps(as_member):
    assert gap_warnings(load(as_member, readings(*hours(0, 1, 4, 11, 12, 50, 71, 90, 200)))) == []


def test_each_user_type_and_meter_has_its_own_distance(as_manager, as_member):
    mine, theirs = as_manager.user.id, as_member.user.id
    lines = [
        *((mine, 100, "a/", moment) for moment in hours(0, 1, 2, 6)),
        *((mine, 100, "b/", moment) for moment in hours(0, 24, 48, 72)),
        *((mine, 101, "", moment) for moment in hours(0, 12, 24, 36)),
        *((theirs, 100, "a/", moment) for moment in hours(0, 6, 12, 18, 30)),
    ]
    cells = (
        f"{user},{kind},{meter and f'{meter}{n}-{user}'},{moment},1\n"
        for n, (user, kind, meter, moment) in enumerate(lines)
    )

    imported = load(as_manager, "user_id,usage_type_id,external_id,usage_at,amount\n" + "".join(cells))

    assert gap_warnings(imported) == [
        (5, "2024-01-01T02:00:00Z", "2024-01-01T06:00:00Z"),
        (18, "2024-01-01T18:00:00Z", "2024-01-02T06:00:00Z"),
    ]
    assert imported["warnings"][1]["message"].endswith("usually there is one every 6 hours.")


@pytest.mark.parametrize(
    ("step", "words"),
    [(dt.timedelta(days=1), "day"), (dt.timedelta(minutes=15), "15 minutes"), (0.5 * HOUR / 60, "30 seconds")],
)
def test_usual_distance_is_shown_in_words(as_member, step, words):
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

    (warning,) = load(as_member, readings(*((begin + n * step).isoformat() for n in (0, 1, 2, 5))))["warnings"]

    assert warning["message"].endswith(f"; usually there is one every {words}.")


def bill(first, last, external_id=""):
    return f"2024-{first}T00:00:00Z,2024-{last}T00:00:00Z,1,{external_id}\n"


BILLS = "usage_at,usage_until,amount,external_id\n"


def test_time_between_intervals_is_a_gap(as_member):
    imported = load(
        as_member,
        BILLS + bill("03-02", "04-01") + bill("01-01", "02-01") + bill("02-01", "03-01") + bill("04-01", "05-01"),
    )

    assert gap_warnings(imported) == [(2, "2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z")]
    assert imported["warnings"][0]["message"] == "No usage covers the time since 2024-03-01T00:00:00Z."


def test_interval_within_longer_one_makes_no_gap(as_member):
    imported = load(as_member, BILLS + bill("01-01", "06-01") + bill("02-01", "02-02") + bill("06-01", "07-01"))

    assert [warning["kind"] for warning in imported["warnings"]] == ["overlap"]


def test_two_meters_make_no_gap_together(as_member):
    two = bill("01-01", "02-01", "a/1") + bill("03-01", "04-01", "b/1") + bill("02-01", "03-01", "a/2")

    assert gap_warnings(load(as_member, BILLS + two)) == []


def test_warnings_are_sorted_by_line_and_cut_at_hundred(as_member):
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    periods = [(0, 2), (1, 3), *((10 * n, 10 * n + 1) for n in range(1, 103))]
    lines = (f"{(begin + first * DAY).isoformat()},{(begin + last * DAY).isoformat()},1,\n" for first, last in periods)

    imported = load(as_member, BILLS + "".join(lines))

    assert (imported["warning_count"], len(imported["warnings"])) == (103, 100)
    assert [(warning["line"], warning["kind"]) for warning in imported["warnings"][:3]] == [
        (3, "overlap"),
        (4, "gap"),
        (5, "gap"),
    ]


def test_rejected_rows_and_adjustments_are_no_readings(as_manager):
    period = as_manager.post("/closed-periods", json={"until": "2023-01-01T00:00:00Z"}).json["id"]
    lines = [*(f"{moment},1," for moment in hours(0, 1, 2)), f"{hours(30)[0]},1,{period}", f"{hours(3)[0]},two,"]

    imported = load(as_manager, "usage_at,amount,adjusts_closed_period_id\n" + "\n".join(lines) + "\n", "&mode=partial")

    assert (imported["usage_count"], gap_warnings(imported)) == (4, [])


def test_dry_run_reports_gaps(as_member):
    answer = as_member.post(
        "/imports?usage_type_id=100&mode=dry-run", data=readings(*hours(0, 1, 5)), content_type="text/csv"
    )

    assert [warning["gap_end"] for warning in answer.json["warnings"]] == ["2024-01-01T05:00:00Z"]


def test_old_warnings_without_kind_are_overlaps(as_member):
    imported = load(as_member, readings(*hours(0)))
    old = '[{"line": 3, "message": "Its interval overlaps line 2.", "overlaps_line": 2, "overlaps_usage_id": null}]'
    db.session.execute(
        sa.text("UPDATE imports SET warnings = cast(:old AS jsonb) WHERE id = :id"), {"old": old, "id": imported["id"]}
    )
    db.session.commit()

    (warning,) = as_member.get(f"/imports/{imported['id']}").json["warnings"]

    assert (warning["kind"], warning["gap_start"], warning["gap_end"]) == ("overlap", None, None)


def test_missing_day_in_real_readings_is_a_gap(as_member):
    lines = gzip.decompress((DATA / "il-electricity-hourly-kwh.csv.gz").read_bytes()).decode().splitlines()
    header, first, last = lines[0], lines[1:5001], lines[5025:]
    assert (first[-1][:25], last[0][:25]) == ("2016-06-17T08:00:00-05:00", "2016-06-18T09:00:00-05:00")
    query = "&columns=usage_at:start,amount:value&blank=skip"

    whole = load(as_member, "\n".join(lines) + "\n", query)
    cut = load(as_member, "\n".join([header, *first, *last]) + "\n", query + "&on_conflict=skip")

    assert gap_warnings(whole) == []
    assert gap_warnings(cut) == [(5002, "2016-06-17T13:00:00Z", "2016-06-18T14:00:00Z")]


def test_gaps_ignore_usages_of_ledger(as_member):
    for moment in hours(0, 1, 2):
        factories.usage(as_member.user, usage_at=moment)

    assert gap_warnings(load(as_member, readings(*hours(20, 21, 22)))) == []
