"""Real files of readings: exact sums, exact times, and misread times."""

import datetime as dt
import json
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.support.series import read_series

CHICAGO = {"timezone": "America/Chicago"}
AS_THEY_ARE = {"usage_type_id": 100, "columns": "usage_at:start,amount:value", "blank": "skip"}


def lines_of(name, *days):
    """Return the lines of a real file: all of them, or its header and these days."""
    header, *rows = read_series(name).decode().splitlines()
    return [header, *(row for row in rows if row.startswith(days or ""))]


def load(client, lines, status=201, **query):
    file = "".join(f"{line}\n" for line in lines)
    answer = client.post("/imports", query_string=AS_THEY_ARE | query, data=file, content_type="text/csv")
    assert answer.status_code == status, answer.text
    return json.loads(answer.text, parse_float=Decimal)


def instants(client):
    """Return the times of all usages in order."""
    export = client.get("/usages/export?sort=usage_at,id").text.splitlines()
    place = export[0].split(",").index("usage_at")
    return [line.split(",")[place] for line in export[1:]]


def written_in(line, form):
    """Return the line with its time in this format, without offset."""
    start, _, value = line.partition(",")
    return f"{dt.datetime.fromisoformat(start[:19]).strftime(form)},{value}"


@pytest.mark.parametrize(
    ("name", "options", "count", "blank_count", "rounded_count", "total"),
    [
        ("gb-household-electricity-hourly", {"round": 6}, 23_508, 0, 5_429, "3789.626"),
        pytest.param(
            *("gb-household-electricity-hourly", {"round": 3}, 23_508, 0, 5_429, "3789.626"), marks=pytest.mark.thorough
        ),
        pytest.param(
            *("gb-household-gas-hourly", {"round": 6}, 23_508, 0, 1_511, "16878.2622"), marks=pytest.mark.thorough
        ),
        ("gb-household-gas-hourly", {"round": 3}, 23_508, 0, 12_808, "16877.733"),
        ("il-electricity-hourly", {}, 19_417, 0, 0, "21927.13"),
        ("il-electricity-daily", {}, 809, 1, 0, "21925.83"),
    ],
)
def test_real_file_is_imported_with_exact_sum(as_member, name, options, count, blank_count, rounded_count, total):
    lines = lines_of(name)
    places = options.get("round", 6)
    scaled = [round(Fraction(line.split(",")[1]) * 10**places) for line in lines[1 : count + 1]]

    imported = load(as_member, lines, **options)

    assert (imported["new_count"], imported["blank_count"], imported["rejected_count"]) == (count, blank_count, 0)
    assert imported["rounded_count"] == rounded_count
    assert imported["amount"] == Decimal(total) == Fraction(sum(scaled), 10**places)
    assert imported["co2e_kg"] == Decimal(total) * Decimal("1.5")
    assert imported["warnings"] == []
    meant = [dt.datetime.fromisoformat(line.split(",")[0]).astimezone(dt.UTC) for line in lines[1 : count + 1]]
    assert instants(as_member) == [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in meant]


def test_too_many_decimals_are_invalid_unless_rounded(as_member):
    rejected = load(as_member, lines_of("gb-household-electricity-hourly"), 422)

    assert rejected["detail"].startswith("5429 invalid rows")


def test_local_days_without_offset_are_read_exactly(as_member):
    lines = lines_of("il-electricity-daily")
    naive = [lines[0], *(written_in(line, "%Y-%m-%d") for line in lines[1:])]

    imported = load(as_member, naive, **CHICAGO, date_order="ymd")

    assert (imported["new_count"], imported["amount"]) == (809, Decimal("21925.83"))
    meant = [dt.datetime.fromisoformat(line.split(",")[0]).astimezone(dt.UTC) for line in lines[1:-1]]
    assert instants(as_member) == [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in meant]


def test_ambiguous_local_hours_require_fold(as_member):
    days = ("2016-11-05", "2016-11-06", "2016-11-07", "2017-11-04", "2017-11-05", "2017-11-06")
    lines = lines_of("il-electricity-hourly", *days)
    naive = [lines[0], *(written_in(line, "%Y-%m-%dT%H:%M:%S") for line in lines[1:])]
    twice = [number for number, line in enumerate(naive, 1) if line[:13] in ("2016-11-06T01", "2017-11-05T01")]
    assert len(twice) == 4

    rejected = load(as_member, naive, 422, **CHICAGO)
    message = (
        "usage_at: This local time occurs twice in America/Chicago. Set fold=order if the file has both in the order "
        "of time, otherwise fold=first or fold=second."
    )
    assert rejected["errors"]["file"] == {str(number): [message] for number in twice}
    assert load(as_member, naive, 422)["detail"].startswith(f"{6 * 24 + 2} invalid rows")

    both = load(as_member, naive, 422, **CHICAGO, fold="first")["errors"]["file"]
    assert list(both) == [str(number) for number in twice[1::2]]
    once = [line for number, line in enumerate(naive, 1) if number not in twice[1::2]]
    for fold, hour in (("first", "06"), ("second", "07")):
        imported = load(as_member, once, **CHICAGO, fold=fold)
        assert imported["new_count"] == 6 * 24
        there = as_member.get(
            f"/usages?import_id={imported['id']}&start=2016-11-06T06:00:00Z&end=2016-11-06T08:00:00Z"
        ).json
        assert [usage["usage_at"] for usage in there] == [f"2016-11-06T{hour}:00:00Z"]
        assert as_member.post(f"/imports/{imported['id']}/revert", json={}).status_code == 200


