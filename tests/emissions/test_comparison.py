"""The same buckets a period or a year before."""

import pytest

from tests.support import factories
from tests.support.client import query_now
from tests.support.figures import by_both_methods


def use(client, *days, amount="2"):
    for day in days:
        factories.usage(client.user, amount, day)


def compared(client, query):
    """Each bucket's begin, its CO2e, and the begin, end, CO2e and folding of its counterpart."""
    answer = client.get(f"/emissions/trend?{query}")
    assert answer.status_code == 200, answer.text
    return [
        (
            bucket["bucket_start"][:10],
            bucket["co2e_kg"],
            bucket["previous"]["bucket_start"][:10],
            bucket["previous"]["bucket_end"][:10],
            bucket["previous"]["co2e_kg"],
            bucket["previous"]["folded"],
        )
        for bucket in answer.json
    ]


def test_each_bucket_has_the_one_of_the_previous_year(as_member):
    use(as_member, "2023-01-10", "2023-03-31T23:59:59", "2024-01-05", "2024-02-05")
    factories.usage(as_member.user, "4", "2023-01-11")

    trend = as_member.get("/emissions/trend?start=2024-01-01&end=2024-03-01&compare=previous_year").json

    assert trend[0] == {
        "bucket_start": "2024-01-01T00:00:00Z",
        "bucket_end": "2024-02-01T00:00:00Z",
        **by_both_methods(3),
        "usage_count": 1,
        "amount": 2,
        "unit": "kwh",
        "coverage": 0.870967,
        "estimated_share": 0,
        "partial": False,
        "co2e_kg_per_day": 0.096774,
        "previous": {
            "bucket_start": "2023-01-01T00:00:00Z",
            "bucket_end": "2023-02-01T00:00:00Z",
            **by_both_methods(9),
            "usage_count": 2,
            "amount": 6,
            "unit": "kwh",
            "coverage": 0.064516,
            "estimated_share": 0,
            "co2e_kg_per_day": 0.290323,
            "folded": False,
        },
    }
    assert (trend[1]["previous"]["co2e_kg"], trend[1]["previous"]["usage_count"]) == (0, 0)
    assert "previous" not in as_member.get("/emissions/trend").json[0]


def test_previous_period_has_equally_many_buckets(as_member):
    use(as_member, "2023-11-15", "2023-12-15", "2024-01-15")

    assert compared(as_member, "bucket=month&start=2024-01-01&end=2024-03-01&compare=previous_period") == [
        ("2024-01-01", 3, "2023-11-01", "2023-12-01", 3, False),
        ("2024-02-01", 0, "2023-12-01", "2024-01-01", 3, False),
    ]
    assert compared(as_member, "bucket=year&start=2024-01-01&end=2025-01-01&compare=previous_period") == [
        ("2024-01-01", 3, "2023-01-01", "2024-01-01", 6, False)
    ]


def test_cut_bucket_is_compared_with_an_equal_length(as_member):
    use(as_member, "2023-03-10", "2023-03-20", "2024-02-10", "2024-02-20", "2024-03-10")

    assert compared(as_member, "start=2024-03-01&end=2024-03-15&compare=previous_year")[0][4] == 3
    assert compared(as_member, "start=2024-03-01&end=2024-03-15&compare=previous_period")[0][4] == 3
    assert compared(as_member, "start=2024-03-01&end=2024-03-31&compare=previous_period")[0][4] == 6


def test_29_february_is_folded_into_the_28th(as_member):
    use(as_member, "2023-02-28", "2023-03-01", "2024-02-28", "2024-02-29", "2024-03-01", "2025-02-28")

    assert compared(as_member, "bucket=day&start=2024-02-28&end=2024-03-02&compare=previous_year") == [
        ("2024-02-28", 3, "2023-02-28", "2023-03-01", 3, False),
        ("2024-02-29", 3, "2023-03-01", "2023-03-01", 0, True),
        ("2024-03-01", 3, "2023-03-01", "2023-03-02", 3, False),
    ]
    assert compared(as_member, "bucket=day&start=2025-02-28&end=2025-03-02&compare=previous_year") == [
        ("2025-02-28", 3, "2024-02-28", "2024-03-01", 6, True),
        ("2025-03-01", 0, "2024-03-01", "2024-03-02", 3, False),
    ]
    folded = as_member.get("/emissions/trend?bucket=day&start=2024-02-29&end=2024-03-01&compare=previous_year").json[0]
    assert folded["previous"]["co2e_kg_per_day"] is None


