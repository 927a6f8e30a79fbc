"""The carbon intensity of electricity by zone and hour, day, month or year, of Electricity Maps, in g CO2e per kWh."""

import datetime as dt
import re
from decimal import Decimal

from ..published_table import NO_FIGURE, Edition, PublishedTable, Reading
from ..tables import file_error
from .electricity import PER_GRAM, grid

DIRECT = r"Carbon intensity gCO.?eq/kWh \(direct\)"
COLUMNS = (r"Datetime \(UTC\)", r"Zone id", DIRECT)
HOURS = {"hour": 1, "day": 24}
URL = "https://portal.electricitymaps.com/datasets"


def read(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    """Return the direct intensity of each zone: life-cycle figures include emissions that are not of scope 2."""
    moment, zone, intensity = (table.column(name) for name in COLUMNS)
    readings: list[Reading] = []
    factors: list[tuple[dt.datetime, str, Decimal]] = []
    lines = []
    for line in table.lines:
        factor = table.figure(line, intensity, PER_GRAM)
        try:
            start = dt.datetime.fromisoformat(line.cells[moment])
        except ValueError:
            table.errors[line.number] = f"{table.header[moment]}: Must be a time such as 2024-01-01 00:00:00."
            continue
        if factor is None or not re.fullmatch("[A-Z]{2}", line.cells[zone]):
            reason = NO_FIGURE if factor is None else "It is a zone within a country. Use a column mapping."
            readings.append((line, reason))
            continue
        factors.append((start.replace(tzinfo=None), line.cells[zone], factor))
        lines.append(line)
    step = _step(table, sorted({start for start, _, _ in factors}))
    for line, (start, region, factor) in zip(lines, factors, strict=True):
        row = grid(table, line, region, str(start.year), factor, f"Electricity Maps {start.year}")
        ends = {"valid_from": f"{start.isoformat()}Z", "valid_until": f"{_end(start, step).isoformat()}Z"}
        readings.append((line, row | ends))
    edition = str(max((start.year for start, _, _ in factors), default=""))
    return Edition("Electricity Maps", edition, None, "ODbL", URL), readings


def _step(table: PublishedTable, starts: list[dt.datetime]) -> str:
    """Return the interval of the rows. A single time does not show it."""
    if len(starts) < 2:
        message = "Use a column mapping, with `valid_until` as a column or a constant."
        raise file_error(table.name, 1, message, "has a single time, so the interval of its factors is unknown")
    hours = min((later - sooner).total_seconds() / 3600 for sooner, later in zip(starts, starts[1:], strict=False))
    return "hour" if hours < 24 else "day" if hours < 24 * 28 else "month" if hours < 24 * 365 else "year"


def _end(start: dt.datetime, step: str) -> dt.datetime:
    if step in HOURS:
        return start + dt.timedelta(hours=HOURS[step])
    if step == "year":
        return start.replace(year=start.year + 1)
    return (start.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