def test_order_of_lines_distinguishes_repeated_hours(as_member):
    lines = lines_of("il-electricity-hourly")
    naive = [lines[0], *(written_in(line, "%Y-%m-%dT%H:%M:%S") for line in lines[1:])]

    imported = load(as_member, naive, **CHICAGO, fold="order")

    assert imported["new_count"] == 19_417
    meant = [dt.datetime.fromisoformat(line.split(",")[0]).astimezone(dt.UTC) for line in lines[1:19_418]]
    assert instants(as_member) == [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in meant]


VIENNA = {"usage_type_id": 100, "timezone": "Europe/Vienna", "fold": "order"}
QUARTERS = ("01:45", "02:00", "02:15", "02:30", "02:45", "02:00", "02:15", "02:30", "02:45", "03:00")


def autumn_amounts(client, rows, **options):
    """Import rows (time, amount, user_id) of the day of the change. Return the amounts in the order of time."""
    lines = ["usage_at,amount,user_id", *(f"2024-10-27 {time}:00,{amount},{user}" for time, amount, user in rows)]
    imported = load(client, lines, **VIENNA, **options)
    return [usage["amount"] for usage in client.get(f"/usages?import_id={imported['id']}&sort=usage_at").json]


def test_fold_order_follows_ascending_and_descending_times(as_member):
    user = as_member.user.id
    rows = [(time, amount, user) for amount, time in enumerate(QUARTERS, 1)]

    assert autumn_amounts(as_member, rows) == list(range(1, 11))
    replaced = [(time, amount + 10, user_id) for time, amount, user_id in rows[::-1]]
    assert autumn_amounts(as_member, replaced, on_conflict="replace") == []
    amounts = [usage["amount"] for usage in as_member.get("/usages?sort=usage_at").json]
    assert amounts == list(range(11, 21))


def test_fold_order_has_series_and_counts_blank_rows(as_manager, as_member):
    users = (as_manager.user.id, as_member.user.id)
    rows = [("02:00", amount, user) for amount in (1, 2) for user in users]
    assert autumn_amounts(as_manager, rows) == [1, 1, 2, 2]

    blank = [("02:30", "", users[0]), ("02:30", 5, users[0]), ("03:00", 6, users[0])]
    assert autumn_amounts(as_manager, blank, blank="skip") == [5, 6]
    found = as_manager.get("/usages?start=2024-10-27T01:30:00Z&end=2024-10-27T01:31:00Z").json
    assert [usage["amount"] for usage in found] == [5]


def test_third_occurrence_and_skipped_hour_are_errors(as_member):
    file = ["usage_at,amount", *["2024-10-27 02:00:00,1"] * 3, "2024-03-31 02:30:00,1"]
    errors = load(as_member, file, 422, **VIENNA)["errors"]["file"]

    assert list(errors) == ["4", "5"]
    assert errors["4"][0].startswith("usage_at: Line 3 has the same user, usage type and time.")
    assert errors["5"][0].startswith("usage_at: This local time does not exist in Europe/Vienna. Set fold=first or")


def test_nonexistent_local_hour_is_invalid(as_member):
    days = ("2020-10-25", "2021-03-28", "2021-10-31", "2022-03-27", "2022-10-30", "2022-10-31")
    lines = lines_of("gb-household-electricity-hourly", *days)  # In UTC, so not local hours of London.
    naive = [lines[0], *(written_in(line, "%Y-%m-%d %H:%M") for line in lines[1:])]

    rejected = load(as_member, naive, 422, timezone="Europe/London", round=3)["errors"]["file"]

    shown = {naive[int(number) - 1][:16]: message for number, (message,) in rejected.items()}
    skipped, twice = "does not exist", "occurs twice"
    assert {time: skipped if skipped in message else twice for time, message in shown.items()} == {
        "2020-10-25 01:00": twice,
        "2021-03-28 01:00": skipped,
        "2021-10-31 01:00": twice,
        "2022-03-27 01:00": skipped,
        "2022-10-30 01:00": twice,
    }


@pytest.mark.parametrize(
    ("written", "read", "is_misread"),
    [
        ("%d/%m/%Y %H:%M", "mdy", lambda day: day > 12),
        ("%m/%d/%Y %H:%M", "dmy", lambda day: day > 12),
        ("%Y-%d-%m %H:%M", "ymd", lambda day: day > 12),
        ("%d.%m.%Y", "ymd", lambda day: True),
        ("%m/%d/%Y", "ymd", lambda day: True),
        ("%Y-%m-%d", "dmy", lambda day: True),
    ],
)
def test_swapped_days_and_months_are_invalid(as_member, written, read, is_misread):
    lines = lines_of("il-electricity-daily")[:-1]
    file = [lines[0], *(written_in(line, written) for line in lines[1:])]
    wrong = [number for number, line in enumerate(lines[1:], 2) if is_misread(int(line[8:10]))]

    rejected = load(as_member, file, 422, **CHICAGO, date_order=read)

    assert rejected["detail"].startswith(f"{len(wrong)} invalid rows")
    message = f"usage_at: Must be a date in the order {read}."
    assert rejected["errors"]["file"] == {str(number): [message] for number in wrong[:100]}
    assert as_member.get("/usages").json == []


@pytest.mark.parametrize(
    ("written", "order"),
    [("%d/%m/%Y", "dmy"), ("%m-%d-%Y", "mdy"), ("%Y.%m.%d %H:%M", "ymd"), ("%d.%m.%Y %H:%M", "dmy")],
)
def test_date_order_is_applied(as_member, written, order):
    lines = lines_of("il-electricity-daily")[:-1]
    file = [lines[0], *(written_in(line, written) for line in lines[1:])]

    imported = load(as_member, file, **CHICAGO, date_order=order)

    assert (imported["new_count"], imported["amount"]) == (809, Decimal("21925.83"))
    assert (instants(as_member)[0], instants(as_member)[-1]) == ("2015-11-22T06:00:00Z", "2018-02-07T06:00:00Z")
