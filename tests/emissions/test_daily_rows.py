"""Figures from the days of the ledger are those from its usages."""

import random
from itertools import product

import pytest

from carbonapi.emissions import service
from carbonapi.rest.fields import format_datetime
from tests.support import factories
from tests.support.random_ledger import record_at_random
from tests.support.scale import examples

TIMES = ["", "T00:00:00Z", "T09:30:00Z", "T23:00:00Z", "T23:59:59.999999Z"]


@pytest.fixture
def sources(monkeypatch):
    """The source of each statement, in order: "days", "usages", or "hours of days" for usages with hours of days."""
    sources = []
    for name, source in (("_statement_from_totals", "days"), ("_statement", "usages")):
        original = getattr(service, name)

        def record_source(*arguments, original=original, source=source):
            is_whole = source == "usages" or all(found.partial_days for found in arguments[1])
            sources.append(source if is_whole else "hours of days")
            return original(*arguments)

        monkeypatch.setattr(service, name, record_source)
    return sources


def span(dice, first=2010, last=2026):
    days = sorted(f"{dice.randrange(first, last)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}" for _ in "ab")
    start, end = (day + dice.choice(TIMES) for day in days)
    return f"start={start}&end={end}"


@pytest.mark.parametrize("timezone", ["UTC", "Europe/London", "Australia/Lord_Howe"])
def test_totals_and_usages_give_the_same_figures(sign_in, sources, timezone):
    dice = random.Random(timezone)
    manager = sign_in(factories.user(factories.organization(timezone=timezone), "manager"))
    record_at_random(manager, dice, examples(20, 60))
    types = manager.get("/usages?page_size=1000").json
    queries = []
    questions = list(
        product(
            ["day", "week", "month", "quarter", "year"],
            ["", "&compare=previous_year", "&compare=previous_period"],
            ["", "&group_by=usage_type", "&group_by=scope", "&group_by=organization"],
        )
    )
    for bucket, compare, group_by in dice.sample(questions, examples(6, 25)):
        first = 2018 if bucket == "day" else 1975
        queries.append(f"trend?bucket={bucket}{compare}{group_by}&{span(dice, first, first + 6)}")
    queries += [f"trend?bucket={bucket}" for bucket in ("month", "year")]
    for group_by in ("", "&group_by=user", "&group_by=scope&compare=previous_year"):
        queries.append(f"trend?bucket=hour{group_by}&{span(dice, 2018, 2019)}")
    for _ in range(examples(8, 20)):
        narrowed = dice.choice(["", f"&usage_type_id={dice.choice(types)['usage_type_id']}", "&method=location"])
        queries.append(f"summary?by=scope&by=usage_type&{span(dice)}{narrowed}")
    queries += ["summary?by=scope", "summary?by=usage_type&start=1990-01-01", "summary?by=usage_type&end=1990-01-01"]
    for query in queries:
        sources.clear()
        by_days = manager.get(f"/emissions/{query}")
        by_usages = manager.get(f"/emissions/{query}&as_of={format_datetime(factories.now())}")
        assert by_days.status_code == by_usages.status_code
        assert by_days.json == by_usages.json, query
        assert sources[-1] == "usages"
        if "T" not in query and "hour" not in query:
            hours = ["usages"] if "trend" in query else []  # There are sites, which daily totals do not know.
            assert sources == ["days", *hours, "usages"], query


def test_day_continues_after_a_shift_across_midnight(sign_in):
    """Newfoundland, 2010: at 2:31 UTC, one minute past midnight, clocks were set back to 23:01."""
    manager = sign_in(factories.user(factories.organization(timezone="America/St_Johns"), "manager"))
    for time in ("02:29", "02:30", "02:31", "03:29", "03:30"):
        factories.usage(manager.user, "1", f"2010-11-07T{time}")
    factories.usage(manager.user, "1", "2010-11-07T02:40", usage_until=factories.at("2010-11-07T03:20"))
    now = format_datetime(factories.now())
    trend = "/emissions/trend?bucket=day&start=2010-11-06&end=2010-11-08"

    by_days, by_usages = manager.get(trend).json, manager.get(f"{trend}&as_of={now}").json

    assert by_days == by_usages
    assert [bucket["usage_count"] for bucket in by_days] == [1, 5]
    for start in ("2010-11-07", "2010-11-07T02:31:00Z", "2010-11-07T03:00:00Z"):
        pages = [manager.get(f"/usages?start={start}{as_of}") for as_of in ("", f"&as_of={now}")]
        assert len({page.headers["X-Pagination"] for page in pages}) == 1
        sums = [
            manager.get(f"/emissions/summary?by=scope&start={start}{as_of}").json for as_of in ("", f"&as_of={now}")
        ]
        assert sums[0] == sums[1]


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ("trend?bucket=day&start=2024-01-01&end=2024-01-08", "days"),
        ("trend?bucket=week&start=2024-01-01T09:30:00Z&end=2024-02-08T10:00:00Z", "days"),
        ("trend?bucket=month&start=2024-01-01&end=2024-03-01&scope=2&method=location", "days"),
        ("trend?bucket=hour&start=2024-01-01&end=2024-01-02", "hours of days"),
        ("trend?bucket=day&start=2024-01-01&end=2024-01-08&timezone=Asia/Tokyo", "usages"),
        ("trend?bucket=day&start=2024-01-01&end=2024-01-08&quality=measured", "usages"),
        ("trend?bucket=day&start=2024-01-01&end=2024-01-08&group_by=user", "hours of days"),
        ("trend?bucket=day&start=2024-01-01T08:00:00Z&end=2024-01-01T09:00:00Z", "usages"),
        ("summary?by=scope", "days"),
        ("summary", "usages"),
    ],
)
def test_figures_read_daily_totals_where_they_suffice(as_manager, sources, query, source):
    factories.usage(as_manager.user, "1", "2024-01-02")

    assert as_manager.get(f"/emissions/{query}").status_code == 200
    assert sources == [source]


def test_figures_of_members_and_admins_read_usages(as_member, as_admin, sources):
    for client in (as_member, as_admin):
        assert client.get("/emissions/summary?by=scope").status_code == 200
    assert sources == ["usages", "usages"]


def test_daily_totals_of_another_time_zone_are_not_read(app, as_manager, sources, monkeypatch):
    """As a worker would that has not heard of the change, or where Python and PostgreSQL know other time zones."""
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    factories.usage(as_manager.user, "1", "2024-01-02T20:00")
    day = "/emissions/trend?bucket=day&start=2024-01-02&end=2024-01-03"
    assert as_manager.get(day).json[0]["usage_count"] == 1
    path, actors = f"/organizations/{as_manager.user.organization_id}", app.extensions["carbonapi"].actors
    cached = dict(actors)
    assert as_manager.patch(path, json={"timezone": "Asia/Tokyo"}).status_code == 200
    actors.update(cached)
    sources.clear()

    assert as_manager.get(day).json[0]["usage_count"] == 1
    assert sources == ["days", "usages"]


def test_hours_of_a_day_with_two_valuations_are_joined(as_manager):
    for day, hour in product((1, 2), range(24)):
        region = "GB" if hour < 12 else None
        factories.usage(as_manager.user, usage_at=f"2024-01-{day:02}T{hour:02}:00:00", region=region)
    query = "/emissions/trend?bucket=day&start=2024-01-01&end=2024-01-03"

    by_days = as_manager.get(query).json

    assert [bucket["coverage"] for bucket in by_days] == [1, 1]
    assert by_days == as_manager.get(f"{query}&as_of={format_datetime(factories.now())}").json
