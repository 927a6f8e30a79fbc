"""An array of usages in one POST: all or none are recorded, as single ones are."""

import json

import pytest

from carbonapi.db import db
from tests.support import factories
from tests.support.daily_totals import assert_totals_match_usages
from tests.support.databases import fetch_all

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 12.5}
# What differs between two organizations, and from one request to the next.
OWN = {
    "id", "organization_id", "user_id", "recorded_at", "recorded_by", "valuation_id", "site_id", "meter_id",
    "adjusts_closed_period_id",
}  # fmt: skip


def at(day, **fields):
    return USAGE | {"usage_at": f"2024-01-{day:02}T00:00:00Z"} | fields


def rows(organization_id, table, order="id"):
    statement = f"SELECT * FROM {table} WHERE organization_id = :organization_id ORDER BY {order}"
    return [dict(row._mapping) for row in fetch_all(statement, organization_id=organization_id)]


def errors_of(answer, status=422):
    assert answer.status_code == status, answer.text
    return {
        index: list(fields) if isinstance(fields, dict) else fields
        for index, fields in answer.json["errors"]["json"].items()
    }


def count(client):
    return int(json.loads(client.get("/usages").headers["X-Pagination"])["total"])


def test_array_answers_the_ids_in_its_order(as_member):
    answer = as_member.post("/usages", json=[at(day, amount=day) for day in (3, 1, 2)])

    assert answer.status_code == 201, answer.text
    assert list(answer.json) == ["ids"]
    assert not {"ETag", "Location"}.intersection(answer.headers.keys())
    amounts = [as_member.get(f"/usages/{id_}").json["amount"] for id_ in answer.json["ids"]]
    assert amounts == [3, 1, 2]
    assert as_member.get("/emissions/summary").json["usage_count"] == 3


@pytest.fixture
def electricity():
    """A type with factors of 2023 and 2024, and none later."""
    usage_type = factories.usage_type("UK electricity", "kWh", scope=2, category="purchased_electricity", factor=None)
    factories.emission_factor(usage_type, "0.20705", "2023-01-01", "2024-01-01")
    factories.emission_factor(usage_type, "0.177", "2024-01-01", "2025-01-01")
    factories.emission_factor(usage_type, "0.3", "2024-01-01", "2025-01-01", region="DE")
    return usage_type.id


def varied_usages(client, electricity):
    """Return usages of every kind, for a new organization that takes the latest factor and splits bills by days."""
    organization = db.session.get_one(factories.Organization, client.user.organization_id)
    settings = {"missing_factor": "latest", "factor_split": "days", "timezone": "Europe/Berlin"}
    assert client.patch(f"/organizations/{organization.id}", json=settings).status_code == 200
    berlin = factories.site(organization, "Berlin", region="DE")
    main, gas = factories.meter(berlin, "Main", electricity), factories.meter(berlin, "Gas", 102)
    period = client.post("/closed-periods", json={"until": "2020-01-01T00:00:00Z"}).json["id"]
    colleague = factories.user(organization)
    bill = {"usage_type_id": electricity, "usage_at": "2023-12-10T00:00:00Z", "usage_until": "2024-01-20T00:00:00Z"}
    usages = [
        at(1, usage_type_id=electricity),
        at(1, usage_type_id=electricity, amount="0.000001", region="DE"),
        at(2, usage_type_id=electricity, unit="MWh", amount="1.5"),
        at(2, usage_type_id=electricity, unit="therm", amount=3),
        at(3, usage_type_id=electricity, unit="KWH", amount="999999999999.999999"),
        at(3, site_id=berlin.id, usage_type_id=electricity),
        at(4, site_id=berlin.id, region="FR"),
        {"meter_id": main.id, "usage_at": "2024-02-01T00:00:00+01:00", "amount": 4},
        {"meter_id": main.id, "usage_at": "2024-02-02T00:00:00+01:00", "amount": 5, "unit": "GJ"},
        {"meter_id": gas.id, "usage_at": "2024-02-02T00:00:00+01:00", "amount": 0, "site_id": berlin.id},
        bill | {"amount": 41},
        bill | {"amount": "12.345678", "unit": "MWh", "quality": "estimated"},
        bill | {"amount": 7, "region": "DE"},
        bill | {"usage_at": "2024-03-01T00:00:00Z", "usage_until": "2024-03-02T12:00:00Z", "amount": 8},
        bill | {"usage_at": "2024-06-01T00:00:00Z", "usage_until": "2025-06-01T00:00:00Z", "amount": 365},
        at(5, usage_type_id=electricity, usage_at="2025-07-01T00:00:00Z"),
        at(5, usage_type_id=electricity, usage_at="2026-07-01T00:00:00.000001Z", region="DE"),
        at(6, amount=-3, adjusts_closed_period_id=period),
        at(6, amount=3, adjusts_closed_period_id=period, unit="MWh"),
        at(7, user_id=colleague.id),
        at(7, user_id=colleague.id, note='Tab\tand "quotes" \\ é 👍 {1,2}\nsecond line'),
        at(8, external_id="a,'b\"c\\", quality="estimated"),
        at(8, external_id="x/2", note=None, region=None, usage_until=None, site_id=None, meter_id=None),
        at(9, usage_at="2200-12-31T23:59:59Z"),
        at(9, usage_at="1900-01-01T00:00:00Z", usage_type_id=101, usage_until="1900-01-02T00:00:00Z"),
    ]
    usages[-1]["usage_at"], usages[-1]["usage_until"] = "2020-01-01T00:00:00Z", "2029-12-31T00:00:00Z"
    return [*usages, *(at(day, usage_type_id=electricity, amount=day) for day in range(10, 15))]


