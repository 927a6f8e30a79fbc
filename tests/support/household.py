"""The ledger of a real British household: hourly readings of electricity and gas from tests/data."""

import csv
import gzip
import io
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from carbonapi.catalogue.factor_import import import_factors
from carbonapi.catalogue.models import UsageType
from carbonapi.db import db

PROJECT = Path(__file__).parents[2]
FACTORS = PROJECT / "carbonapi/catalogue/factors/gb-government-conversion-factors.csv"
READING_COUNT = 23_508


def readings(series):
    """Return a series as a CSV file for POST /imports, with amounts rounded to 0.001 kWh."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["usage_at", "amount"])
    with gzip.open(PROJECT / f"carbonapi/commands/demo/gb-household-{series}-hourly-kwh.csv.gz", "rt") as rows:
        for row in csv.DictReader(rows):
            writer.writerow([row["start"], Decimal(row["value"]).quantize(Decimal("0.001"))])
    return file.getvalue()


def import_household(manager):
    """Set the manager's organization to London, and import both series with the factors of each year."""
    import_factors(FACTORS)
    db.session.commit()
    place = {"timezone": "Europe/London", "region": "GB"}
    manager.patch(f"/organizations/{manager.user.organization_id}", json=place)
    for name, series in (("grid electricity", "electricity"), ("natural gas (gross CV)", "gas")):
        usage_type_id = db.session.scalar(sa.select(UsageType.id).where(UsageType.name == name))
        path = f"/imports?usage_type_id={usage_type_id}"
        answer = manager.post(path, data=readings(series), content_type="text/csv")
        assert (answer.status_code, answer.json["usage_count"]) == (201, READING_COUNT)
