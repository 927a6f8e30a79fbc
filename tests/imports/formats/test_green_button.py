"""Green Button: the XML of utilities with meter readings."""

import io
import re
import tracemalloc
from pathlib import Path

import pytest

from carbonapi.errors import ValidationFailed
from carbonapi.imports.formats.green_button import read_green_button
from tests.support import factories

SAMPLE = (Path(__file__).parents[2] / "data" / "greenbutton-electricity-and-gas.xml").read_text()
POINT = "https://utility.example/espi/1_1/resource/RetailCustomer/7/UsagePoint/1"
DOCTYPE_ERROR = "The file must not have a document type (<!DOCTYPE …>). Remove it."
ELECTRICITY = {"usage_type_id": 100, "commodity": "electricity"}


def load(client, text, status=201, **query):
    form = {"file": (io.BytesIO(text.encode()), "usage.xml")}
    answer = client.post("/imports", query_string=query, data=form, content_type="multipart/form-data")
    assert answer.status_code == status, answer.text
    return answer.json


def errors_of(text, commodity="electricity"):
    """Return the errors by reading, or those of the file."""
    errors = {}
    try:
        list(read_green_button(io.BytesIO(text.encode()), commodity, (), (), errors))
    except ValidationFailed as failure:
        return failure.errors["file"]
    return errors


def changed(pattern, replacement, count=1):
    text, made = re.subn(pattern, replacement, SAMPLE, count=count)
    assert made == count
    return text


def test_hourly_readings_are_recorded_with_quality(as_member):
    imported = load(as_member, SAMPLE, **ELECTRICITY)

    assert (imported["new_count"], imported["amount"], imported["co2e_kg"]) == (6, 3.298, 4.947)
    usages = as_member.get("/usages?sort=usage_at").json
    assert [(usage["usage_at"], usage["amount"], usage["unit"], usage["quality"]) for usage in usages] == [
        ("2026-03-08T07:00:00Z", 412, "Wh", "measured"),
        ("2026-03-08T08:00:00Z", 398, "Wh", "measured"),
        ("2026-03-08T09:00:00Z", 405, "Wh", "estimated"),
        ("2026-03-08T10:00:00Z", 1210, "Wh", "measured"),
        ("2026-03-08T11:00:00Z", 873, "Wh", "measured"),
        ("2026-03-08T12:00:00Z", 0, "Wh", "measured"),
    ]
    assert {usage["usage_until"] for usage in usages} == {None}
    assert re.fullmatch("[0-9a-f]{16}/2026-03-08T07:00:00Z", usages[0]["external_id"])


def test_longer_readings_become_intervals(as_member):
    gas = factories.usage_type("gas", unit="kWh", factor="0.18")

    imported = load(as_member, SAMPLE.rstrip(), usage_type_id=gas.id, commodity="natural gas", format="greenbutton")

    assert (imported["new_count"], imported["warnings"]) == (2, [])
    usages = as_member.get("/usages?sort=usage_at").json
    assert [(u["usage_at"], u["usage_until"], u["amount"], u["unit"], u["quality"]) for u in usages] == [
        ("2026-01-01T06:00:00Z", "2026-02-01T06:00:00Z", 98.123, "therm", "measured"),
        ("2026-02-01T06:00:00Z", "2026-03-01T06:00:00Z", 80.45, "therm", "estimated"),
    ]


def test_file_sent_again_records_nothing_twice(as_member):
    load(as_member, SAMPLE, **ELECTRICITY)

    rejected = load(as_member, SAMPLE, 422, again="true", **ELECTRICITY)["errors"]["file"]
    assert len(rejected) == 6
    assert re.fullmatch(
        r"external_id: '\w+/2026-03-08T07:00:00Z' is already in the ledger: usage [0-9]+.", rejected["1"][0]
    )
    again = load(as_member, SAMPLE, on_conflict="skip", again="true", **ELECTRICITY)
    assert (again["new_count"], again["unchanged_count"]) == (0, 6)
    corrected = load(as_member, SAMPLE.replace("<value>412<", "<value>413<"), on_conflict="replace", **ELECTRICITY)
    assert (corrected["changed_count"], corrected["unchanged_count"]) == (1, 5)


def test_several_commodities_require_commodity(as_member):
    rejected = load(as_member, SAMPLE, 422, usage_type_id=100)["errors"]["file"]

    assert rejected == {"1": ["The file has several commodities. Set `commodity` to one of: electricity, natural gas."]}