def test_array_equals_single_usages(sign_in, electricity):
    stored = []
    for is_array in (False, True):
        client = sign_in(factories.user(factories.organization(), "manager"))
        usages = varied_usages(client, electricity)
        assert len(usages) == 30
        for body in [usages] if is_array else usages:
            answer = client.post("/usages", json=body)
            assert answer.status_code == 201, answer.text
        organization_id = client.user.organization_id
        recorded = rows(organization_id, "usages")
        assert_totals_match_usages(organization_id)
        entries = [entry for entry in rows(organization_id, "audit_entries") if entry["action"] == "recorded"]
        assert [entry["subject_id"] for entry in entries] == [usage["id"] for usage in recorded]
        valuations = {row["id"]: row["key"] for row in rows(organization_id, "valuations")}
        totals = [
            {name: valuations[value] if name == "valuation_id" else value for name, value in total.items()}
            for total in rows(organization_id, "daily_totals", "1")
        ]
        for row in [*recorded, *totals, *entries]:
            for name in OWN & row.keys() - {"valuation_id"}:
                row[name] = row[name] is not None
        for usage in recorded:
            usage["valuation_id"] = valuations[usage["valuation_id"]]
        for entry in entries:
            for name in OWN & entry["new"].keys():
                entry["new"][name] = entry["new"][name] is not None
            for name in ("subject_id", "request_id", "actor_id", "at"):
                entry.pop(name, None)
        in_order = [sorted(map(repr, each)) for each in (totals, valuations.values())]
        stored.append([recorded, entries, *in_order])

    for single, array in zip(*stored, strict=True):
        assert array == single
    assert any(usage["split_co2e_kg"] for usage in stored[1][0]) and any(usage["provisional"] for usage in stored[1][0])


def test_errors_of_fields_are_by_index(as_member):
    usages = [
        at(1),
        {"usage_at": "2024-01-31", "amount": "much", "colour": 1},
        at(2, amount=-1),
        "text",
        None,
        [],
        at(3, usage_until="2024-01-02T00:00:00Z"),
        at(4),
    ]

    answer = as_member.post("/usages", json=usages)

    assert errors_of(answer) == {
        "1": ["usage_at", "amount", "colour", "usage_type_id"],
        "2": ["amount"],
        "3": ["_schema"],
        "4": ["_schema"],
        "5": ["_schema"],
        "6": ["usage_until"],
    }
    assert answer.json["errors"]["json"]["2"]["amount"] == ["Must not be negative."]
    assert answer.json["detail"].startswith("6 invalid. At index 1, usage_at: ")
    assert count(as_member) == 0


