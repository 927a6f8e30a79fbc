"""Selection of the emission factor: own before shared, then the closest region, by method and time."""

import itertools

import pytest

from tests.support import factories

RANKS = [(owner, region) for owner in ("own", "shared") for region in ("GB-LND", "GB", None)]


@pytest.mark.parametrize(
    "present", [ranks for length in (1, 2, 6) for ranks in itertools.combinations(range(6), length)]
)
def test_factor_with_highest_precedence_is_selected(as_member, present):
    usage_type = factories.usage_type(factor=None)
    for rank in reversed(present):
        owner, region = RANKS[rank]
        factories.emission_factor(
            usage_type,
            rank + 1,
            region=region,
            organization_id=as_member.user.organization_id if owner == "own" else None,
        )
    body = {"usage_type_id": usage_type.id, "usage_at": "2024-01-01T00:00:00Z", "amount": 1, "region": "GB-LND"}

    usage = as_member.post("/usages", json=body).json
    assert usage["factor"] == present[0] + 1
    file = "usage_at,amount,region\n2024-01-02T00:00:00Z,1,GB-LND\n"
    path = f"/imports?usage_type_id={usage_type.id}"
    assert as_member.post(path, data=file, content_type="text/csv").json["co2e_kg"] == present[0] + 1
    corrected = as_member.patch(f"/usages/{usage['id']}", json={"usage_at": "2024-01-03T00:00:00Z"}).json
    assert corrected["factor"] == present[0] + 1
    explained = as_member.get(f"/usages/{usage['id']}/explain").json
    assert [factor["factor"] for factor in explained["candidates"]] == [rank + 1 for rank in present]
    assert explained["outdated"] is False


@pytest.mark.parametrize(("region", "factor"), [("GB-LND", 2), ("GB", 2), ("GB-SCT", 3), ("FR-75", 1), (None, 1)])
def test_subdivision_falls_back_to_its_country(as_member, as_manager, region, factor):
    usage_type = factories.usage_type(factor="1")
    factories.emission_factor(usage_type, 2, region="GB")
    factories.emission_factor(usage_type, 3, region="GB-SCT")
    body = {"usage_type_id": usage_type.id, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}

    assert as_member.post("/usages", json=body | {"region": region}).json["factor"] == factor
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"region": region})
    assert as_member.post("/usages", json=body).json["factor"] == factor
    file = "usage_at,amount\n2024-01-02T00:00:00Z,1\n"
    path = f"/imports?usage_type_id={usage_type.id}"
    assert as_member.post(path, data=file, content_type="text/csv").json["co2e_kg"] == factor


def test_missing_factor_of_a_subdivision_names_the_times(as_member):
    usage_type = factories.usage_type(factor=None)
    factories.emission_factor(usage_type, 2, "2020-01-01", region="GB")
    body = {"usage_type_id": usage_type.id, "usage_at": "2019-01-01T00:00:00Z", "amount": 1, "region": "GB-LND"}

    rejected = as_member.post("/usages", json=body)

    assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, ["usage_at"])
    assert "the first is valid from 2020-01-01T00:00:00Z" in rejected.json["detail"]


def test_factor_of_another_organization_is_not_selected(as_member, as_other_manager):
    usage_type = factories.usage_type(factor=None)
    factories.emission_factor(usage_type, 1, organization_id=as_other_manager.user.organization_id)
    body = {"usage_type_id": usage_type.id, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}

    rejected = as_member.post("/usages", json=body)

    assert (rejected.status_code, "No factor has been created yet" in rejected.json["detail"]) == (422, True)
