"""Figures of sites, meters and regions."""

import json
from decimal import Decimal
from itertools import pairwise

import pytest

from carbonapi.accounts.models import Organization
from carbonapi.db import db
from tests.support import factories


@pytest.fixture
def places(as_manager):
    """Two sites below a group, of different countries, with a meter each, and 30, 12 and 5 kWh of electricity."""
    organization = db.session.get_one(Organization, as_manager.user.organization_id)
    group = factories.site(organization, "Group")
    london = factories.site(organization, "London", group, region="GB-LND")
    berlin = factories.site(organization, "Berlin", group, region="DE")
    meters = [factories.meter(site) for site in (london, berlin)]
    for meter, amount in zip(meters, (30, 12), strict=True):
        record(as_manager, amount, meter_id=meter.id)
    record(as_manager, 5, usage_type_id=100)
    return {"group": group.id, "london": london.id, "berlin": berlin.id, "meters": [meter.id for meter in meters]}


def record(client, amount, **fields):
    answer = client.post("/usages", json={"usage_at": "2024-05-01T00:00:00Z", "amount": amount} | fields)
    assert answer.status_code == 201, answer.json


def groups_of(client, by, query=""):
    """The kg CO2e of the groups of the summary, which the trend must have too."""
    found = client.get(f"/emissions/summary?by={by}{query}").json[f"by_{by}"]
    (bucket,) = client.get(f"/emissions/trend?start=2024-05-01&end=2024-06-01&group_by={by}{query}").json
    figures = {(group["id"], group["name"]): group["co2e_kg"] for group in found}
    assert {(group["id"], group["name"]): group["co2e_kg"] for group in bucket["groups"]} == figures
    return figures


def test_figures_are_grouped_by_place(as_manager, places):
    assert groups_of(as_manager, "site") == {
        (places["london"], "London"): 45,
        (places["berlin"], "Berlin"): 18,
        (None, None): 7.5,
    }
    assert {id_ for id_, _ in groups_of(as_manager, "meter")} == {*places["meters"], None}
    assert groups_of(as_manager, "region") == {(None, "GB-LND"): 45, (None, "DE"): 18, (None, None): 7.5}
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"region": "DE"})
    assert groups_of(as_manager, "region") == {(None, "GB-LND"): 45, (None, "DE"): 25.5}


def test_site_includes_the_sites_below_it(as_manager, places):
    for place, kwh in (("group", 42), ("london", 30), ("berlin", 12)):
        assert as_manager.get(f"/emissions/summary?site_id={places[place]}").json["amount"] == kwh
        assert sum(groups_of(as_manager, "site", f"&site_id={places[place]}").values()) == kwh * 1.5


@pytest.mark.parametrize(("region", "kwh"), [("GB", 30), ("GB-LND", 30), ("GB-SCT", None), ("DE", 12), ("FR", None)])
def test_country_includes_its_subdivisions(as_manager, places, region, kwh):
    summary = as_manager.get(f"/emissions/summary?region={region}").json
    assert summary.get("amount") == kwh
    assert len(as_manager.get(f"/usages?region={region}").json) == (kwh is not None)


def test_usages_without_a_region_have_the_organizations(as_manager, places):
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"region": "FR"})

    assert as_manager.get("/emissions/summary?region=FR").json["amount"] == 5
    assert as_manager.get("/emissions/summary?region=FR&region=DE").json["amount"] == 17


def own(client, site_id, *shares):
    """Set the shares of a site: (valid from, equity share, financial control, operational control)."""
    names = ("valid_from", "equity_share", "financial_control", "operational_control")
    answer = client.put(
        f"/sites/{site_id}/shares", json={"shares": [dict(zip(names, share, strict=True)) for share in shares]}
    )
    assert answer.status_code == 200, answer.json


