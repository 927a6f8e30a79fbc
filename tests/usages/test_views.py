"""The ledger through HTTP."""

import datetime as dt
import json

import pytest

from tests.support import factories

ELECTRICITY = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 12.5}


def test_usage_gets_the_valid_factor(as_member):
    answer = as_member.post("/usages", json=ELECTRICITY)

    assert answer.status_code == 201
    usage = answer.json
    assert answer.headers["Location"] == f"/api/v1/usages/{usage['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert usage.pop("recorded_at").endswith("Z")
    assert usage == {
        "id": usage["id"],
        "organization_id": as_member.user.organization_id,
        "user_id": as_member.user.id,
        "usage_type_id": 100,
        "usage_at": "2024-01-31T12:00:00Z",
        "usage_until": None,
        "amount": 12.5,
        "unit": "kwh",
        "amount_in_type_unit": 12.5,
        "factor": 1.5,
        "market_factor": 1.5,
        "emission_factor_id": usage["emission_factor_id"],
        "valuation_id": usage["valuation_id"],
        "co2e_kg": 18.75,
        "market_co2e_kg": 18.75,
        "split_co2e_kg": None,
        "split_market_co2e_kg": None,
        "provisional": False,
        "region": None,
        "site_id": None,
        "meter_id": None,
        "quality": "measured",
        "note": None,
        "external_id": None,
        "adjusts_closed_period_id": None,
        "import_id": None,
        "restatement_id": None,
        "version": 1,
        "recorded_by": as_member.user.id,
        "reason": None,
    }
    assert as_member.get(answer.headers["Location"]).json["co2e_kg"] == 18.75


@pytest.mark.parametrize(
    ("amount", "digits", "co2e_kg"),
    [
        ("0.1", "0.1", "0.2"),
        ("0.3", "0.3", "0.6"),
        ("1.10", "1.1", "2.2"),
        ("1e2", "100", "200"),
        ("0.000001", "0.000001", "0.000002"),
        ("999999999999.999999", "999999999999.999999", "1999999999999.999998"),
        ("0", "0", "0"),
        ("-0.0", "0", "0"),
        ('"0.3"', "0.3", "0.6"),
        ("12.500000000", "12.5", "25"),
    ],
)
def test_digits_are_exact_from_request_to_response(as_member, amount, digits, co2e_kg):
    usage_type = factories.usage_type(factor="2")
    body = f'{{"usage_type_id": {usage_type.id}, "usage_at": "2024-01-01T00:00:00Z", "amount": {amount}}}'

    answer = as_member.post("/usages", data=body, content_type="application/json")

    assert answer.status_code == 201
    assert f'"amount":{digits},' in answer.text
    assert f'"co2e_kg":{co2e_kg},' in answer.text


def test_co2e_is_never_rounded(as_member):
    usage_type = factories.usage_type(factor="0.123456789012")

    answer = as_member.post("/usages", json=ELECTRICITY | {"usage_type_id": usage_type.id, "amount": "0.654321"})

    assert '"co2e_kg":0.080780369643120852,' in answer.text


def test_later_factor_keeps_recorded_co2e(as_member, as_admin):
    usage_type = factories.usage_type(factor="0.4")
    usage = as_member.post("/usages", json=ELECTRICITY | {"usage_type_id": usage_type.id}).json

    factor = {"factor": 0.1, "valid_from": "2024-01-01T00:00:00Z", "source": "newer"}
    assert as_admin.post(f"/usage-types/{usage_type.id}/factors", json=factor).status_code == 201

    assert as_member.get(f"/usages/{usage['id']}").json["co2e_kg"] == 5
    assert as_member.patch(f"/usages/{usage['id']}", json={"amount": 10, "note": "x"}).json["co2e_kg"] == 4
    moved = as_member.patch(f"/usages/{usage['id']}", json={"usage_at": "2024-01-31T12:00:01Z"}).json
    assert (moved["factor"], moved["co2e_kg"], moved["version"]) == (0.1, 1, 3)


def test_put_keeps_the_factor_of_the_same_time(as_member, as_admin):
    usage_type = factories.usage_type(factor="0.4")
    body = ELECTRICITY | {"usage_type_id": usage_type.id}
    usage = as_member.post("/usages", json=body | {"note": "first", "external_id": "a"}).json
    as_admin.post(
        f"/usage-types/{usage_type.id}/factors",
        json={"factor": 0.1, "valid_from": "2024-01-01T00:00:00Z", "source": "newer"},
    )

    replaced = as_member.put(f"/usages/{usage['id']}", json=body | {"amount": 1}).json

    assert (replaced["factor"], replaced["co2e_kg"]) == (0.4, 0.4)
    assert (replaced["note"], replaced["external_id"], replaced["user_id"]) == (None, None, as_member.user.id)
    assert as_member.put(f"/usages/{usage['id']}", json={"amount": 1}).json["errors"] == {
        "json": {
            "usage_type_id": ["Missing data for required field."],
            "usage_at": ["Missing data for required field."],
        }
    }


