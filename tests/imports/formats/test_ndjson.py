"""NDJSON is parsed like the JSON of a request, with the exact digits of numbers."""

import pytest

from tests.support import factories

NUMBERS = [
    "1e3", "1E3", "1E+3", "1.5E-2", "100e-2", "0.1", "0.30", "-0", "-0.0", "0e9", "1e-6", "1.0000000000e0",
    "123456789012.123456", "1.23456789012123456e11", "1e12", "1e-7", "1e400", "1e-400", "1E+400000000",
    "1e99999999999999999999", "-1e0", "1e", ".5e1", "NaN", "Infinity", '"1e3"', '"0.1"', "true",
]  # fmt: skip
LATER = '"2024-02-01T00:00:00Z"'
WHOLE = ["100", "100.0", "1e2", "1.00E+2", "1000e-1", "100.5", "1e-2", "1E+400000000", "1e99999999999999999999", "-1e2"]


def line(**written):
    """Return a usage as JSON, with these fields."""
    fields = {"usage_type_id": "100", "usage_at": '"2024-01-31T12:00:00Z"', "amount": "1"} | written
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"


def load(client, *lines, query=""):
    file = "".join(f"{written}\n" for written in lines)
    return client.post(f"/imports{query}", data=file, content_type="application/x-ndjson")


@pytest.mark.parametrize(
    ("name", "text"), [("amount", text) for text in NUMBERS] + [("usage_type_id", text) for text in WHOLE]
)
def test_numbers_are_validated_like_in_requests(as_member, name, text):
    body = line(**{name: text})

    one = as_member.post("/usages", data=body, content_type="application/json")
    many = load(as_member, line(**{name: text}, external_id='"a"'))

    assert (one.status_code, many.status_code) in {(201, 201), (422, 422), (400, 422)}, (one.text, many.text)
    if one.status_code == 201:
        first, second = as_member.get("/usages?sort=-id&page_size=2").json
        assert first[name] == second[name]


def test_number_with_exponent_keeps_digits(as_member):
    imported = load(
        as_member,
        line(amount="1.5E-2"),
        line(amount="1e3", usage_at=LATER),
        line(usage_type_id="1.01e2", amount="2e-6"),
    )

    assert imported.status_code == 201, imported.text
    assert [(usage["usage_type_id"], usage["amount"]) for usage in as_member.get("/usages?sort=id").json] == [
        (100, 0.015),
        (100, 1000),
        (101, 0.000002),
    ]


def test_number_in_text_field_is_invalid(as_member):
    written = line(note="1.10", external_id="5")

    one = as_member.post("/usages", data=written, content_type="application/json")
    many = load(as_member, written, line(), query="?mode=partial")

    shown = {name: ["Not a valid string."] for name in ("note", "external_id")}
    assert one.json["errors"]["json"] == shown
    assert [(error["line"], error["message"]) for error in many.json["errors"]] == [
        (1, "note: Not a valid string."),
        (1, "external_id: Not a valid string."),
    ]
    assert many.json["new_count"] == 1
    ignored = load(as_member, line(note="1.10", usage_at=LATER), query="?ignore=note")
    assert ignored.json["new_count"] == 1


def test_number_in_renamed_column_is_accepted(as_member):
    written = line(value="2.5e1").replace('"amount":1,', "")

    assert load(as_member, written, query="?columns=amount:value").json["amount"] == 25


def test_amount_is_rounded_after_exponent_is_expanded(as_member):
    imported = load(as_member, line(amount="2.8999999999999998e-2"), query="?round=3")

    assert (imported.json["amount"], imported.json["rounded_count"]) == (0.029, 1)


def test_numbers_are_verified_in_any_spelling(as_member):
    usage = factories.usage(as_member.user, "20")
    file = f'{{"id":{usage.id},"version":1.0,"co2e_kg":3e1,"amount":2.00E1}}\n'

    assert as_member.post("/verify", data=file, content_type="application/x-ndjson").json["differing"] == 0
