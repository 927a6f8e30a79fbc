"""The registers of a usage point in Green Button files: what is recorded, and the meters of the usages."""

import io

import pytest

from tests.support import factories

FEED = '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">{}</feed>'
ENTRY = "<entry>{}<content>{}</content></entry>"
HOUR, DAY, MONTH = 3600, 86400, 2678400
START = 1704067200  # 2024-01-01T00:00:00Z
FORWARD, NET, REVERSE, TOTAL = 1, 4, 19, 20


def link(rel, href):
    return f'<link rel="{rel}" href="{href}"/>'


def espi(name, content=""):
    return f'<{name} xmlns="http://naesb.org/espi">{content}</{name}>'


def fields(**values):
    return "".join(f"<{name}>{value}</{name}>" for name, value in values.items())


def series(number, *values, flow=FORWARD, duration=HOUR, start=START, uom=72, point="UP/1", **extra):
    """Return the entries of a register with a ReadingType, and consecutive readings in Wh."""
    reading, type_ = f"{point}/MeterReading/{number}", f"ReadingType/{number}"
    kind = fields(accumulationBehaviour=4, commodity=1, flowDirection=flow, powerOfTenMultiplier=0, uom=uom, **extra)
    periods = (fields(duration=duration, start=start + place * duration) for place in range(len(values)))
    readings = "".join(
        f"<IntervalReading><timePeriod>{period}</timePeriod><value>{value}</value></IntervalReading>"
        for period, value in zip(periods, values, strict=True)
    )
    blocks = f"{reading}/IntervalBlock"
    links = link("self", reading) + link("up", f"{point}/MeterReading") + link("related", blocks)
    return [
        ENTRY.format(link("self", type_), espi("ReadingType", kind)),
        ENTRY.format(links + link("related", type_), espi("MeterReading")),
        ENTRY.format(link("self", f"{blocks}/1") + link("up", blocks), espi("IntervalBlock", readings)),
    ]


def feed(*all_series):
    point = ENTRY.format(link("self", "UP/1"), espi("UsagePoint", "<ServiceCategory><kind>0</kind></ServiceCategory>"))
    return FEED.format(point + "".join(entry for entries in all_series for entry in entries))


def load(client, text, status=201, **query):
    form = {"file": (io.BytesIO(text.encode()), "usage.xml")}
    answer = client.post(
        "/imports", query_string={"usage_type_id": 100} | query, data=form, content_type="multipart/form-data"
    )
    assert answer.status_code == status, answer.text
    return answer.json


def warnings(imported, kind="skipped"):
    return [(warning["line"], warning["message"]) for warning in imported["warnings"] if warning["kind"] == kind]


def total(client, query=""):
    return sum(usage["amount_in_type_unit"] for usage in client.get(f"/usages?{query}").json)


def meters(client):
    return {meter["external_id"]: meter["id"] for meter in client.get("/meters").json}


@pytest.fixture
def site(organization):
    return factories.site(organization, "Berlin")


@pytest.mark.parametrize("register", ["tou", "consumptionTier", "cpp"])
@pytest.mark.parametrize("creates", [True, False])
def test_registers_of_two_files_are_both_recorded(as_manager, site, register, creates):
    options = {"on_conflict": "skip"} | ({"create_meters": "true", "site_id": site.id} if creates else {})
    on, off = (
        feed(series(1, value, duration=MONTH, **{register: number})) for number, value in ((1, 100_000), (2, 50_000))
    )

    for _ in range(2):
        for file in (on, off):
            load(as_manager, file, again="true", **options)

    name = {"tou": "tou", "consumptionTier": "tier", "cpp": "cpp"}[register]
    assert total(as_manager) == 150
    assert [*meters(as_manager)] == [f"UP/1 electricity {name} {number}" for number in (1, 2) if creates]


def test_registers_of_one_file_are_both_recorded(as_manager):
    file = feed(series(1, 100_000, duration=MONTH, tou=1), series(2, 50_000, duration=MONTH, tou=2))

    imported = load(as_manager, file)

    assert (imported["amount"], imported["warnings"]) == (150, [])


@pytest.mark.parametrize("order", [(FORWARD, NET, TOTAL), (TOTAL, NET, FORWARD)])
def test_net_and_total_beside_forward_are_skipped(as_manager, order):
    file = feed(*(series(number, 1000 * number, flow=flow) for number, flow in enumerate(order, 1)))

    imported = load(as_manager, file)

    assert (imported["new_count"], imported["amount"]) == (1, 1 + order.index(FORWARD))
    because = "the forward energy of the usage point is recorded"
    assert warnings(imported) == [
        (line, f"1 reading was skipped (UP/1 electricity {name}): {because}.")
        for line, flow in enumerate(order, 1)
        for name in [{NET: "net", TOTAL: "total"}.get(flow)]
        if name
    ]


