"""Closed periods: their usages cannot change."""

import pytest

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 2}
LATER = "2024-06-01T00:00:00Z"


@pytest.fixture
def closed(as_manager, as_member):
    """Close a period until April 2024. Return a usage of January and the period."""
    usage = as_member.post("/usages", json=USAGE).json
    answer = as_manager.post("/closed-periods", json={"until": "2024-04-01T00:00:00Z", "note": "First quarter"})
    assert answer.status_code == 201
    return usage, answer.json


def test_closed_period_has_end_author_and_note(as_manager, as_member, as_other_manager, closed):
    _, period = closed
    path = f"/closed-periods/{period['id']}"

    assert period.pop("closed_at").endswith("Z")
    assert period == {
        "id": period["id"],
        "organization_id": as_manager.user.organization_id,
        "until": "2024-04-01T00:00:00Z",
        "note": "First quarter",
        "closed_by": as_manager.user.id,
        "reopened_at": None,
        "reopened_by": None,
        "reopen_reason": None,
    }
    assert as_member.get(path).status_code == 200
    assert as_other_manager.get(path).status_code == 404


def test_writes_in_a_closed_period_are_409(as_manager, as_member, closed):
    usage, period = closed
    later = as_member.post("/usages", json=USAGE | {"usage_at": LATER}).json
    path = f"/usages/{usage['id']}"
    file = "usage_at,amount\n2024-06-01T01:00:00Z,1\n2024-03-31T23:59:59Z,1\n"

    for answer in (
        as_member.post("/usages", json=USAGE),
        as_manager.post("/usages", json=USAGE | {"usage_at": "2024-03-31T23:59:59.999999Z"}),
        as_member.patch(path, json={"amount": 3}),
        as_member.patch(path, json={"note": "x"}),
        as_member.patch(path, json={"usage_at": LATER}),
        as_member.patch(f"/usages/{later['id']}", json={"usage_at": USAGE["usage_at"]}),
        as_member.put(path, json=USAGE | {"amount": 3}),
        as_member.delete(path),
        as_member.delete(f"/usages?id={later['id']}&id={usage['id']}"),
    ):
        assert (answer.status_code, answer.json["title"]) == (409, "Conflict"), answer.text
        assert f"Period {period['id']} is closed until 2024-04-01T00:00:00Z." in answer.json["detail"]
    imported = as_member.post("/imports?usage_type_id=100", data=file, content_type="text/csv")
    assert (imported.status_code, list(imported.json["errors"]["file"])) == (422, ["3"])
    assert as_member.get("/usages?sort=id").json == [usage, later]
    assert len(as_member.get(f"{path}/versions").json) == 1


def test_usages_from_the_end_of_a_period_are_accepted(as_member, as_other_manager, closed):
    for client, usage_at in ((as_member, "2024-04-01T00:00:00Z"), (as_other_manager, USAGE["usage_at"])):
        assert client.post("/usages", json=USAGE | {"usage_at": usage_at}).status_code == 201


def test_adjustment_corrects_a_closed_period(as_manager, as_member, closed):
    _, period = closed
    adjustment = USAGE | {"usage_at": LATER, "amount": -0.5, "adjusts_closed_period_id": period["id"]}

    answer = as_member.post("/usages", json=adjustment)

    assert (answer.status_code, answer.json["co2e_kg"], answer.json["adjusts_closed_period_id"]) == (
        201,
        -0.75,
        period["id"],
    )
    assert as_member.get("/emissions/summary").json["co2e_kg"] == 2.25
    assert as_member.post("/usages", json=adjustment | {"usage_at": USAGE["usage_at"]}).status_code == 409
    for changes, field in (
        ({"adjusts_closed_period_id": None}, "amount"),
        ({"adjusts_closed_period_id": 10**15}, "adjusts_closed_period_id"),
        ({"user_id": 10**15}, "user_id"),
    ):
        rejected = as_member.post("/usages", json=adjustment | changes)
        assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, [field])
    path = answer.headers["Location"]
    assert list(as_member.patch(path, json={"adjusts_closed_period_id": None}).json["errors"]["json"]) == ["amount"]


def test_restatement_of_a_closed_period_is_possible(as_manager, as_member, closed):
    usage, _ = closed
    factor = {"factor": 1, "valid_from": "1900-01-01T00:00:00Z", "source": "better"}
    as_manager.post("/usage-types/100/factors", json=factor)
    ask = {"usage_type_ids": [100], "reason": "Better factors", "mode": "apply"}

    assert as_manager.post("/restatements", json=ask).json["usage_count"] == 1
    assert as_member.get(f"/usages/{usage['id']}").json["co2e_kg"] == 2


def test_reopening_requires_a_reason_and_is_recorded(as_manager, as_member, as_auditor, closed):
    usage, period = closed
    path = f"/closed-periods/{period['id']}/reopen"
    assert as_manager.post(path, json={}).status_code == 422
    for client in (as_member, as_auditor):
        assert client.post(path, json={"reason": "x"}).status_code == 403

    reopened = as_manager.post(path, json={"reason": "A meter was missing."})

    assert reopened.status_code == 200
    assert (reopened.json["reopened_by"], reopened.json["reopen_reason"]) == (
        as_manager.user.id,
        "A meter was missing.",
    )
    assert as_member.patch(f"/usages/{usage['id']}", json={"amount": 3}).status_code == 200
    assert as_manager.post(path, json={"reason": "again"}).status_code == 409
    assert as_auditor.get("/closed-periods").json == [reopened.json]
    adjustment = USAGE | {"usage_at": LATER, "adjusts_closed_period_id": period["id"]}
    assert list(as_member.post("/usages", json=adjustment).json["errors"]["json"]) == ["adjusts_closed_period_id"]


def test_period_end_must_advance_and_not_be_in_the_future(as_manager, closed):
    for until, status in (
        ("2024-04-01T00:00:00Z", 409),
        ("2024-01-01T00:00:00Z", 409),
        ("2199-01-01T00:00:00Z", 422),
        ("2024-07-01T00:00:00Z", 201),
    ):
        assert as_manager.post("/closed-periods", json={"until": until}).status_code == status
    assert [period["until"][:10] for period in as_manager.get("/closed-periods").json] == ["2024-07-01", "2024-04-01"]
