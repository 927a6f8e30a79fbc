"""Usages that cover a period, such as a bill's."""

import pytest

from tests.support import factories

BILL = {
    "usage_type_id": 100,
    "usage_at": "2024-01-15T00:00:00Z",
    "usage_until": "2024-02-14T00:00:00+01:00",
    "amount": 300,
}
TOO_EARLY = "usage_until must be later than usage_at."


def errors(answer):
    assert answer.status_code == 422, answer.text
    return answer.json["errors"]["json"]


def test_bill_keeps_its_interval(as_member):
    answer = as_member.post("/usages", json=BILL)

    assert answer.status_code == 201
    assert answer.json["usage_until"] == "2024-02-13T23:00:00Z"
    assert answer.json["co2e_kg"] == 450
    assert as_member.get(f"/usages/{answer.json['id']}").json == answer.json


@pytest.mark.parametrize("usage_until", ["2024-01-15T00:00:00Z", "2024-01-14T23:59:59Z"])
def test_interval_must_end_after_its_start(as_member, usage_until):
    assert errors(as_member.post("/usages", json=BILL | {"usage_until": usage_until})) == {"usage_until": [TOO_EARLY]}
    usage_id = as_member.post("/usages", json=BILL).json["id"]

    path = f"/usages/{usage_id}"
    assert errors(as_member.put(path, json=BILL | {"usage_until": usage_until})) == {"usage_until": [TOO_EARLY]}
    assert errors(as_member.patch(path, json={"usage_until": usage_until})) == {"usage_until": [TOO_EARLY]}
    assert errors(as_member.patch(path, json={"usage_at": BILL["usage_until"]})) == {"usage_until": [TOO_EARLY]}
    assert as_member.get(path).json["version"] == 1


def test_corrected_end_keeps_factor_and_history(as_member):
    usage_type = factories.usage_type(factor="2")
    path = f"/usages/{as_member.post('/usages', json=BILL | {'usage_type_id': usage_type.id}).json['id']}"

    corrected = as_member.patch(path, json={"usage_until": "2024-03-01T00:00:00Z"})
    emptied = as_member.patch(path, json={"usage_until": None})

    assert (corrected.json["usage_until"], corrected.json["factor"]) == ("2024-03-01T00:00:00Z", 2)
    assert (emptied.json["usage_until"], emptied.json["version"]) == (None, 3)
    ends = [version["usage_until"] for version in as_member.get(f"{path}/versions").json]
    assert ends == ["2024-02-13T23:00:00Z", "2024-03-01T00:00:00Z", None]


def test_put_without_end_makes_it_an_instant(as_member):
    path = f"/usages/{as_member.post('/usages', json=BILL).json['id']}"

    replaced = as_member.put(path, json={name: BILL[name] for name in ("usage_type_id", "usage_at", "amount")})

    assert replaced.json["usage_until"] is None


def test_file_can_have_bills(as_member):
    file = "usage_at,usage_until,amount\n2024-01-15T00:00:00Z,2024-02-14T00:00:00Z,300\n2024-02-14T00:00:00Z,,1\n"

    imported = as_member.post("/imports?usage_type_id=100", data=file, content_type="text/csv").json["id"]

    usages = as_member.get(f"/usages?import_id={imported}&sort=id").json
    assert [usage["usage_until"] for usage in usages] == ["2024-02-14T00:00:00Z", None]