def test_regional_factor_takes_precedence(as_member, as_manager):
    usage_type = factories.usage_type(factor="1")
    factories.emission_factor(usage_type, "0.5", region="GB")
    body = ELECTRICITY | {"usage_type_id": usage_type.id, "amount": 2}

    assert as_member.post("/usages", json=body).json["co2e_kg"] == 2
    assert as_member.post("/usages", json=body | {"region": "GB"}).json["co2e_kg"] == 1
    assert as_member.post("/usages", json=body | {"region": "FR"}).json["co2e_kg"] == 2
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"region": "GB"})
    assert as_member.post("/usages", json=body).json["co2e_kg"] == 1


@pytest.mark.parametrize(
    ("usage_at", "region", "field", "message"),
    [
        ("2019-05-01T00:00:00Z", None, "usage_at", "the first is valid from 2020-01-01T00:00:00Z."),
        ("2021-05-01T00:00:00Z", None, "usage_at", "the last is valid until 2021-01-01T00:00:00Z. Create"),
        ("2022-05-01T00:00:00Z", None, "region", "without a region; there is one for region GB."),
        ("2022-05-01T00:00:00Z", "FR", "region", "in region FR; there is one for region GB."),
    ],
)
def test_missing_factor_is_422_with_known_factors(as_member, usage_at, region, field, message):
    usage_type = factories.usage_type(name="steam", factor=None)
    factories.emission_factor(usage_type, "1", "2020-01-01", "2021-01-01")
    factories.emission_factor(usage_type, "1", "2022-01-01", "2023-01-01", region="GB")

    answer = as_member.post(
        "/usages", json={"usage_type_id": usage_type.id, "usage_at": usage_at, "amount": 1, "region": region}
    )

    assert answer.status_code == 422
    assert answer.json["type"] == "urn:carbonapi:problem:missing-factor"
    assert message in answer.json["errors"]["json"][field][0]
    assert answer.json["detail"].startswith(f"steam (kwh) has no emission factor at {usage_at}")
    assert as_member.get("/usages").json == []


def test_archived_type_accepts_no_usages(as_member):
    usage_type = factories.usage_type(archived=True)

    answer = as_member.post("/usages", json=ELECTRICITY | {"usage_type_id": usage_type.id})

    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, ["usage_type_id"])


def test_manager_records_for_others_member_only_for_self(as_member, as_manager, as_other_manager):
    theirs = as_manager.post("/usages", json=ELECTRICITY | {"user_id": as_member.user.id})
    assert (theirs.status_code, theirs.json["user_id"]) == (201, as_member.user.id)
    assert theirs.json["recorded_by"] == as_manager.user.id

    for client, user_id in (
        (as_member, as_manager.user.id),
        (as_other_manager, as_member.user.id),
        (as_manager, 10**15),
    ):
        answer = client.post("/usages", json=ELECTRICITY | {"user_id": user_id})
        assert answer.status_code == 422
        assert answer.json["errors"] == {"json": {"user_id": [f"There is no user {user_id}."]}}


def test_usage_moves_only_within_the_organization(as_member, as_manager, as_other_manager):
    usage = as_manager.post("/usages", json=ELECTRICITY).json

    moved = as_manager.patch(f"/usages/{usage['id']}", json={"user_id": as_member.user.id})
    assert (moved.status_code, moved.json["user_id"]) == (200, as_member.user.id)
    answer = as_manager.patch(f"/usages/{usage['id']}", json={"user_id": as_other_manager.user.id})
    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, ["user_id"])


def test_external_id_is_unique_in_the_organization(as_member, as_other_manager):
    body = ELECTRICITY | {"external_id": "meter-1"}
    first = as_member.post("/usages", json=body)
    assert first.status_code == 201
    again = as_member.post("/usages", json=body)
    assert again.status_code == 409
    assert list(again.json["errors"]["json"]) == ["external_id"]
    assert as_other_manager.post("/usages", json=body).status_code == 201
    other = as_member.post("/usages", json=ELECTRICITY).json
    assert as_member.patch(f"/usages/{other['id']}", json={"external_id": "meter-1"}).status_code == 409


