"""Rows with missing references get the errors of requests, for any number of rows."""

import pytest

from tests.support import factories

AT = "2024-01-01T00:00:00Z"


def rejected(client, lines, query="mode=partial"):
    """Return (column, found, message) of each error of a partial import."""
    header = "usage_at,amount,usage_type_id,user_id,region,external_id\n"
    file = header + "".join(f"{line},{number}\n" for number, line in enumerate(lines))
    imported = client.post(f"/imports?{query}", data=file, content_type="text/csv")
    assert imported.status_code == 201, imported.text
    shown = client.get(f"/imports/{imported.json['id']}/errors?page_size=1000").json
    return [(error["column"], error["found"], error["message"]) for error in shown]


@pytest.fixture
def kinds(as_manager, as_other_manager):
    """Return rows with missing references, each with the column and the cell of the error."""
    late = factories.usage_type("100 % late", valid_from="2020-01-01")
    gap = factories.usage_type("a gap", factor=None)
    factories.emission_factor(gap, "1", valid_until="2001-01-01")
    factories.emission_factor(gap, "2", valid_from="2003-01-01", valid_until="2005-01-01")
    market = factories.usage_type("bought", factor=None)
    factories.emission_factor(market, "1", method="market")
    regional = factories.usage_type("regional", factor=None)
    factories.emission_factor(regional, "1", region="GB")
    factories.emission_factor(regional, "1", region="FR", valid_from="2010-01-01")
    none = factories.usage_type("nothing", factor=None)
    archived = factories.usage_type("gone", archived=True)
    assert as_manager.post("/closed-periods", json={"until": "1990-01-01T00:00:00Z"}).status_code == 201
    mine = as_manager.user.id
    return [
        (AT, 100, as_other_manager.user.id, "", "user_id", str(as_other_manager.user.id)),
        (AT, 999999, mine, "", "usage_type_id", "999999"),
        (AT, archived.id, mine, "", "usage_type_id", str(archived.id)),
        ("1980-01-01T00:00:00.500000Z", 100, mine, "", "usage_at", "1980-01-01T00:00:00.500000Z"),
        ("2019-12-31T23:59:59.999999Z", late.id, mine, "", "usage_at", "2019-12-31T23:59:59.999999Z"),
        ("2019-01-01T00:00:00Z", late.id, mine, "", "usage_at", "2019-01-01T00:00:00Z"),
        ("2002-01-01T00:00:00Z", gap.id, mine, "", "usage_at", "2002-01-01T00:00:00Z"),
        ("2005-01-01T00:00:00Z", gap.id, mine, "", "usage_at", "2005-01-01T00:00:00Z"),
        (AT, market.id, mine, "", "method", AT),
        (AT, regional.id, mine, "", "region", None),
        (AT, regional.id, mine, "US", "region", "US"),
        ("2009-01-01T00:00:00Z", regional.id, mine, "US", "region", "US"),
        (AT, none.id, mine, "", "usage_at", AT),
    ]


def test_every_row_gets_error_of_request(as_manager, kinds):
    request_errors = []
    for moment, type_id, user_id, region, column, found in kinds:
        body = {"usage_type_id": type_id, "user_id": user_id, "usage_at": moment, "amount": 1, "region": region or None}
        answer = as_manager.post("/usages", json=body)
        ((name, (message,)),) = answer.json["errors"]["json"].items()
        assert name == column
        request_errors.append((column, found, message))

    lines = [f"{moment},1,{type_id},{user_id},{region}" for moment, type_id, user_id, region, _, _ in kinds]
    assert rejected(as_manager, lines * 20) == request_errors * 20


def test_atomic_import_has_same_errors(as_manager, kinds):
    moment, type_id, user_id, *_ = kinds[4]
    file = f"usage_at,amount,usage_type_id,user_id\n{moment},1,{type_id},{user_id}\n"

    rejected = as_manager.post("/imports", data=file, content_type="text/csv")

    assert rejected.json["errors"]["file"] == {
        "2": [
            "usage_at: 100 % late (kwh) has no emission factor at 2019-12-31T23:59:59.999999Z; "
            "the first is valid from 2020-01-01T00:00:00Z."
        ]
    }


def test_missing_factor_message_is_short_after_hundred_causes(as_member):
    types = [factories.usage_type(f"late {n}", valid_from="2030-01-01") for n in range(101)]

    shown = rejected(as_member, [f"{AT},1,{one.id},," for one in types])

    messages = [message for _, _, message in shown]
    first = f"late 99 (kwh) has no emission factor at {AT}; the first is valid from 2030-01-01T00:00:00Z."
    assert messages[99] == first
    assert messages[100] == f"late 100 (kwh) has no emission factor at {AT}."
