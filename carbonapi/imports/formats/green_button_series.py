"""The series of a Green Button file: which readings are recorded, and the names of their meters.

The registers of a usage point may measure the same energy: forward, net and total, or hours and days. Each energy is
recorded once. A meter has the readings of one usage point, commodity, direction, time of use and tier.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

Record = dict[str, str]
NET, REVERSE, TOTAL = "4", "19", "20"
DIRECTIONS = {NET: "net", REVERSE: "reverse", TOTAL: "total"}  # All other energy is forward.
REGISTERS = {"tou": "tou", "consumptionTier": "tier", "cpp": "cpp"}
REVERSE_IS_NO_USAGE = (
    "the energy was delivered to the grid. Set `reverse_usage_type_id` to record it as another usage type"
)
MAX_METER_LENGTH = 200
_EXPONENT = re.compile(r"-?[0-9]{1,2}")


class Span(NamedTuple):
    """A time in seconds since 1970, and the longest duration of the readings within it."""

    start: int
    end: int
    duration: int

    def union(self, other: "Span | None") -> "Span":
        if other is None:
            return self
        return Span(min(self.start, other.start), max(self.end, other.end), max(self.duration, other.duration))


@dataclass(frozen=True)
class Series:
    """The common properties of readings of one register.

    id: distinguishes the external ids of their usages. meter: the external id of their meter. error: why they cannot
    be imported. not_usage: the same, if another register of the usage point can be. skipped_because: why none is
    recorded. finer: the times of registers with shorter readings of the same energy.
    """

    point: str
    commodity: str
    direction: str
    registers: str
    unit: str
    exponent: int
    error: str | None
    not_usage: str | None
    span: Span | None = None
    usage_type_id: int | None = None
    skipped_because: str | None = None
    finer: tuple[Span, ...] = ()

    @property
    def id(self) -> str:
        direction = self.direction if self.direction == "reverse" else ""
        return _digest(_join(self.point, direction, self.registers))

    @property
    def meter(self) -> str | None:
        """Return the external id of the meter, or None without a usage point."""
        if not self.point:
            return None
        direction = "" if self.direction == "forward" else self.direction
        name = _join(self.point, self.commodity, direction, self.registers)
        is_short = len(name) <= MAX_METER_LENGTH and name.isprintable()
        registers = self.registers and _digest(self.registers)
        return name if is_short else _join(_digest(self.point), self.commodity, direction, registers)

    @property
    def reason(self) -> str:
        return self.skipped_because or "a register of the same energy has shorter readings at the same time"

    def within(self, spans: Iterable[Span]) -> "Series":
        """Return the series with the time of its readings."""
        whole: Span | None = None
        for span in spans:
            whole = span.union(whole)
        return replace(self, span=whole)

    def skips(self, reading: Span | None) -> bool:
        """Return whether a reading at this time is skipped."""
        if self.skipped_because is not None:
            return True
        return reading is not None and any(
            reading.start < span.end and reading.end > span.start and reading.duration > span.duration
            for span in self.finer
        )


def create_series(
    point: str, commodity: str, reading_type: Record, unit: str, exponent: int, not_usage: str | None
) -> Series:
    """Return the series of a usage point and a ReadingType. exponent: the power of ten that converts to the unit."""
    power = reading_type.get("powerOfTenMultiplier", "0")
    error = not_usage
    if error is None and not _EXPONENT.fullmatch(power):
        error = f"powerOfTenMultiplier must be a number of one or two digits, but is {power}."
    values = ((name, reading_type.get(field, "0")) for field, name in REGISTERS.items())
    return Series(
        point=point,
        commodity=commodity,
        direction=DIRECTIONS.get(reading_type.get("flowDirection", ""), "forward"),
        registers=_join(*(f"{name} {value}" for name, value in values if value not in ("", "0"))),
        unit=unit,
        exponent=exponent + (0 if error else int(power)),
        error=error,
        not_usage=not_usage,
    )


def choose_series(all_series: Mapping[str, Series], reverse_usage_type_id: int | None) -> dict[str, Series]:
    """Return the series with the decision which of their readings are skipped."""
    by_point: dict[Any, list[Series]] = defaultdict(list)
    for series in dict.fromkeys(all_series.values()):
        by_point[series.point, series.commodity].append(series)
    chosen: dict[Series, Series] = {}
    for of_point in by_point.values():
        usable = [series for series in of_point if series.error is None]
        directions = {series.direction for series in usable}
        by_energy: dict[Any, list[Series]] = defaultdict(list)
        for series in usable:
            by_energy[series.direction, series.registers].append(series)
        for series in of_point:
            if series.error is not None:
                reason = f"they are no usage: {series.not_usage.rstrip('.')}" if series.not_usage and usable else None
                chosen[series] = replace(series, skipped_because=reason)
            elif series.direction == "reverse":
                reason = None if reverse_usage_type_id is not None else REVERSE_IS_NO_USAGE
                chosen[series] = replace(series, usage_type_id=reverse_usage_type_id, skipped_because=reason)
            else:
                chosen[series] = replace(series, skipped_because=_same_energy(series.direction, directions))
            same_energy = by_energy[series.direction, series.registers]
            spans = (other.span for other in same_energy if other is not series and other.span is not None)
            finer = tuple(span for span in spans if series.span and span.duration < series.span.duration)
            chosen[series] = replace(chosen[series], finer=finer)
    return {link: chosen[series] for link, series in all_series.items()}


def _same_energy(direction: str, directions: set[str]) -> str | None:
    """Return why a direction is not recorded beside the other directions of its usage point, or None if it is."""
    for recorded in ("forward", "net"):
        if recorded in directions and direction not in ("forward", recorded):
            return f"the {recorded} energy of the usage point is recorded"
    return None


def skipped_message(series: Series, count: int) -> str:
    """Return the warning about skipped readings."""
    readings = "1 reading was" if count == 1 else f"{count} readings were"
    name = _join(series.point, series.commodity, series.direction, series.registers)
    return f"{readings} skipped ({name[-MAX_METER_LENGTH:]}): {series.reason}."


def _join(*parts: str) -> str:
    return " ".join(" ".join(parts).split())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