def test_bulk_delete_is_all_or_nothing(as_member, as_other_manager):
    mine = [as_member.post("/usages", json=ELECTRICITY).json["id"] for _ in range(3)]
    foreign = as_other_manager.post("/usages", json=ELECTRICITY).json["id"]

    rejected = as_member.delete(f"/usages?id={mine[0]}&id={foreign}")
    assert (rejected.status_code, rejected.json["detail"]) == (
        404,
        f"There is no usage {foreign}. Nothing was changed.",
    )
    assert len(as_member.get("/usages").json) == 3
    assert as_member.delete(f"/usages?id={mine[0]}&id={mine[1]}").status_code == 204
    assert [usage["id"] for usage in as_member.get("/usages").json] == [mine[2]]
    assert as_member.delete("/usages").json["errors"] == {"query": {"id": ["Missing data for required field."]}}
    assert as_member.delete(f"/usages/{mine[2]}").status_code == 204
    assert as_member.get(f"/usages/{mine[2]}").status_code == 404


def test_stale_etag_is_412(as_member):
    usage = as_member.post("/usages", json=ELECTRICITY)
    path, tag = usage.headers["Location"], usage.headers["ETag"]

    assert as_member.patch(path, json={"amount": 2}, headers={"If-Match": tag}).headers["ETag"] == '"2"'
    for request in (
        lambda: as_member.patch(path, json={"amount": 3}, headers={"If-Match": tag}),
        lambda: as_member.put(path, json=ELECTRICITY, headers={"If-Match": tag}),
        lambda: as_member.delete(path, headers={"If-Match": tag}),
        lambda: as_member.delete(path, headers={"If-Match": 'W/"1"'}),
        lambda: as_member.delete(path, headers={"If-Match": "nonsense"}),
    ):
        assert request().status_code == 412
    assert as_member.get(path).json["amount"] == 2
    assert as_member.get(path, headers={"If-None-Match": '"2"'}).status_code == 304
    assert as_member.get(path, headers={"If-None-Match": '"1"'}).status_code == 200
    assert as_member.delete(path, headers={"If-Match": '"1", "2"'}).status_code == 204


def test_weak_etag_names_the_current_version(as_member):
    """A proxy that compresses responses makes their ETags weak."""
    usage = as_member.post("/usages", json=ELECTRICITY)
    path, tag = usage.headers["Location"], f"W/{usage.headers['ETag']}"

    assert as_member.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert as_member.patch(path, json={"amount": 2}, headers={"If-Match": f'"7", {tag}'}).status_code == 200
    assert as_member.patch(path, json={"amount": 3}, headers={"If-Match": tag}).status_code == 412
    assert as_member.get(path, headers={"If-None-Match": tag}).status_code == 200
    assert as_member.delete(path, headers={"If-Match": 'W/"2"'}).status_code == 204


def test_correction_without_changes_makes_no_version(as_member):
    usage = as_member.post("/usages", json=ELECTRICITY).json

    same = as_member.patch(f"/usages/{usage['id']}", json={"amount": 12.5})

    assert same.json == usage


def test_correction_records_time_and_author(as_member, as_manager):
    usage = as_member.post("/usages", json=ELECTRICITY).json

    corrected = as_manager.patch(f"/usages/{usage['id']}", json={"amount": 1}).json

    assert corrected["recorded_by"] == as_manager.user.id
    assert dt.datetime.fromisoformat(corrected["recorded_at"]) > dt.datetime.fromisoformat(usage["recorded_at"])


@pytest.fixture
def five(as_member):
    """The member's usages on five days of January 2024; returns their client."""
    for day, amount in enumerate((3, 1, 2, 2, 5), 1):
        factories.usage(as_member.user, amount, f"2024-01-{day:02}")
    return as_member


def amounts(answer):
    assert answer.status_code == 200, answer.json
    return [usage["amount"] for usage in answer.json]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [5, 2, 2, 1, 3]),
        ("sort=usage_at", [3, 1, 2, 2, 5]),
        ("sort=amount,-usage_at", [1, 2, 2, 3, 5]),
        ("sort=-co2e_kg", [5, 3, 2, 2, 1]),
        ("sort=id", [3, 1, 2, 2, 5]),
        ("start=2024-01-02&end=2024-01-04&sort=id", [1, 2]),
        ("start=2024-01-02T00:00:00Z&end=2024-01-04T00:00:00.000001Z&sort=id", [1, 2, 2]),
        ("start=2024-01-02T01:00:00%2B01:00&end=2024-01-03&sort=id", [1]),
        ("start=2024-01-02&timezone=America/New_York&sort=id", [2, 2, 5]),
        ("usage_type_id=101", []),
        ("usage_type_id=101&usage_type_id=100&end=2024-01-02", [3]),
        ("quality=estimated", []),
        ("quality=measured&quality=estimated&end=2024-01-02", [3]),
        ("external_id=x", []),
        ("import_id=1", []),
        ("scope=2", []),
        ("page_size=2&page=2&sort=id", [2, 2]),
        ("page=4&page_size=2", []),
    ],
)
def test_list_is_filtered_sorted_and_paged(five, query, expected):
    assert amounts(five.get(f"/usages?{query}")) == expected