def test_errors_of_the_ledger_are_by_index(as_manager, as_other_manager, organization, electricity):
    archived, small = factories.usage_type(archived=True), factories.usage_type(unit="Wh")
    site = factories.site(organization, "Berlin")
    meter = factories.meter(site, valid_until=factories.at("2024-01-10"))
    closed = factories.meter(site, archived=True)
    assert as_manager.post("/usages", json=at(1, external_id="taken")).status_code == 201
    assert as_manager.post("/usages", json={"meter_id": meter.id} | at(1)).status_code == 201
    usages = [
        at(1),
        at(1, user_id=987654321),
        at(1, user_id=as_other_manager.user.id),
        at(1, usage_type_id=987654321),
        at(1, usage_type_id=archived.id),
        at(1, usage_type_id=987654321, unit="MWh"),
        at(1, usage_type_id=archived.id, unit="MWh"),
        at(1, unit="litre"),
        at(1, usage_type_id=small.id, unit="GWh", amount="999999999999"),
        at(1, site_id=987654321),
        at(2, meter_id=987654321),
        at(2, meter_id=closed.id),
        at(2, meter_id=meter.id, usage_type_id=101),
        at(20, meter_id=meter.id),
        at(1, meter_id=meter.id),
        at(3, meter_id=meter.id),
        at(3, meter_id=meter.id),
        at(1, external_id="taken"),
        at(1, external_id="twice"),
        at(2, external_id="twice"),
        at(1, usage_type_id=electricity, usage_at="2026-01-01T00:00:00Z"),
        at(1, usage_type_id=electricity, usage_at="2022-01-01T00:00:00Z"),
        at(1, adjusts_closed_period_id=987654321),
        at(2),
    ]
    before = [rows(organization.id, table) for table in ("usages", "audit_entries")]

    answer = as_manager.post("/usages", json=usages)

    assert errors_of(answer) == {
        "1": ["user_id"],
        "2": ["user_id"],
        "3": ["usage_type_id"],
        "4": ["usage_type_id"],
        "5": ["usage_type_id"],
        "6": ["usage_type_id"],
        "7": ["unit"],
        "8": ["amount"],
        "9": ["site_id"],
        "10": ["meter_id"],
        "11": ["meter_id"],
        "12": ["usage_type_id"],
        "13": ["usage_at"],
        "14": ["usage_at"],
        "15": ["usage_at"],
        "16": ["usage_at"],
        "17": ["external_id"],
        "18": ["external_id"],
        "19": ["external_id"],
        "20": ["usage_at"],
        "21": ["usage_at"],
        "22": ["adjusts_closed_period_id"],
    }
    assert answer.json["type"] == "urn:carbonapi:problem:validation-failed"
    assert [rows(organization.id, table) for table in ("usages", "audit_entries")] == before
    # A single usage with the same error has the same message.
    for index, messages in answer.json["errors"]["json"].items():
        single = as_manager.post("/usages", json=usages[int(index)])
        if index not in ("15", "16", "18", "19"):
            assert (index, single.json["errors"]["json"]) == (index, messages)
    assert single.status_code == 422


@pytest.mark.parametrize(
    ("usages", "indexes"),
    [
        ([at(1), at(1, external_id="taken")], ["1"]),
        ([at(1, external_id="a"), at(2), at(1, external_id="a")], ["0", "2"]),
        ([at(1, meter_id=...), at(2, meter_id=...), at(1, meter_id=...)], ["0", "2"]),
    ],
)
def test_repeated_usage_is_a_conflict(as_manager, organization, usages, indexes):
    meter = factories.meter(factories.site(organization))
    usages = [usage | ({"meter_id": meter.id} if "meter_id" in usage else {}) for usage in usages]
    assert as_manager.post("/usages", json=at(1, external_id="taken")).status_code == 201

    answer = as_manager.post("/usages", json=usages, headers={"Idempotency-Key": "a"})

    assert list(errors_of(answer, 409)) == indexes
    assert count(as_manager) == 1
    # The key is free again.
    assert as_manager.post("/usages", json=usages[1:2], headers={"Idempotency-Key": "b"}).status_code in (201, 409)
    assert as_manager.post("/usages", json=[at(9)], headers={"Idempotency-Key": "a"}).status_code == 201


