"""Files that name users by their e-mail addresses, and usage types by their names."""

import pytest

from carbonapi.catalogue.units import find_unit
from carbonapi.errors import ValidationFailed
from tests.support import factories
from tests.support.imports import post

AT = "2024-01-01T00:00:00Z"
LATER = "2024-01-02T00:00:00Z"
AMBIGUOUS = "heating is ambiguous: 102 (kwh), 103 (l), 104 (m3). Give the id of one, or its unit."


def errors(answer):
    assert answer.status_code == 422, answer.text
    return answer.json["errors"]["file"]


def recorded(client, answer):
    """(user, usage type, amount) of the usages of an import, in its order."""
    assert answer.status_code == 201, answer.text
    usages = client.get(f"/usages?import_id={answer.json['id']}&sort=id").json
    return [(usage["user_id"], usage["usage_type_id"], usage["amount"]) for usage in usages]


@pytest.fixture
def eve(organization):
    return factories.user(organization, email="Eve.Adams@Example.org")


def test_rows_can_name_users_and_usage_types(as_manager, eve):
    file = (
        "usage_at,amount,usage_type,user_email\n"
        f"{AT},1,electricity,eve.ADAMS@example.org\n"
        f"{AT},2,water,{as_manager.user.email}\n"
        f"{LATER},3, water ,\n"
    )

    mine = as_manager.user.id
    assert recorded(as_manager, post(as_manager, file, "")) == [(eve.id, 100, 1), (mine, 101, 2), (mine, 101, 3)]


def test_names_in_rows_take_precedence_over_query(as_manager, eve):
    query = f"?usage_type=water&user_email={eve.email.upper()}"
    file = (
        "usage_at,amount,usage_type,usage_type_id,user_email,user_id\n"
        f"{AT},1,,,,\n{AT},2,electricity,,,\n{AT},3,,102,,\n{AT},4,,,{as_manager.user.email},\n"
        f"{LATER},5,,,,{as_manager.user.id}\n"
    )

    mine = as_manager.user.id
    assert recorded(as_manager, post(as_manager, file, query)) == [
        (eve.id, 101, 1),
        (eve.id, 100, 2),
        (eve.id, 102, 3),
        (mine, 101, 4),
        (mine, 101, 5),
    ]


def test_unit_selects_among_types_of_same_name(as_member):
    lines = f"{AT},1,heating,kWh\n{AT},2,heating,l\n{AT},3,heating,M3\n{AT},4,electricity,\n{LATER},5,electricity,MWh\n"

    imported = post(as_member, f"usage_at,amount,usage_type,unit\n{lines}", "")

    mine = as_member.user.id
    assert recorded(as_member, imported) == [
        (mine, 102, 1),
        (mine, 103, 2),
        (mine, 104, 3),
        (mine, 100, 4),
        (mine, 100, 5),
    ]
    file = "usage_at,amount,unit\n2024-02-01T00:00:00Z,1,\n2024-02-01T00:00:00Z,2,l\n"
    assert recorded(as_member, post(as_member, file, "?usage_type=heating&unit=m3")) == [(mine, 104, 1), (mine, 103, 2)]
    by_id = "usage_at,amount,usage_type_id\n2024-03-01T00:00:00Z,1,\n2024-03-01T00:00:00Z,2,100\n"
    in_kwh = post(as_member, by_id, "?usage_type=heating&unit=kWh")
    assert recorded(as_member, in_kwh) == [(mine, 102, 1), (mine, 100, 2)]


def test_ambiguous_name_is_error_with_ids(as_member):
    file = f"usage_at,amount,usage_type,unit\n{AT},1,heating,\n{AT},1,heating,MWh\n{AT},1,heating,l\n{AT},1,water,l\n"

    shown = errors(post(as_member, file, ""))

    with pytest.raises(ValidationFailed, match="l cannot be converted into kg") as failure:
        find_unit("l", "kg")
    assert shown == {
        "2": [f"usage_type: {AMBIGUOUS}"],
        "3": [f"usage_type: {AMBIGUOUS}"],
        "5": [f"unit: {failure.value}"],
    }
    assert errors(post(as_member, f"usage_at,amount\n{AT},1\n", "?usage_type=heating")) == {
        "2": [f"usage_type: {AMBIGUOUS}"]
    }


