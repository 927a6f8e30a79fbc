"""Usages in other units than their type's: the ledger stores the original amount, and the conversion is exact."""

import pytest

from tests.support import factories

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 2}


def measures(answer):
    assert answer.status_code in (200, 201), answer.text
    return tuple(answer.json[name] for name in ("amount", "unit", "amount_in_type_unit", "co2e_kg"))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("MWh", (2, "MWh", 2000, 3000)),
        ("mwh", (2, "MWh", 2000, 3000)),
        ("kWh", (2, "kwh", 2, 3)),
        ("KWH", (2, "kwh", 2, 3)),
        ("MJ", (2, "MJ", 0.555555555556, 0.833333333334)),
    ],
)
def test_amount_is_stored_as_recorded_and_converted(as_member, unit, expected):
    assert measures(as_member.post("/usages", json=USAGE | {"unit": unit})) == expected


def test_inconvertible_unit_is_422_with_alternatives(as_member):
    for unit in ("kg", "nonsense", "kilowatt_hour", "1000*Wh", "__import__('os')"):
        answer = as_member.post("/usages", json=USAGE | {"unit": unit})
        assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, ["unit"])
        assert "Use one of: kwh, Wh, MWh, GWh, kJ, MJ, GJ, TJ, therm, MMBtu." in answer.json["detail"]


def test_correction_keeps_or_changes_the_unit(as_member):
    path = as_member.post("/usages", json=USAGE | {"unit": "MWh"}).headers["Location"]

    assert measures(as_member.patch(path, json={"amount": 3})) == (3, "MWh", 3000, 4500)
    assert measures(as_member.patch(path, json={"unit": "kWh"})) == (3, "kwh", 3, 4.5)
    assert measures(as_member.patch(path, json={"amount": 4})) == (4, "kwh", 4, 6)
    assert measures(as_member.patch(path, json={"usage_type_id": 101})) == (4, "kg", 4, 107.72)
    assert measures(as_member.patch(path, json={"unit": "t"})) == (4, "t", 4000, 107720)
    rejected = as_member.patch(path, json={"usage_type_id": 100})
    assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, ["unit"])
    assert measures(as_member.put(path, json=USAGE)) == (2, "kwh", 2, 3)
    assert measures(as_member.patch(path, json={"amount": 0})) == (0, "kwh", 0, 0)
    assert measures(as_member.patch(path, json={"amount": 5})) == (5, "kwh", 5, 7.5)


def test_put_without_changes_makes_no_version(as_member):
    path = as_member.post("/usages", json=USAGE).headers["Location"]

    assert as_member.put(path, json=USAGE | {"unit": "kwh"}).json["version"] == 1
    assert as_member.put(path, json=USAGE).json["version"] == 1


def test_file_can_have_units(as_member):
    file = (
        "usage_type_id,usage_at,amount,unit\n100,2024-01-01T00:00:00Z,1,MWh\n"
        "101,2024-01-01T00:00:00Z,1,t\n100,2024-01-02T00:00:00Z,1,\n"
    )
    assert as_member.post("/imports", data=file, content_type="text/csv").status_code == 201
    usages = as_member.get("/usages?sort=id").json
    assert [(usage["unit"], usage["amount_in_type_unit"]) for usage in usages] == [
        ("MWh", 1000),
        ("t", 1000),
        ("kwh", 1),
    ]
    wrong = file.replace("2024-", "2025-") + "100,2024-01-01T00:00:00Z,1,kg\n999999,2024-01-01T00:00:00Z,1,kg\n"
    rejected = as_member.post("/imports", data=wrong, content_type="text/csv")
    assert list(rejected.json["errors"]["file"]) == ["5", "6"]
    assert rejected.json["errors"]["file"]["5"][0].startswith("unit: kg cannot be converted into kwh.")
    assert rejected.json["errors"]["file"]["6"][0].startswith("usage_type_id: There is no usage type 999999;")


def test_trend_adds_up_in_the_type_unit(as_member):
    for unit in ("MWh", "kWh"):
        as_member.post("/usages", json=USAGE | {"unit": unit})

    bucket = as_member.get("/emissions/trend").json[0]

    assert (bucket["amount"], bucket["unit"], bucket["co2e_kg"]) == (2002, "kwh", 3003)


def test_units_of_a_type_have_exact_ratios(as_member):
    units = {unit.pop("unit"): unit for unit in as_member.get("/usage-types/104/units").json}

    assert list(units) == ["m3", "ml", "l", "ft3", "gallon", "imperial gallon"]
    assert units["m3"] == {"numerator": 1, "denominator": 1}
    assert units["l"] == {"numerator": 1, "denominator": 1000}
    assert as_member.get("/usage-types/999999/units").status_code == 404


def test_unit_of_a_type_with_factors_cannot_change(as_admin):
    usage_type = factories.usage_type(unit="kWh")

    rejected = as_admin.patch(f"/usage-types/{usage_type.id}", json={"unit": "MWh"})
    assert (rejected.status_code, rejected.json["title"]) == (409, "Conflict")
    assert as_admin.patch(f"/usage-types/{usage_type.id}", json={"unit": "kWh", "name": "x"}).status_code == 200
    fresh = factories.usage_type(factor=None)
    assert as_admin.patch(f"/usage-types/{fresh.id}", json={"unit": "MWh"}).json["unit"] == "MWh"