def test_closed_period_is_a_conflict(as_manager, organization):
    factories.valuation(organization.id)  # So that the other usages lack nothing.
    period = as_manager.post("/closed-periods", json={"until": "2024-01-10T00:00:00Z"}).json

    answer = as_manager.post("/usages", json=[at(10), at(9), at(11), at(1)])

    assert errors_of(answer, 409) == {"1": ["usage_at"], "3": ["usage_at"]}
    assert answer.json["detail"].startswith("2 elements rejected, so nothing was recorded. First error, at index 1: ")
    assert answer.json["errors"]["json"]["1"]["usage_at"][0].startswith(f"Period {period['id']} is closed until ")
    assert count(as_manager) == 0


def test_missing_factors_keep_their_type(as_manager, organization, electricity):
    factories.valuation(organization.id)  # So that the other usage lacks nothing.
    usages = [at(1), *(at(1, usage_type_id=electricity, usage_at=f"{year}-01-01T00:00:00Z") for year in (2022, 2026))]

    answer = as_manager.post("/usages", json=usages)

    assert list(errors_of(answer)) == ["1", "2"]
    assert answer.json["type"] == "urn:carbonapi:problem:missing-factor"
    assert count(as_manager) == 0


def test_errors_are_few_statements(as_manager, electricity, statements):
    sent = []
    for number in (2, 200):
        usages = [at(1, usage_type_id=electricity, usage_at=f"2026-01-01T00:00:{n % 60:02}Z") for n in range(number)]
        statements.clear()
        assert len(errors_of(as_manager.post("/usages", json=usages))) == number
        sent.append(len(statements))
    assert sent[1] <= sent[0]


def test_member_may_not_record_for_others(as_member, as_manager, organization):
    factories.valuation(organization.id)  # So that both usages lack nothing else.
    answer = as_member.post("/usages", json=[at(1), at(1, user_id=as_manager.user.id)])

    assert answer.json["errors"]["json"] == {"1": {"user_id": [f"There is no user {as_manager.user.id}."]}}
    assert count(as_manager) == 0


def test_auditor_may_not_record(as_auditor):
    assert as_auditor.post("/usages", json=[at(1)]).status_code == 403


def test_admin_records_for_several_organizations(as_admin, as_manager, as_other_manager):
    period = as_other_manager.post("/closed-periods", json={"until": "2023-01-01T00:00:00Z"}).json["id"]
    site = factories.site(db.session.get_one(factories.Organization, as_manager.user.organization_id), region="GB")
    clients = [as_manager, as_other_manager, as_admin]
    usages = [at(1, user_id=client.user.id, external_id="same") for client in clients]
    usages += [
        at(2, user_id=as_manager.user.id, site_id=site.id),
        at(2, user_id=as_other_manager.user.id, amount=-1, adjusts_closed_period_id=period),
    ]

    answer = as_admin.post("/usages", json=usages)

    assert answer.status_code == 201, answer.text
    owners = [as_admin.get(f"/usages/{id_}").json["user_id"] for id_ in answer.json["ids"]]
    assert owners == [usage["user_id"] for usage in usages]
    assert [count(client) for client in clients[:2]] == [2, 2]
    for client in clients:
        assert_totals_match_usages(client.user.organization_id)
    wrong = [at(3, user_id=as_other_manager.user.id, site_id=site.id), at(3, user_id=987654321, site_id=site.id)]
    assert errors_of(as_admin.post("/usages", json=wrong)) == {"0": ["site_id"], "1": ["user_id"]}