def test_net_alone_is_recorded(as_manager, site):
    imported = load(as_manager, feed(series(1, 1000, flow=NET)), create_meters="true", site_id=site.id)

    assert (imported["amount"], imported["warnings"], [*meters(as_manager)]) == (1, [], ["UP/1 electricity net"])
    rejected = load(as_manager, feed(series(1, 1000, -700, flow=NET, start=START + DAY)), 422)["errors"]["file"]
    assert rejected == {"2": ["amount: Must not be negative."]}


def test_reverse_is_skipped_with_the_way_out(as_manager):
    file = feed(series(1, 1000, 2000), series(2, 500, 250, flow=REVERSE))

    imported = load(as_manager, file)

    assert imported["amount"] == 3
    ((line, message),) = warnings(imported)
    assert line == 3
    assert message == (
        "2 readings were skipped (UP/1 electricity reverse): the energy was delivered to the grid. "
        "Set `reverse_usage_type_id` to record it as another usage type."
    )
    rejected = load(as_manager, feed(series(1, 500, flow=REVERSE)), 422)["errors"]["file"]
    assert "Set `reverse_usage_type_id`" in rejected["1"][0]


def test_reverse_is_recorded_as_its_own_type(as_manager, site):
    export = factories.usage_type("fed in", factor="0")
    file = feed(series(1, 1000), series(2, 500, flow=REVERSE))

    imported = load(as_manager, file, reverse_usage_type_id=export.id, create_meters="true", site_id=site.id)

    assert (imported["new_count"], imported["created_meter_count"], imported["warnings"]) == (2, 2, [])
    assert (total(as_manager, "usage_type_id=100"), total(as_manager, f"usage_type_id={export.id}")) == (1, 0.5)
    assert [*meters(as_manager)] == ["UP/1 electricity", "UP/1 electricity reverse"]


def test_daily_readings_beside_hourly_ones_are_skipped(as_manager):
    hourly, daily = series(1, 1000, 2000, 3000, 4000), series(2, 10_000, 7000, duration=DAY)

    for file in (feed(hourly, daily), feed(daily, hourly)):
        imported = load(as_manager, file, mode="dry-run", status=200)
        assert imported["amount"] == 17  # The second day has no hours.
        assert [message for _, message in warnings(imported)] == [
            "1 reading was skipped (UP/1 electricity forward): a register of the same energy has shorter readings at "
            "the same time."
        ]


def test_daily_readings_after_hourly_ones_are_an_overlap(as_manager, site):
    options = {"create_meters": "true", "site_id": site.id}
    load(as_manager, feed(series(1, 1000, 2000, start=START + HOUR)), **options)

    imported = load(as_manager, feed(series(2, 10_000, duration=DAY)), **options)

    assert [line for line, _ in warnings(imported, "overlap")] == [1]


def test_demand_beside_usage_is_skipped(as_manager):
    imported = load(as_manager, feed(series(1, 1000), series(2, 5000, uom=38)))

    assert imported["amount"] == 1
    ((line, message),) = warnings(imported)
    assert line == 2 and "they are no usage: uom must be a unit of usage, but is 38." in message
    rejected = load(as_manager, feed(series(2, 5000, uom=38)), 422)["errors"]["file"]
    assert rejected["1"][0].startswith("uom must be a unit of usage")


def test_other_usage_points_keep_their_net_energy(as_manager):
    file = feed(series(1, 1000), series(2, 500, flow=NET, point="UP/2"))

    assert load(as_manager, file)["amount"] == 1.5


def test_existing_meter_gives_its_usage_type(as_manager, site):
    meter = factories.meter(site, external_id="UP/1 electricity")

    load(as_manager, feed(series(1, 1000), series(2, 500, tou=1)), usage_type_id=100)
    file = feed(series(1, 1000, start=START + DAY))
    answer = as_manager.post(
        "/imports", data={"file": (io.BytesIO(file.encode()), "a.xml")}, content_type="multipart/form-data"
    )

    assert answer.status_code == 201, answer.text
    assert [usage["meter_id"] for usage in as_manager.get("/usages?sort=id").json] == [meter.id, None, meter.id]


def test_meter_of_the_query_takes_precedence(as_manager, site):
    meter = factories.meter(site)

    load(as_manager, feed(series(1, 1000)), meter_id=meter.id, create_meters="true")

    assert [usage["meter_id"] for usage in as_manager.get("/usages").json] == [meter.id]


def test_later_meters_record_nothing_twice(as_manager, site):
    file = feed(series(1, 1000, 2000))
    load(as_manager, file)

    options = {"create_meters": "true", "site_id": site.id, "again": "true"}
    skipping = load(as_manager, file, on_conflict="skip", **options)
    replacing = load(as_manager, file, on_conflict="replace", **options)

    assert (skipping["new_count"], skipping["skipped_count"], replacing["changed_count"]) == (0, 2, 2)
    assert {usage["meter_id"] for usage in as_manager.get("/usages").json} == {*meters(as_manager).values()}


def test_long_usage_point_has_a_short_meter(as_manager, site):
    point = "UP/" + "x" * 300

    load(as_manager, feed(series(1, 1000, point=point)), create_meters="true", site_id=site.id)

    ((name, _),) = meters(as_manager).items()
    assert name.endswith(" electricity") and len(name) < 40
