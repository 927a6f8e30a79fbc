"""A ledger of random usages, like one after years of use."""

from decimal import Decimal
from itertools import pairwise

from carbonapi.db import db
from tests.support.client import query_now

from . import factories

UNITS = {"kWh": ["kWh", "MWh", "GJ", "MJ", "therm", "MMBtu", "Wh", ""], "m3": ["m3", "l", "gallon", "ft3", ""]}
YEARS = (*[1] * 19, 9)  # Lengths of intervals. Each day of an interval has a daily total, so few are long.


def record_at_random(manager, dice, number):
    """Record this number of usages of several types, units and users; correct, delete and restate some of them.
    A few are of a meter. Every fifth is recorded in an array, the others by an import.

    `dice` is a random.Random. Return the time, for a query, when all were recorded and none had changed.
    """
    organization_id = manager.user.organization_id
    usage_types = [
        factories.usage_type(unit=unit, factor=f"{dice.randrange(10 ** dice.randrange(1, 15))}e-12")
        for unit in ("kWh", "kWh", "m3", "m3")
    ]
    for usage_type in usage_types[1:3]:
        own = {"organization_id": organization_id}
        factories.emission_factor(usage_type, f"{dice.randrange(10**13)}e-12", **own)
        changes = [f"{year}-{dice.randrange(1, 13):02}-01" for year in range(1962, 2030, 2)]
        for valid_from, valid_until in pairwise(["1900-01-01", *changes, None]):
            new = f"{dice.randrange(10**13)}e-12"
            factories.emission_factor(usage_type, new, valid_from, valid_until, region="GB", **own)
    colleague = factories.user(db.session.get_one(factories.Organization, organization_id))
    closed_period_id = manager.post("/closed-periods", json={"until": "1950-01-01T00:00:00Z"}).json["id"]
    rows = [["user_id,usage_type_id,usage_at,usage_until,amount,unit,region,note,external_id,adjusts_closed_period_id"]]
    for place in range(number):
        usage_type = dice.choice(usage_types)
        adjusts = dice.random() < 0.1
        amount = Decimal(dice.randrange(10 ** dice.randrange(1, 16))).scaleb(-6) * (-1 if adjusts else 1)
        year = dice.randrange(1960, 2030)
        day = f"{year}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}"
        time = f"{dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02}{dice.choice(['', '.000001'])}"
        rows.append(
            [
                str(dice.choice([manager.user.id, colleague.id])),
                str(usage_type.id),
                f"{day}T{time}{dice.choice(['Z', '+01:00', '-03:30'])}",
                dice.choice(["", f"{year + dice.choice(YEARS)}-01-01T00:00:00Z"]),
                f"{amount:f}",
                dice.choice(UNITS[usage_type.unit]),
                dice.choice(["", "GB", "US-CA"]),
                dice.choice(["", f"Meter {place}", f"={place}", f"'-{place} é"]),
                dice.choice(["", f"x-{place}"]),
                str(closed_period_id) if adjusts else "",
            ]
        )
    columns, *rows = rows
    names = columns[0].split(",")
    in_arrays = [usage_of(dict(zip(names, row, strict=True))) for row in rows[4::5]]
    for start in range(0, len(in_arrays), 700):
        answer = manager.post("/usages", json=in_arrays[start : start + 700])
        assert answer.status_code == 201, answer.text
    del rows[4::5]
    file = "".join(f"{','.join(row)}\n" for row in [columns, *rows])
    assert manager.post("/imports", data=file, content_type="text/csv").status_code == 201
    before = query_now()
    ids = [usage["id"] for usage in manager.get("/usages?page_size=1000&sort=id").json]
    for id_ in dice.sample(ids, min(len(ids) // 4, 100)):
        change = dice.choice([{"amount": 7}, {"unit": None, "amount": 0}, {"note": "Read 2 times"}, {"region": "GB"}])
        fields = {name: value for name, value in change.items() if value is not None}
        assert manager.patch(f"/usages/{id_}", json=fields | {"reason": "misread 1"}).status_code == 200
    deleted = "&".join(f"id={id_}" for id_ in dice.sample(ids, len(ids) // 20))
    assert manager.delete(f"/usages?{deleted}").status_code == 204
    site = factories.site(db.session.get_one(factories.Organization, organization_id), region="GB")
    meters = {usage_type.id: factories.meter(site, usage_type_id=usage_type.id) for usage_type in usage_types}
    for usage in manager.get("/usages?page_size=9&sort=usage_at").json:
        meter_id = meters[usage["usage_type_id"]].id
        assert manager.patch(f"/usages/{usage['id']}", json={"meter_id": meter_id}).status_code == 200
    factories.emission_factor(usage_types[0], "0.123456789012", organization_id=organization_id)
    restatement = {"usage_type_ids": [usage_types[0].id], "reason": "a supplier's 2 factors", "mode": "apply"}
    assert manager.post("/restatements", json=restatement).json["usage_count"] > 0
    return before


def usage_of(row):
    """Return the fields of a line for a request."""
    fields = {name: cell for name, cell in row.items() if cell}
    return fields | {name: int(cell) for name, cell in fields.items() if name.endswith("_id") and name != "external_id"}