def test_compared_weeks_keep_weekday_and_local_time(as_member):
    use(as_member, "2022-12-26", "2023-03-25T23:30")

    assert compared(as_member, "bucket=week&start=2023-12-25&end=2024-01-01&compare=previous_year") == [
        ("2023-12-25", 0, "2022-12-26", "2023-01-02", 3, False)
    ]
    london = "bucket=day&timezone=Europe/London&start=2024-03-31&end=2024-04-01"
    day = as_member.get(f"/emissions/trend?{london}&compare=previous_year").json[0]
    # 31 March 2024 had 23 hours; 31 March 2023 had 24, the first of them in summer time.
    assert (day["bucket_start"], day["bucket_end"]) == ("2024-03-31T00:00:00Z", "2024-03-31T23:00:00Z")
    previous = day["previous"]
    assert (previous["bucket_start"], previous["bucket_end"]) == ("2023-03-30T23:00:00Z", "2023-03-31T23:00:00Z")


def test_comparison_supports_groups_filters_and_as_of(as_member):
    use(as_member, "2023-01-10", "2024-01-10")
    as_of = query_now()
    use(as_member, "2023-01-11")
    query = "start=2024-01-01&end=2024-02-01&compare=previous_year&group_by=usage_type&usage_type_id=100"

    now, then = (as_member.get(f"/emissions/trend?{query}{more}").json[0] for more in ("", f"&as_of={as_of}"))

    assert (now["previous"]["co2e_kg"], then["previous"]["co2e_kg"]) == (6, 3)
    assert [group["co2e_kg"] for group in now["groups"]] == [3]
    everything = as_member.get("/emissions/trend?bucket=year&compare=previous_year").json
    assert [(bucket["co2e_kg"], bucket["previous"]["co2e_kg"]) for bucket in everything] == [(6, 0), (3, 6)]


@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month", "quarter", "year"])
@pytest.mark.parametrize("timezone", ["Europe/London", "Australia/Lord_Howe", "America/Havana"])
def test_counterparts_lose_no_usage(as_member, bucket, timezone):
    use(as_member, *(f"2023-{month:02}-{day:02}T12:34" for month in (3, 4, 10, 11) for day in (1, 12, 26)))
    days = "start=2024-03-01&end=2024-05-01" if bucket == "hour" else "start=2024-01-01&end=2025-01-01"
    expected = 18 if bucket == "hour" else 36

    trend = as_member.get(f"/emissions/trend?bucket={bucket}&timezone={timezone}&{days}&compare=previous_year").json

    assert sum(found["previous"]["co2e_kg"] for found in trend) == expected
    edges = [found["previous"]["bucket_start"] for found in trend]
    assert [found["previous"]["bucket_end"] for found in trend[:-1]] == edges[1:]


def test_unknown_comparison_is_422(as_member):
    answer = as_member.get("/emissions/trend?compare=yesterday")

    assert (answer.status_code, list(answer.json["errors"]["query"])) == (422, ["compare"])


def test_comparison_may_precede_all_usages(as_manager):
    at = {"usage_type_id": 100, "usage_at": "2026-12-01T00:00:00Z", "amount": 1}
    assert as_manager.post("/usages", json=at).status_code == 201

    for bucket in ("week", "month", "quarter", "year"):
        answer = as_manager.get(
            f"/emissions/trend?usage_type_id=100&compare=previous_period&bucket={bucket}&end=2200-12-31"
        )

        assert answer.status_code == 200, answer.text
        first, *others = answer.json
        assert first["previous"]["bucket_start"] < "1899"
        assert (first["usage_count"], first["previous"]["usage_count"], first["previous"]["coverage"]) == (1, 0, 0)
        assert not any(other["usage_count"] or other["previous"]["co2e_kg"] for other in others)