def kwh_by(client, approach, query=""):
    figures = json.loads(client.get(f"/emissions/summary?consolidation={approach}{query}").text, parse_float=Decimal)
    trend = client.get(f"/emissions/trend?consolidation={approach}&start=2024-01-01&end=2025-01-01{query}")
    buckets = json.loads(trend.text, parse_float=Decimal)
    assert sum(bucket.get("amount", 0) for bucket in buckets) == figures["amount"]
    assert figures["co2e_kg"] == figures["amount"] * Decimal("1.5")
    return figures["amount"]


def test_holdings_multiply_the_shares_of_the_path(as_manager, places):
    own(as_manager, places["group"], ("2020-01-01", 0.5, True, False))
    own(as_manager, places["london"], ("2020-01-01", 0.83, True, True))

    assert kwh_by(as_manager, "equity_share", f"&site_id={places['london']}") == Decimal("12.45")  # 41.5 % of 30.
    # Berlin is 50 %, and what has no site is owned entirely.
    assert kwh_by(as_manager, "equity_share") == Decimal("12.45") + 6 + 5
    assert kwh_by(as_manager, "financial_control") == 30 + 12 + 5
    assert kwh_by(as_manager, "operational_control") == 5


def test_ownership_counts_from_its_day(as_manager, places):
    """A site that was bought in July: 184 of 366 days of a bill of the year, and no earlier reading."""
    own(as_manager, places["berlin"], ("2024-07-01", 1, True, True), ("2024-10-01", 0.25, False, True))
    year = {"usage_at": "2024-01-01T00:00:00Z", "usage_until": "2025-01-01T00:00:00Z"}
    record(as_manager, 366, site_id=places["berlin"], usage_type_id=100, **year)

    query = f"&site_id={places['berlin']}"
    assert kwh_by(as_manager, "operational_control", query) == 184
    assert kwh_by(as_manager, "equity_share", query) == 92 + 23
    assert kwh_by(as_manager, "financial_control", query) == 92


def test_ownership_changes_at_local_midnight(as_manager, places):
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"timezone": "America/New_York"})
    own(as_manager, places["berlin"], ("2024-03-01", 1, True, True))
    record(as_manager, 1, usage_at="2024-03-01T04:59:59Z", meter_id=places["meters"][1])
    record(as_manager, 2, usage_at="2024-03-01T05:00:00Z", meter_id=places["meters"][1])

    assert kwh_by(as_manager, "equity_share", f"&site_id={places['berlin']}") == 2 + 12


def test_shares_never_change_what_is_recorded(as_manager, places):
    before = as_manager.get("/usages?sort=id").json
    own(as_manager, places["group"], ("2020-01-01", 0.5, True, False))

    assert as_manager.get("/usages?sort=id").json == before
    assert as_manager.get("/emissions/summary").json["amount"] == 47


MONTHS = [f"2025-{month:02}-01T00:00:00Z" for month in range(1, 13)] + ["2026-01-01T00:00:00Z"]


def add_bills(client, skipped=(), **fields):
    for month, (start, end) in enumerate(pairwise(MONTHS), 1):
        if month not in skipped:
            record(client, 100, usage_at=start, usage_until=end, usage_type_id=100, **fields)


def coverage(client, query=""):
    answer = client.get(f"/coverage?start=2025-01-01&end=2026-01-01{query}")
    assert answer.status_code == 200, answer.text
    return answer.json


def coverage_of_june(client, query=""):
    (bucket,) = client.get(f"/emissions/trend?start=2025-06-01&end=2025-07-01{query}").json
    return bucket["coverage"]


@pytest.fixture
def sites(organization):
    return [factories.site(organization, name) for name in ("Berlin", "London")]