def test_active_type_takes_precedence_over_archived(as_member):
    old = factories.usage_type("steam", unit="l", archived=True)
    new = factories.usage_type("steam", unit="kwh")
    gone = factories.usage_type("gone", archived=True)
    lines = f"{AT},1,steam\n"

    assert recorded(as_member, post(as_member, f"usage_at,amount,usage_type\n{lines}", ""))[0][1] == new.id != old.id
    shown = errors(post(as_member, f"usage_at,amount,usage_type\n{LATER},1,steam\n{AT},1,{gone.name}\n", ""))
    assert shown == {"3": ["usage_type: gone (kwh) is archived and accepts no new usages."]}


def test_unknown_names_are_errors_of_their_columns(as_manager, as_other_manager):
    stranger = as_other_manager.user.email
    file = (
        "usage_at,amount,usage_type,user_email\n"
        f"{AT},1,stem,\n{AT},1,water,unknown@example.org\n{AT},1,water,{stranger}\n{AT},1,water,unknown\n{AT},1,,\n"
        f"{AT},1,Water,\n{AT},x,stem,unknown@example.org\n"
    )

    assert errors(post(as_manager, file, "")) == {
        "2": ["usage_type: There is no usage type stem; GET /usage-types lists them."],
        "3": ["user_email: There is no user unknown@example.org."],
        "4": [f"user_email: There is no user {stranger}."],
        "5": ["user_email: Not a valid email address."],
        "6": ["usage_type: Missing data for required field."],
        "7": ["usage_type: There is no usage type Water; GET /usage-types lists them."],
        "8": ["amount: Not a number."],
    }


def test_member_can_name_only_themself(as_member, as_manager):
    file = f"usage_at,amount,user_email\n{AT},1,{as_member.user.email}\n{AT},1,{as_manager.user.email}\n"

    assert errors(post(as_member, file, "?usage_type=water")) == {
        "3": [f"user_email: There is no user {as_manager.user.email}."]
    }


def test_erased_user_cannot_be_named(as_manager, eve):
    email = eve.email
    assert as_manager.delete(f"/users/{eve.id}").status_code == 204

    shown = errors(post(as_manager, f"usage_at,amount,user_email\n{AT},1,{email}\n", "?usage_type=water"))

    assert shown == {"2": [f"user_email: There is no user {email}."]}


def test_admin_names_users_of_import_organization_only(as_admin, as_manager, as_other_manager):
    file = f"usage_at,amount,user_email\n{AT},1,{as_manager.user.email}\n{AT},1,{as_other_manager.user.email}\n"

    shown = errors(post(as_admin, file, f"?usage_type=water&user_email={as_manager.user.email}"))

    assert shown == {"3": [f"user_email: There is no user {as_other_manager.user.email}."]}
    one = post(as_admin, f"usage_at,amount\n{AT},1\n", f"?usage_type=water&user_email={as_manager.user.email}")
    assert one.json["organization_id"] == as_manager.user.organization_id


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("usage_type=stem", {"usage_type": ["There is no usage type stem; GET /usage-types lists them."]}),
        ("user_email=unknown@example.org", {"user_email": ["There is no user unknown@example.org."]}),
        ("user_email=unknown", {"user_email": ["Not a valid email address."]}),
        ("usage_type=water&usage_type_id=101", {"usage_type": ["Give usage_type or usage_type_id, not both."]}),
        ("user_email=a@example.org&user_id=1", {"user_email": ["Give user_email or user_id, not both."]}),
    ],
)
def test_unknown_name_in_query_is_422(as_manager, query, shown):
    answer = post(as_manager, f"usage_at,amount\n{AT},1\n", f"?{query}")

    assert (answer.status_code, answer.json["errors"]) == (422, {"query": shown})


