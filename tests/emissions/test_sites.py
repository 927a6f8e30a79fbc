"""Figures of sites, meters and regions."""

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