def test_same_key_replays_the_ids(as_member):
    usages = [at(1), at(2)]
    first, again = (as_member.post("/usages", json=usages, headers={"Idempotency-Key": "a"}) for _ in range(2))

    assert first.status_code == again.status_code == 201
    assert (again.json, again.headers["Idempotency-Replayed"]) == (first.json, "true")
    assert count(as_member) == 2
    other = as_member.post("/usages", json=usages[:1], headers={"Idempotency-Key": "a"})
    assert other.status_code == 422


@pytest.mark.parametrize(("number", "status"), [(0, 422), (1, 201), (1000, 201), (1001, 422)])
def test_array_has_1_to_1000_usages(as_member, number, status):
    answer = as_member.post("/usages", json=[at(1, amount=place) for place in range(number)])

    assert answer.status_code == status, answer.text
    if status == 422:
        message = f"An array must have 1 to 1000 elements, not {number}."
        assert answer.json["errors"] == {"json": {"_schema": [message]}}
        assert count(as_member) == 0
    else:
        found = fetch_all("SELECT amount FROM usages WHERE id = ANY (:ids) ORDER BY id", ids=answer.json["ids"])
        assert [int(amount) for (amount,) in found] == list(range(number))
        assert answer.json["ids"] == sorted(set(answer.json["ids"]))


def test_intervals_of_an_array_have_a_million_days(as_member):
    bills = [at(1, usage_at="2000-01-01T00:00:00Z", usage_until="2009-12-31T00:00:00Z")] * 274

    answer = as_member.post("/usages", json=bills)

    assert answer.status_code == 422
    assert answer.json["detail"].startswith(
        "The intervals of an array must not have more than 1,000,000 days together."
    )
    assert as_member.post("/usages", json=bills[:2]).status_code == 201


def test_array_counts_as_one_write(as_member):
    left = []
    for body in (at(1), [at(2), at(3)], at(4)):
        left.append(as_member.post("/usages", json=body).headers["RateLimit"])
    remaining = [int(header.partition("r=")[2].partition(";")[0]) for header in left]
    assert remaining[0] - remaining[2] == 2


def test_recording_sends_few_statements(as_manager, organization, statements, electricity):
    site = factories.site(organization)
    meter = factories.meter(site)
    kinds = [{}, {"unit": "MWh"}, {"site_id": site.id}, {"meter_id": meter.id}]
    as_manager.post("/usages", json=[USAGE | kind for kind in kinds])
    sent = []
    for number in (4, 200):
        minutes = [f"2024-0{1 + (number > 4)}-02T{n // 60:02}:{n % 60:02}:00Z" for n in range(number)]
        usages = [USAGE | {"usage_at": minute} | kinds[n % 4] for n, minute in enumerate(minutes)]
        statements.clear()
        assert as_manager.post("/usages", json=usages).status_code == 201
        sent.append(len(statements))

    assert sent[0] == sent[1]


def test_plain_usages_are_one_statement(as_manager, statements):
    as_manager.post("/usages", json=USAGE)
    sent = []
    for body in (USAGE, [at(day) for day in range(1, 30)]):
        statements.clear()
        assert as_manager.post("/usages", json=body).status_code == 201
        sent.append(len(statements))

    assert sent[0] == sent[1]


def test_new_year_takes_few_statements(as_manager, statements):
    usage_type = factories.usage_type(factor=None)
    for year in range(2020, 2025):
        factories.emission_factor(usage_type, year, f"{year}-01-01", f"{year + 1}-01-01")
    as_manager.post("/usages", json={})  # It leases a part of the rate limit.
    sent = []
    for number in (5, 500):
        region = "DE" if number == 5 else "FR"
        usages = [
            at(1, usage_type_id=usage_type.id, usage_at=f"{2020 + n % 5}-01-01T00:00:00Z", region=region)
            for n in range(number)
        ]
        statements.clear()
        assert as_manager.post("/usages", json=usages).status_code == 201
        sent.append(len(statements))

    assert sent[0] == sent[1]
