"""Figures from the days of the ledger are those from its usages."""

import random
from itertools import product

import pytest

from carbonapi.emissions import figures_query
from carbonapi.rest.fields import format_datetime
from tests.support import factories
from tests.support.random_ledger import record_at_random

TIMES = ["", "T00:00:00Z", "T09:30:00Z", "T23:00:00Z", "T23:59:59.999999Z"]


@pytest.fixture
def asked_of(monkeypatch):
    """Of what each question was asked, in their order: "days" or "usages"."""
    asked = []
    for name in ("_by_days", "_of_usages"):
        kept = getattr(figures_query, name)

        def noting(*arguments, kept=kept, name=name):
            asked.append("days" if name == "_by_days" else "usages")
            return kept(*arguments)

        monkeypatch.setattr(figures_query, name, noting)
    return asked


def span(dice, first=2010, last=2026):
    days = sorted(f"{dice.randrange(first, last)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}" for _ in "ab")
    start, end = (day + dice.choice(TIMES) for day in days)
    return f"start={start}&end={end}"


@pytest.mark.parametrize("timezone", ["UTC", "Europe/London", "Australia/Lord_Howe"])
def test_both_ways_give_the_same_answers(sign_in, asked_of, timezone):
    dice = random.Random(timezone)
    manager = sign_in(factories.user(factories.organization(timezone=timezone), "manager"))
    record_at_random(manager, dice, 60)
    types = manager.get("/usages?page_size=1000").json
    queries = []
    questions = list(
        product(
            ["day", "week", "month", "quarter", "year"],
            ["", "&compare=previous_year", "&compare=previous_period"],
            ["", "&group_by=usage_type", "&group_by=scope", "&group_by=organization"],
        )
    )
    for bucket, compare, group_by in dice.sample(questions, 25):
        first = 2018 if bucket == "day" else 1975
        queries.append(f"trend?bucket={bucket}{compare}{group_by}&{span(dice, first, first + 6)}")
    queries += [f"trend?bucket={bucket}" for bucket in ("month", "year")]
    for _ in range(20):
        narrowed = dice.choice(["", f"&usage_type_id={dice.choice(types)['usage_type_id']}", "&method=location"])
        queries.append(f"summary?by=scope&by=usage_type&{span(dice)}{narrowed}")
    queries += ["summary?by=scope", "summary?by=usage_type&start=1990-01-01", "summary?by=usage_type&end=1990-01-01"]
    for query in queries:
        asked_of.clear()
        by_days = manager.get(f"/emissions/{query}")
        by_usages = manager.get(f"/emissions/{query}&as_of={format_datetime(factories.now())}")
        assert by_days.status_code == by_usages.status_code
        assert by_days.json == by_usages.json, query
        assert asked_of[-1] == "usages"
        if "T" not in query:
            assert asked_of == ["days", "usages"], query


def test_a_day_that_has_begun_goes_on_while_the_clock_shows_the_day_before(sign_in):
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
        ("trend?bucket=hour&start=2024-01-01&end=2024-01-02", "usages"),
        ("trend?bucket=day&start=2024-01-01&end=2024-01-08&timezone=Asia/Tokyo", "usages"),
        ("trend?bucket=day&start=2024-01-01&end=2024-01-08&quality=measured", "usages"),
        ("trend?bucket=day&start=2024-01-01&end=2024-01-08&group_by=user", "usages"),
        ("trend?bucket=day&start=2024-01-01T08:00:00Z&end=2024-01-01T09:00:00Z", "usages"),
        ("summary?by=scope", "days"),
        ("summary", "usages"),
    ],
)
def test_days_are_asked_wherever_they_can_tell(as_manager, asked_of, query, source):
    factories.usage(as_manager.user, "1", "2024-01-02")

    assert as_manager.get(f"/emissions/{query}").status_code == 200
    assert asked_of == [source]


def test_a_members_figures_and_an_admins_are_not_those_of_an_organizations_days(as_member, as_admin, asked_of):
    for client in (as_member, as_admin):
        assert client.get("/emissions/summary?by=scope").status_code == 200
    assert asked_of == ["usages", "usages"]


def test_days_of_another_time_zone_are_not_asked(app, as_manager, asked_of, monkeypatch):
    """As a worker would that has not heard of the change, or where Python and PostgreSQL know other time zones."""
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    factories.usage(as_manager.user, "1", "2024-01-02T20:00")
    day = "/emissions/trend?bucket=day&start=2024-01-02&end=2024-01-03"
    assert as_manager.get(day).json[0]["usage_count"] == 1
    path = f"/organizations/{as_manager.user.organization_id}"
    assert as_manager.patch(path, json={"timezone": "Asia/Tokyo"}).status_code == 200
    asked_of.clear()

    assert as_manager.get(day).json[0]["usage_count"] == 1
    assert asked_of == ["days", "usages"]
