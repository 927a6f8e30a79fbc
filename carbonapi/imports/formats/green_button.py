"""Green Button files: what a utility's meters read, in the XML of ESPI (NAESB REQ.21), as lines of an import.

An Atom feed has entries that refer to each other by links: an IntervalBlock, of readings, belongs to a MeterReading,
which has a ReadingType and belongs to a UsagePoint. A file is read twice, for a ReadingType may stand behind what it
is about; each time in no more memory for a long one than for a short one.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import IO
from xml.parsers import expat

from ...rest.fields import MAX_NUMBER_LENGTH, format_datetime, format_decimal
from .text_files import Cells, RowErrors, rows_rejected

# The units of amounts by their numbers in ESPI, and by which power of ten one of theirs is ours.
UNITS = {
    "31": ("kJ", -3),
    "42": ("m3", 0),
    "72": ("Wh", 0),
    "119": ("ft3", 0),
    "128": ("gallon", 0),
    "130": ("imperial gallon", 0),
    "132": ("MMBtu", -6),
    "134": ("l", 0),
    "169": ("therm", 0),
}
COMMODITIES = {
    "1": "electricity",
    "2": "electricity",
    "7": "natural gas",
    "8": "propane",
    "9": "water",
    "10": "steam",
    "11": "waste water",
    "12": "heat",
    "13": "cold",
}
SERVICES = {"0": "electricity", "1": "natural gas", "2": "water", "5": "heat", "6": "cold"}
# By a reference day, by interpolation, questionable, derived, projected, or mixed of these and others.
ESTIMATED = {"8", "9", "10", "11", "12", "13"}
OF_AN_INTERVAL = {None, "0", "4"}  # Others accumulate from interval to interval, or tell of a moment.
DELIVERED_BACK = "19"
LONGEST_READING = 3600  # Seconds; what is used in a longer interval is spread over it.

ESPI = "http://naesb.org/espi "
ATOM = "http://www.w3.org/2005/Atom "
_RECORDS = {ESPI + name: name for name in ("UsagePoint", "MeterReading", "ReadingType", "IntervalReading")}
_KEPT = {"kind", "commodity", "uom", "powerOfTenMultiplier", "flowDirection", "accumulationBehaviour"}
_KEPT |= {"start", "duration", "value", "quality"}
_SECONDS = re.compile(r"-?[0-9]{1,11}")
_VALUE = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # Whole by the standard; a point does no harm.
_EXPONENT = re.compile(r"-?[0-9]{1,2}")
_CHUNK_BYTES = 65_536
_LONGEST_TAG = 1_048_576
_LONGEST_TEXT = MAX_NUMBER_LENGTH + 1  # One of more digits is none.
MAX_METERS = 10_000  # Usage points, their meter readings and types, all together.
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Record = dict[str, str]
Links = dict[str, list[str]]
Found = tuple[str, Record]  # An `entry` that begins or has its `end`, a `link` of it, or a record by its name.


@dataclass(frozen=True)
class _Series:
    """What readings of one meter and type have in common; `fault` says why they are none of a usage."""

    meter: str
    commodity: str
    unit: str
    exponent: int
    fault: str | None


def read_green_button(
    file: IO[bytes],
    commodity: str | None,
    required: Collection[Collection[str]],
    skipped: Collection[str],
    errors: RowErrors,
) -> Iterator[tuple[int, Cells | None]]:
    """The readings of a file, counted from 1, each with its cells by column; as `cells_of` for the rest.

    An interval of an hour or less is a reading at its beginning, a longer one a period. `external_id` is made of the
    usage point and the beginning, so that a reading is known when it comes again. commodity: that of the readings that
    are read. Raises Invalid for what is no such file, and for several commodities where it is not said which.
    """
    needed = [group for group in required if not {"usage_at", "amount"} & {*group}]
    if needed:
        raise rows_rejected({1: [f"Green Button does not tell {' or '.join(group)}: say it." for group in needed]})
    series = _surveyed(file, commodity)
    file.seek(0)
    links: Links = {}
    number = 0
    for name, record in _found(file, counted=True):
        if name == "entry":
            links = {}
        elif name == "link":
            _keep_link(links, record)
        elif name == "IntervalReading":
            its = _series_of(links, series)
            if its is not None and commodity not in (None, its.commodity):
                continue
            number += 1
            if its is None or its.fault:
                errors[number] = [its.fault if its and its.fault else "Of which ReadingType it is, no link tells."]
                yield number, None
            else:
                yield number, {name: cell for name, cell in _cells(record, its).items() if name not in skipped}


def _cells(reading: Record, its: _Series) -> Cells:
    start, duration = reading.get("start"), reading.get("duration")
    begins = _instant(start)
    cells: Cells = {"usage_at": begins, "amount": _amount(reading.get("value"), its.exponent), "unit": its.unit}
    if start and duration and _SECONDS.fullmatch(start) and _SECONDS.fullmatch(duration) and _is_long(duration):
        cells["usage_until"] = _instant(str(int(start) + int(duration)))
    cells["quality"] = "estimated" if ESTIMATED.intersection(reading.get("quality", "").split()) else "measured"
    cells["external_id"] = f"{its.meter}/{begins}"
    return cells


def _is_long(duration: str) -> bool:
    return int(duration) > LONGEST_READING


def _instant(seconds: str | None) -> str | None:
    """So many seconds after the beginning of 1970 as RFC 3339 has it; what is no such number, as it stands."""
    if seconds is None or not _SECONDS.fullmatch(seconds):
        return seconds
    try:
        return format_datetime(_EPOCH + dt.timedelta(seconds=int(seconds)))
    except OverflowError:
        return seconds


def _amount(value: str | None, exponent: int) -> str | None:
    """The value times that power of ten, exactly; what is no number, as it stands."""
    return format_decimal(Decimal(f"{value}E{exponent}")) if value and _VALUE.fullmatch(value) else value


def _surveyed(file: IO[bytes], commodity: str | None) -> dict[str, _Series]:
    """The series of readings by the links of their blocks; under "" the only one, for blocks that no link leads to."""
    types: dict[str, Record] = {}
    meter_readings: list[Links] = []
    services: dict[str, str] = {}
    links: Links = {}
    about: list[Found] = []
    reading_count = 0
    for name, record in _found(file):
        if name == "entry":
            links, about = {}, []
        elif name == "link":
            _keep_link(links, record)
        elif name == "IntervalReading":
            reading_count += 1
        elif name != "end":
            about.append((name, record))
        else:
            for kind, told in about:
                for link in links.get("self", []):
                    if kind == "ReadingType":
                        types[link] = told
                    elif kind == "UsagePoint" and "kind" in told:
                        services[link] = told["kind"]
                if kind == "MeterReading":
                    meter_readings.append(links)
        if len(types) + len(meter_readings) + len(services) + len(about) > MAX_METERS:
            raise rows_rejected({1: [f"There are more than {MAX_METERS} meters and types of readings in the file."]})
    if not reading_count:
        raise rows_rejected({1: ["There is no IntervalReading in the file: it is no Green Button file of usage."]})
    series = _by_block(types, meter_readings, services)
    commodities = sorted({its.commodity for its in series.values()})
    if commodity is None and len(commodities) > 1:
        which = ", ".join(commodities)
        raise rows_rejected({1: [f"The file tells of several commodities, {which}: say which with `commodity`."]})
    return series


def _by_block(
    types: Mapping[str, Record], meter_readings: list[Links], services: Mapping[str, str]
) -> dict[str, _Series]:
    series: dict[str, _Series] = {}
    for links in meter_readings:
        here = links.get("self", [""])[0]
        point = links.get("up", [here])[0].removesuffix("/MeterReading")
        found = [types[link] for link in links.get("related", []) if link in types]
        if not found and len(types) == 1:
            found = list(types.values())
        if found:
            blocks = [link for link in links.get("related", []) if link not in types]
            series |= dict.fromkeys([f"{here}/IntervalBlock", *blocks], _series(found[0], point, services.get(point)))
    if len({*series.values()}) == 1:
        series[""] = next(iter(series.values()))
    elif not meter_readings and len(types) == 1:
        (point, service) = next(iter(services.items()), ("", None))
        series[""] = _series(next(iter(types.values())), point, service)
    return series


def _series(reading_type: Record, point: str, service: str | None) -> _Series:
    uom, power = reading_type.get("uom", "none"), reading_type.get("powerOfTenMultiplier", "0")
    accumulation, direction = reading_type.get("accumulationBehaviour"), reading_type.get("flowDirection")
    fault = None
    if uom not in UNITS:
        fault = f"Its unit is no amount of a usage: uom {uom}. What can be read: {', '.join(UNITS)}."
    elif not _EXPONENT.fullmatch(power):
        fault = f"Its powerOfTenMultiplier is no number of two digits: {power}."
    elif accumulation not in OF_AN_INTERVAL:
        fault = f"It does not tell what was used in an interval: accumulationBehaviour {accumulation}, where 4 does."
    elif direction == DELIVERED_BACK:
        fault = f"It was delivered back, and so is no usage: flowDirection {direction}."
    unit, exponent = UNITS.get(uom, (uom, 0))
    named = COMMODITIES.get(reading_type.get("commodity", "0")) or SERVICES.get(service or "", "unknown")
    meter = hashlib.sha256(point.encode()).hexdigest()[:16]
    return _Series(meter, named, unit, exponent + (0 if fault else int(power)), fault)


def _series_of(links: Links, series: Mapping[str, _Series]) -> _Series | None:
    return next((series[link] for link in links.get("up", []) if link in series), series.get(""))


def _keep_link(links: Links, attributes: Record) -> None:
    kept = links.setdefault(attributes.get("rel", ""), [])
    if len(kept) < _LONGEST_TEXT:
        kept.append(attributes.get("href", ""))


def _found(file: IO[bytes], counted: bool = False) -> Iterator[Found]:
    """What a file says, as it is read. counted: whether it counts as read.

    Raises Invalid for what is no proper XML, or has been cut off, and for a document type: it could define entities
    that take all memory, or name files.
    """
    parser = _Parser()
    read = getattr(file, "read1", file.read) if counted else file.read
    while chunk := read(_CHUNK_BYTES):
        yield from parser.fed(chunk)
    yield from parser.fed(b"", is_last=True)


class _Parser:
    """An expat parser that is fed and gives what it has found."""

    def __init__(self) -> None:
        self._expat = expat.ParserCreate("utf-8", " ")
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._read_text
        self._expat.StartDoctypeDeclHandler = self._refuse_doctype
        self._bytes = 0
        self._found: list[Found] = []
        self._record: Record | None = None
        self._text = ""

    def fed(self, chunk: bytes, is_last: bool = False) -> list[Found]:
        self._bytes += len(chunk)
        try:
            self._expat.Parse(chunk, is_last)
        except expat.ExpatError as error:
            raise rows_rejected({1: [f"Not proper XML, or cut off: {error}."]}) from None
        # Of a tag that does not end, all of it would be kept, and looked at again with every chunk.
        if self._bytes - max(self._expat.CurrentByteIndex, 0) > _LONGEST_TAG:
            raise rows_rejected({1: [f"A tag or comment of more than {_LONGEST_TAG} bytes."]})
        found, self._found = self._found, []
        return found

    def _start(self, name: str, attributes: Record) -> None:
        self._text = ""
        if name in _RECORDS:
            self._record = {}
        elif name == f"{ATOM}entry":
            self._found.append(("entry", {}))
        elif name == f"{ATOM}link":
            self._found.append(("link", attributes))

    def _end(self, name: str) -> None:
        if name in _RECORDS and self._record is not None:
            self._found.append((_RECORDS[name], self._record))
            self._record = None
        elif name == f"{ATOM}entry":
            self._found.append(("end", {}))
        elif self._record is not None and name.startswith(ESPI) and (field := name.removeprefix(ESPI)) in _KEPT:
            # A reading may have several qualities.
            said = f"{self._record.get(field, '')} {self._text.strip()}".strip()
            self._record[field] = said[:_LONGEST_TEXT]
        self._text = ""

    def _read_text(self, text: str) -> None:
        if self._record is not None and len(self._text) < _LONGEST_TEXT:
            self._text += text[:_LONGEST_TEXT]

    def _refuse_doctype(self, *_: object) -> None:
        raise rows_rejected({1: ["A document type (<!DOCTYPE …>) is not read: take it out."]})