@pytest.mark.parametrize("by_meter", [False, True])
def test_missing_bill_of_a_site_is_a_gap(as_manager, sites, by_meter):
    places = [{"meter_id": factories.meter(site).id} if by_meter else {"site_id": site.id} for site in sites]
    add_bills(as_manager, skipped=[6], **places[0])
    add_bills(as_manager, **places[1])

    berlin, london = (f"&site_id={site.id}" for site in sites)
    assert [coverage_of_june(as_manager, query) for query in (berlin, london, "")] == [0, 1, 0.5]
    report = coverage(as_manager)
    # Of 24 months, 23 have a bill; of 730 days, 700.
    assert (report["mean_of_months"], report["coverage"]) == (0.958333, 0.958904)
    assert (report["complete_months"], report["expected_months"]) == (23, 24)
    first, second = report["series"]
    assert (first["site_name"], first["coverage"], second["coverage"]) == ("Berlin", 0.917808, 1)
    assert first["gaps"] == [{"starts_at": "2025-06-01T00:00:00Z", "ends_at": "2025-07-01T00:00:00Z"}]
    assert [month["coverage"] for month in first["months"]] == [1] * 5 + [0] + [1] * 6
    assert second["gaps"] == []


def test_meter_without_readings_is_a_gap(as_manager, sites):
    meter = factories.meter(sites[0])
    assert coverage(as_manager)["series"][0]["coverage"] == 0
    add_bills(as_manager, site_id=sites[1].id)

    report = coverage(as_manager)
    assert [(each["meter_id"], each["coverage"]) for each in report["series"]] == [(meter.id, 0), (None, 1)]
    assert coverage_of_june(as_manager) == 0.5
    assert coverage_of_june(as_manager, "&quality=measured") == 1  # Some usages of each meter.
    as_manager.patch(f"/meters/{meter.id}", json={"archived": True})
    assert coverage_of_june(as_manager) == 1


def test_meter_is_expected_within_its_validity(as_manager, sites):
    times = {"valid_from": factories.at("2025-03-01"), "valid_until": factories.at("2025-06-16")}
    meter = factories.meter(sites[0], **times)
    for start, end in list(pairwise(MONTHS))[2:5]:
        record(as_manager, 1, usage_at=start, usage_until=end, meter_id=meter.id)

    (series,) = coverage(as_manager)["series"]
    assert series["gaps"] == [{"starts_at": "2025-06-01T00:00:00Z", "ends_at": "2025-06-16T00:00:00Z"}]
    assert series["coverage"] == 0.859813  # 92 of 107 days.
    assert [month["coverage"] for month in series["months"]] == [None, None, 1, 1, 1, 0] + [None] * 6
    buckets = as_manager.get("/emissions/trend?start=2025-01-01&end=2026-01-01").json
    assert [bucket["coverage"] for bucket in buckets] == [None, None, 1, 1, 1, 0] + [None] * 6
    add_bills(as_manager, site_id=sites[1].id)
    # 92 of 107 days of one, 365 of 365 days of the other.
    assert coverage(as_manager)["coverage"] == 0.968220


def test_gaps_are_in_local_time(as_manager, sites):
    meter = factories.meter(sites[0])
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"timezone": "Europe/Berlin"})
    times = ("2025-03-29T23:00:00Z", "2025-03-30T04:00:00Z"), ("2025-03-30T22:00:00Z", "2025-03-31T22:00:00Z")
    for start, end in times:
        record(as_manager, 1, usage_at=start, usage_until=end, meter_id=meter.id)

    report = as_manager.get("/coverage?start=2025-03-30&end=2025-04-01").json
    assert report["series"][0]["gaps"] == [{"starts_at": "2025-03-30T04:00:00Z", "ends_at": "2025-03-30T22:00:00Z"}]
    assert report["coverage"] == 0.617021  # 29 of 47 hours.


def test_coverage_without_sites_is_by_usage_type(as_manager):
    add_bills(as_manager, skipped=[1, 6])
    report = as_manager.get("/coverage").json

    (series,) = report["series"]
    assert (series["usage_type_name"], series["site_id"], series["meter_id"]) == ("electricity", None, None)
    assert [gap["starts_at"] for gap in series["gaps"]] == ["2025-06-01T00:00:00Z"]
    assert as_manager.get("/coverage?usage_type_id=101").json["series"] == []