def test_trailing_slash_is_ignored(five):
    assert five.get("/usages/").json == five.get("/usages").json


def test_page_headers_have_its_position(five):
    answer = five.get("/usages?page_size=2&page=2&sort=usage_at&quality=measured&quality=estimated")

    assert json.loads(answer.headers["X-Pagination"]) == {
        "total": 5,
        "total_pages": 3,
        "first_page": 1,
        "last_page": 3,
        "page": 2,
        "previous_page": 1,
        "next_page": 3,
    }
    query = "page_size=2&sort=usage_at&quality=measured&quality=estimated"
    assert answer.headers["Link"] == ", ".join(
        f'</api/v1/usages?{query}&page={page}>; rel="{relation}"'
        for relation, page in (("first", 1), ("prev", 1), ("next", 3), ("last", 3))
    )


def test_pages_of_equal_rows_do_not_overlap(as_member):
    recorded = [factories.usage(as_member.user).id for _ in range(7)]

    pages = [as_member.get(f"/usages?page_size=3&page={page}").json for page in (1, 2, 3)]

    assert [usage["id"] for page in pages for usage in page] == recorded[::-1]


def test_page_past_the_end_is_empty(five):
    answer = five.get("/usages?page=1000000000&page_size=1000")

    assert (answer.status_code, answer.json) == (200, [])
    pagination = json.loads(answer.headers["X-Pagination"])
    assert (pagination["total"], pagination["previous_page"], pagination["next_page"]) == (5, 1, None)


@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ("strat=2024-01-01", "strat"),
        ("start=2024-01-01T00:00:00", "start"),
        ("start=2024-02-30", "start"),
        ("start=1899-12-31", "start"),
        ("end=2201-01-01", "end"),
        ("start=2024-01-02&end=2024-01-01", "end"),
        ("start=2024-01-01&end=2024-01-01", "end"),
        ("start=", "start"),
        ("timezone=Mars/Olympus", "timezone"),
        ("timezone=../../etc/passwd", "timezone"),
        ("sort=password", "sort"),
        ("sort=", "sort"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1.0", "page"),
        ("page=1&page=2", "page"),
        ("page=1000000000000000000000", "page"),
        ("page_size=1001", "page_size"),
        ("page_size=٣", "page_size"),
        ("user_id=1_000", "user_id"),
        ("user_id=abc", "user_id"),
        ("user_id=" + "9" * 30, "user_id"),
        ("user_id=+1", "user_id"),
        ("quality=guessed", "quality"),
        ("scope=4", "scope"),
        ("external_id=a%00b", "external_id"),
        ("cursor=x", "cursor"),
        ("cursor=&page=1", "cursor"),
    ],
)
def test_invalid_query_argument_is_named(five, query, argument):
    answer = five.get(f"/usages?{query}")

    assert answer.status_code == 422
    assert list(answer.json["errors"]["query"]) == [argument]
    assert answer.content_type == "application/problem+json"


def test_every_operation_rejects_unknown_query_arguments(five):
    usage_id = five.get("/usages").json[0]["id"]
    for request in (
        lambda: five.get(f"/usages/{usage_id}?fields=id"),
        lambda: five.post("/usages?dry_run=true", json=ELECTRICITY),
        lambda: five.patch(f"/usages/{usage_id}?x=1", json={"amount": 1}),
        lambda: five.delete(f"/usages/{usage_id}?x=1"),
        lambda: five.get("/auth/me?x=1"),
        lambda: five.get("/health/live?x=1"),
    ):
        answer = request()
        assert (answer.status_code, "query" in answer.json["errors"]) == (422, True)
    assert len(five.get("/usages").json) == 5


def test_user_usages_are_listed(five, as_manager, as_other_manager):
    path = f"/users/{five.user.id}/usages"

    assert amounts(as_manager.get(f"{path}?sort=usage_at&page_size=2")) == [3, 1]
    assert amounts(five.get(f"{path}?sort=usage_at&page_size=2")) == [3, 1]
    assert as_other_manager.get(path).status_code == 404
    assert five.get(f"/users/{as_manager.user.id}/usages").status_code == 404
    assert as_manager.get(f"/users/{as_manager.user.id}/usages").json == []
