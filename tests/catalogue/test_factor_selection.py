"""Which emission factor a usage gets: own before shared, region before general, of its method, valid at its time."""

import itertools

import pytest

from tests.support import factories

RANKS = [("own", "GB"), ("own", None), ("shared", "GB"), ("shared", None)]


@pytest.mark.parametrize(
    "present", [ranks for length in range(1, 5) for ranks in itertools.combinations(range(4), length)]
)
def test_the_first_rank_that_is_there_wins(as_member, present):
    usage_type = factories.usage_type(factor=None)
    for rank in reversed(present):
        owner, region = RANKS[rank]
        factories.emission_factor(
            usage_type,
            rank + 1,
            region=region,
            organization_id=as_member.user.organization_id if owner == "own" else None,
        )
    body = {"usage_type_id": usage_type.id, "usage_at": "2024-01-01T00:00:00Z", "amount": 1, "region": "GB"}

    assert as_member.post("/usages", json=body).json["factor"] == present[0] + 1


def test_another_organizations_own_factor_is_never_chosen(as_member, as_other_manager):
    usage_type = factories.usage_type(factor=None)
    factories.emission_factor(usage_type, 1, organization_id=as_other_manager.user.organization_id)
    body = {"usage_type_id": usage_type.id, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}

    refused = as_member.post("/usages", json=body)

    assert (refused.status_code, "Nobody has entered one yet" in refused.json["detail"]) == (422, True)


def test_a_usage_has_one_method_and_its_factor_is_of_it(as_member):
    usage_type = factories.usage_type(factor="2")
    body = {"usage_type_id": usage_type.id, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}
    refused = as_member.post("/usages", json=body | {"method": "market"})
    assert (refused.status_code, list(refused.json["errors"]["json"])) == (422, ["method"])
    factories.emission_factor(usage_type, "0.1", method="market")

    usage = as_member.post("/usages", json=body | {"method": "market"}).json
    assert (usage["method"], usage["co2e_kg"]) == ("market", 0.1)
    assert as_member.patch(f"/usages/{usage['id']}", json={"method": "location"}).json["co2e_kg"] == 2


def test_methods_are_never_added_together(as_member):
    usage_type = factories.usage_type(factor="2")
    factories.emission_factor(usage_type, "0.1", method="market")
    for method, day in (("location", "01"), ("market", "01"), ("market", "02")):
        factories.usage(as_member.user, usage_at=f"2024-01-{day}", usage_type_id=usage_type.id, method=method)

    for path in ("/emissions/summary", "/emissions/trend", "/emissions/trend?bucket=year&group_by=usage_type"):
        refused = as_member.get(path)
        assert (refused.status_code, list(refused.json["errors"]["query"])) == (422, ["method"])
    assert as_member.get("/emissions/summary?method=market").json["co2e_kg"] == 0.2
    assert as_member.get("/emissions/summary?method=location").json["co2e_kg"] == 2
    assert as_member.get("/emissions/trend?start=2024-01-02").json[0]["co2e_kg"] == 0.1