def test_external_id_identifies_usage_point():
    both = changed("<commodity>7<", "<commodity>1<")

    ids = [
        cells["external_id"].partition("/")[0]
        for _, cells in read_green_button(io.BytesIO(both.encode()), None, (), (), {})
    ]

    assert len({*ids[:6]}) == len({*ids[6:]}) == 1
    assert ids[0] != ids[6]


def test_usage_type_is_required(as_member):
    rejected = load(as_member, SAMPLE, 422, commodity="electricity")["errors"]["file"]

    message = f"usage_type_id: There is no meter {POINT} electricity, so a usage type is required. Set usage_type_id."
    assert rejected == {str(line): [message] for line in range(1, 7)}


def test_errors_are_numbered_by_reading(as_member):
    wrong = SAMPLE.replace("<value>405<", "<value>4e2<").replace("<start>1772956800<", "<start>soon<")

    imported = load(as_member, wrong, mode="partial", **ELECTRICITY)

    assert imported["new_count"] == 4
    shown = [(error["line"], error["column"], error["found"], error["message"]) for error in imported["errors"]]
    assert shown == [
        (2, "usage_at", "soon", "Not an RFC 3339 date-time with an offset, such as 2024-01-31T12:00:00Z."),
        (3, "amount", "4e2", "Not a number."),
    ]


@pytest.mark.parametrize(
    ("value", "power", "uom", "amount"),
    [
        ("412", "3", "72", "412000"),
        ("412", "-3", "72", "0.412"),
        ("7", "6", "132", "7"),
        ("7", "0", "31", "0.007"),
        ("1234567890123456789", "-9", "72", "1234567890.123456789"),
        ("4.5", "-1", "72", "0.45"),
    ],
)
def test_values_are_scaled_by_exact_powers_of_ten(value, power, uom, amount):
    text = changed("<value>412<", f"<value>{value}<")
    text = text.replace("Multiplier>0<", f"Multiplier>{power}<").replace("<uom>72<", f"<uom>{uom}<")

    _, cells = next(read_green_button(io.BytesIO(text.encode()), "electricity", (), (), {}))

    assert cells["amount"] == amount


def test_one_estimated_quality_makes_reading_estimated():
    two = changed("<quality>17<", "<quality>17</quality></ReadingQuality><ReadingQuality><quality>8<")

    cells = [cells for _, cells in read_green_button(io.BytesIO(two.encode()), "electricity", (), (), {})]

    assert [cell["quality"] for cell in cells].count("estimated") == 2


@pytest.mark.parametrize(
    ("pattern", "replacement", "error"),
    [
        ("<uom>72<", "<uom>38<", "uom must be a unit of usage, but is 38. Supported: 31, 42, 72, "),
        ("Multiplier>0<", "Multiplier>1000<", "powerOfTenMultiplier must be a number of one or two digits, "),
        ("Behaviour>4<", "Behaviour>3<", "accumulationBehaviour must be 4 (amount of an interval), but is 3."),
    ],
)
def test_readings_of_other_types_are_invalid(pattern, replacement, error):
    shown = errors_of(changed(pattern, replacement))

    assert list(shown) == [1, 2, 3, 4, 5, 6]
    assert shown[1][0].startswith(error)


def test_readings_without_link_are_invalid():
    without = changed('rel="up" href="[^"]*/1/MeterReading/1/IntervalBlock"', 'rel="up" href="elsewhere"')

    assert errors_of(without)[6] == ["The reading has no link to a ReadingType."]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (SAMPLE[:-20], "Invalid or truncated XML: "),
        ("<feed/>", "The file has no IntervalReading, so it is not a Green Button file of usage."),
        ('<!DOCTYPE feed [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><feed>&b;</feed>', DOCTYPE_ERROR),
        ('<!DOCTYPE feed SYSTEM "feed.dtd"><feed/>', DOCTYPE_ERROR),
        (f'<feed><entry title="{"x" * 3_000_000}"/></feed>', "A tag or comment must not exceed 1048576 bytes."),
    ],
)
def test_other_xml_is_rejected(text, error):
    shown = errors_of(text)

    assert list(shown) == ["1"]
    assert shown["1"][0].startswith(error)


def test_memory_does_not_grow_with_file():
    def peak(count):
        reading = re.search("<IntervalReading>.*</IntervalReading>\n", SAMPLE)[0]
        long = io.BytesIO(SAMPLE.replace(reading, reading * count, 1).encode())
        tracemalloc.start()
        for _ in read_green_button(long, "electricity", (), (), {}):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(8_000) < peak(2_000) * 1.2
