"""Closed books: what is recorded before an instant stays as it is."""

import pytest

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 2}
LATER = "2024-06-01T00:00:00Z"


@pytest.fixture
def closed(as_manager, as_member):
    """A usage of January 2024 in books that are closed until April; returns the usage and the period."""
    usage = as_member.post("/usages", json=USAGE).json
    answer = as_manager.post("/closed-periods", json={"until": "2024-04-01T00:00:00Z", "note": "First quarter"})
    assert answer.status_code == 201
    return usage, answer.json


def test_a_period_tells_until_when_by_whom_and_why(as_manager, as_member, as_other_manager, closed):
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


def test_writes_that_would_change_a_closed_usage_are_409_and_name_the_period(as_manager, as_member, closed):
    usage, period = closed
    later = as_member.post("/usages", json=USAGE | {"usage_at": LATER}).json
    path = f"/usages/{usage['id']}"
    file = "usage_at,amount\n2024-06-01T00:00:00Z,1\n2024-03-31T23:59:59Z,1\n"

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
        assert f"closed until 2024-04-01T00:00:00Z by period {period['id']}." in answer.json["detail"]
    imported = as_member.post("/imports?usage_type_id=100", data=file, content_type="text/csv")
    assert (imported.status_code, list(imported.json["errors"]["file"])) == (422, ["3"])
    assert as_member.get("/usages?sort=id").json == [usage, later]
    assert len(as_member.get(f"{path}/versions").json) == 1


def test_from_its_end_on_the_books_are_open(as_member, as_other_manager, closed):
    for client, usage_at in ((as_member, "2024-04-01T00:00:00Z"), (as_other_manager, USAGE["usage_at"])):
        assert client.post("/usages", json=USAGE | {"usage_at": usage_at}).status_code == 201


def test_an_adjustment_makes_up_for_a_closed_period(as_manager, as_member, closed):
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
        refused = as_member.post("/usages", json=adjustment | changes)
        assert (refused.status_code, list(refused.json["errors"]["json"])) == (422, [field])
    path = answer.headers["Location"]
    assert list(as_member.patch(path, json={"adjusts_closed_period_id": None}).json["errors"]["json"]) == ["amount"]


def test_a_restatement_remains_possible(as_manager, as_member, closed):
    usage, _ = closed
    factor = {"factor": 1, "valid_from": "1900-01-01T00:00:00Z", "source": "better"}
    as_manager.post("/usage-types/100/factors", json=factor)
    ask = {"usage_type_id": 100, "reason": "Better factors", "mode": "apply"}

    assert as_manager.post("/restatements", json=ask).json["usage_count"] == 1
    assert as_member.get(f"/usages/{usage['id']}").json["co2e_kg"] == 2


def test_reopening_takes_a_reason_and_stays_on_record(as_manager, as_member, as_auditor, closed):
    usage, period = closed
    path = f"/closed-periods/{period['id']}/reopen"
    assert as_manager.post(path, json={}).status_code == 422
    for client in (as_member, as_auditor):
        assert client.post(path, json={"reason": "x"}).status_code == 403

    reopened = as_manager.post(path, json={"reason": "A meter had been left out."})

    assert reopened.status_code == 200
    assert (reopened.json["reopened_by"], reopened.json["reopen_reason"]) == (
        as_manager.user.id,
        "A meter had been left out.",
    )
    assert as_member.patch(f"/usages/{usage['id']}", json={"amount": 3}).status_code == 200
    assert as_manager.post(path, json={"reason": "again"}).status_code == 409
    assert as_auditor.get("/closed-periods").json == [reopened.json]
    adjustment = USAGE | {"usage_at": LATER, "adjusts_closed_period_id": period["id"]}
    assert list(as_member.post("/usages", json=adjustment).json["errors"]["json"]) == ["adjusts_closed_period_id"]


def test_the_books_are_closed_forwards_and_not_beyond_now(as_manager, closed):
    for until, status in (
        ("2024-04-01T00:00:00Z", 409),
        ("2024-01-01T00:00:00Z", 409),
        ("2199-01-01T00:00:00Z", 422),
        ("2024-07-01T00:00:00Z", 201),
    ):
        assert as_manager.post("/closed-periods", json={"until": until}).status_code == status
    assert [period["until"][:10] for period in as_manager.get("/closed-periods").json] == ["2024-07-01", "2024-04-01"]