def test_row_with_id_and_name_is_invalid(as_manager, eve):
    file = (
        "usage_at,amount,usage_type,usage_type_id,user_email,user_id\n"
        f"{AT},1,water,101,,\n{AT},1,water,,{eve.email},{eve.id}\n{AT},1,,,,\n{AT},1,,101,,{eve.id}\n"
    )

    assert errors(post(as_manager, file, "")) == {
        "2": ["usage_type: Give usage_type or usage_type_id, not both."],
        "3": ["user_email: Give user_email or user_id, not both."],
        "4": ["usage_type_id: Missing data for required field."],
    }
    assert errors(post(as_manager, f"usage_at,amount\n{AT},1\n", "")) == {
        "1": ["Missing column usage_type_id or usage_type or meter or meter_id."]
    }


def test_ndjson_lines_can_have_ids_or_names(as_manager, eve):
    lines = (
        f'{{"usage_at":"{AT}","amount":1,"usage_type":"water","user_email":"{eve.email}"}}\n'
        f'{{"usage_at":"{AT}","amount":2,"usage_type_id":100}}\n'
    )

    imported = post(as_manager, lines, "", content_type="application/x-ndjson")

    assert recorded(as_manager, imported) == [(eve.id, 101, 1), (as_manager.user.id, 100, 2)]


def test_renamed_columns_can_have_names(as_manager, eve):
    file = f"Start,Value,Kind,Who\n{AT},1,water,{eve.email}\n"

    imported = post(as_manager, file, "?columns=usage_at:Start,amount:Value,usage_type:Kind,user_email:Who")

    assert recorded(as_manager, imported) == [(eve.id, 101, 1)]


def test_rejected_lines_keep_names_and_can_be_resent(as_manager, eve):
    late = factories.usage_type("late", valid_from="2020-01-01")
    old = "2019-01-01T00:00:00Z"
    file = (
        "usage_at,amount,usage_type,user_email\n"
        f"{AT},1,heating,Eve.Adams@example.org\n{AT},2,watr,\n{old},3,late,Eve.Adams@example.org\n"
        f"{AT},x,water,Eve.Adams@example.org\n{LATER},5,water,eva@example.org\n{LATER},6,water,\n"
    )

    imported = post(as_manager, file, "?mode=partial").json

    assert [(error["line"], error["column"], error["found"]) for error in imported["errors"]] == [
        (2, "usage_type", "heating"),
        (3, "usage_type", "watr"),
        (4, "usage_at", old),
        (5, "amount", "x"),
        (6, "user_email", "eva@example.org"),
    ]
    rejected = as_manager.get(f"/imports/{imported['id']}/errors/export").text
    fixed = rejected.replace("watr", "water").replace(old, AT).replace("eva@", "eve.adams@").replace(",x,", ",4,")
    again = recorded(as_manager, post(as_manager, fixed.replace(",heating,", ",electricity,"), ""))
    assert again == [
        (eve.id, 100, 1),
        (as_manager.user.id, 101, 2),
        (eve.id, late.id, 3),
        (eve.id, 101, 4),
        (eve.id, 101, 5),
    ]


def test_file_with_names_can_be_resent(as_manager, eve):
    file = f"usage_at,amount,usage_type,user_email\n{AT},1,water,{eve.email}\n"
    post(as_manager, file, "")

    again = post(as_manager, file.replace(",1,", ",2,"), "?on_conflict=replace").json

    assert (again["new_count"], again["changed_count"]) == (0, 1)


def test_statement_count_does_not_grow_with_rows(as_manager, eve, statements):
    sent = []
    for lines in (10, 1000):
        file = "usage_at,amount,usage_type,user_email\n" + f"{AT},1,water,{eve.email}\n{AT},1,heating,\n" * lines
        statements.clear()
        assert post(as_manager, file, "?unit=kg").status_code == 422
        sent.append(len(statements))
    assert sent[0] == sent[1]
