"""Read Green Button files: meter readings of utilities in the XML of ESPI (NAESB REQ.21).

An Atom feed has entries that link to each other: an IntervalBlock with readings belongs to a MeterReading, which has a
ReadingType and belongs to a UsagePoint. A file is read twice, in constant memory, because the ReadingType may follow
the readings. `green_button_series` decides which readings are recorded, and names their meters.
"""

import datetime as dt
import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import IO
from xml.parsers import expat

from ...errors import rows_rejected
from ...rest.fields import MAX_NUMBER_LENGTH, format_datetime, format_decimal
from .green_button_series import Record, Series, Span, choose_series, create_series
from .text_files import Cells, RowErrors

# Units by their code in ESPI, each with the power of ten that converts it.
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
# From a reference day, interpolated, questionable, derived, projected, or mixed.
ESTIMATED = {"8", "9", "10", "11", "12", "13"}
OF_AN_INTERVAL = {None, "0", "4"}  # Other readings accumulate, or are of an instant.
MAX_READING_SECONDS = 3600  # A longer one is an interval, over which the amount is prorated.

ESPI = "http://naesb.org/espi "
ATOM = "http://www.w3.org/2005/Atom "
_RECORDS = {ESPI + name: name for name in ("UsagePoint", "MeterReading", "ReadingType", "IntervalReading")}
_FIELDS = {"kind", "commodity", "uom", "powerOfTenMultiplier", "flowDirection", "accumulationBehaviour"}
_FIELDS |= {"tou", "consumptionTier", "cpp", "start", "duration", "value", "quality"}
_SECONDS = re.compile(r"-?[0-9]{1,11}")
_VALUE = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # The standard has integers only.
_CHUNK_BYTES = 65_536
_MAX_LINKS = 101  # Per entry and kind of link.
_MAX_TAG_BYTES = 1_048_576
_MAX_TEXT_LENGTH = MAX_NUMBER_LENGTH + 1  # Longer ones are invalid anyway.
MAX_METERS = 10_000  # Usage points, meter readings and reading types together.
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Links = dict[str, list[str]]
Event = tuple[str, Record]  # The start of an `entry`, its `end`, a `link` in it, or a record by its name.


def read_green_button(
    file: IO[bytes],
    commodity: str | None,
    required: Collection[Collection[str]],
    skipped: Collection[str],
    errors: RowErrors,
    reverse_usage_type_id: int | None = None,
    skipped_readings: dict[Series, list[int]] | None = None,
) -> Iterator[tuple[int, Cells | None]]:
    """Yield the number of each reading, from 1, and its cells. The other parameters are those of `read_csv`.

    A reading of up to an hour is recorded at its start, a longer one as an interval. The `external_id` consists of the
    series and the start, so that a repeated reading is recognized. commodity: of the readings to import.
    reverse_usage_type_id: the usage type of energy delivered to the grid; by default, it is skipped. skipped_readings:
    receives the first number and the count of the skipped readings of each series.
    Raise ValidationFailed for other files, and if the file has several commodities and none is set.
    """
    needed = [group for group in required if not {"usage_at", "amount", "meter"} & {*group}]
    if needed:
        raise rows_rejected(
            {1: [f"A Green Button file has no {' or '.join(group)}. Set it in the query." for group in needed]}
        )
    all_series = choose_series(_read_series(file, commodity), reverse_usage_type_id)
    file.seek(0)
    links: Links = {}
    number = 0
    for name, record in _events(file, counts_progress=True):
        if name == "entry":
            links = {}
        elif name == "link":
            _add_link(links, record)
        elif name == "IntervalReading":
            series = next((all_series[link] for link in links.get("up", []) if link in all_series), all_series.get(""))
            if series is not None and commodity not in (None, series.commodity):
                continue
            number += 1
            if series is not None and series.skips(_span(record)):
                if skipped_readings is not None:
                    skipped_readings.setdefault(series, [number, 0])[1] += 1
                continue
            error = "The reading has no link to a ReadingType." if series is None else series.error
            if series is None or error:
                errors[number] = [str(error)]
                yield number, None
            else:
                yield number, {name: cell for name, cell in _cells(record, series).items() if name not in skipped}


def _span(reading: Record) -> Span | None:
    """Return the time of a reading, or None if it is invalid."""
    start, duration = reading.get("start", ""), reading.get("duration", "")
    if not _SECONDS.fullmatch(start) or not _SECONDS.fullmatch(duration):
        return None
    return Span(int(start), int(start) + int(duration), int(duration))


def _cells(reading: Record, series: Series) -> Cells:
    start, duration = reading.get("start"), reading.get("duration")
    usage_at = _instant(start)
    cells: Cells = {"usage_at": usage_at, "amount": _amount(reading.get("value"), series.exponent), "unit": series.unit}
    if start and duration and all(map(_SECONDS.fullmatch, (start, duration))) and int(duration) > MAX_READING_SECONDS:
        cells["usage_until"] = _instant(str(int(start) + int(duration)))
    cells["quality"] = "estimated" if ESTIMATED.intersection(reading.get("quality", "").split()) else "measured"
    cells["external_id"] = f"{series.id}/{usage_at}"
    cells["meter"] = series.meter
    if series.usage_type_id is not None:
        cells["usage_type_id"] = str(series.usage_type_id)
    return cells


def _instant(seconds: str | None) -> str | None:
    """Return Unix time in RFC 3339, and other text unchanged."""
    if seconds is None or not _SECONDS.fullmatch(seconds):
        return seconds
    try:
        return format_datetime(_EPOCH + dt.timedelta(seconds=int(seconds)))
    except OverflowError:
        return seconds


def _amount(value: str | None, exponent: int) -> str | None:
    """Return the value times a power of ten, exactly, and other text unchanged."""
    return format_decimal(Decimal(f"{value}E{exponent}")) if value and _VALUE.fullmatch(value) else value


def _read_series(file: IO[bytes], commodity: str | None) -> dict[str, Series]:
    """Return the series by the links to their blocks; a single series also by "", for blocks without links."""
    types: dict[str, Record] = {}
    meter_readings: list[Links] = []
    services: dict[str, str] = {}
    spans: dict[str, Span] = {}
    links: Links = {}
    records: list[Event] = []
    reading_count = 0
    for name, record in _events(file):
        if name == "entry":
            links, records = {}, []
        elif name == "link":
            _add_link(links, record)
        elif name == "IntervalReading":
            reading_count += 1
            if (span := _span(record)) is not None:
                for link in links.get("up", []):
                    if link in spans or len(spans) < MAX_METERS:
                        spans[link] = span.union(spans.get(link))
        elif name != "end":
            records.append((name, record))
        else:
            for kind, properties in records:
                for link in links.get("self", []):
                    if kind == "ReadingType":
                        types[link] = properties
                    elif kind == "UsagePoint" and "kind" in properties:
                        services[link] = properties["kind"]
                if kind == "MeterReading":
                    meter_readings.append(links)
        if len(types) + len(meter_readings) + len(services) + len(records) > MAX_METERS:
            raise rows_rejected({1: [f"The file must not have more than {MAX_METERS} meters and reading types."]})
    if not reading_count:
        raise rows_rejected({1: ["The file has no IntervalReading, so it is not a Green Button file of usage."]})
    all_series = _series_by_block(types, meter_readings, services, spans)
    commodities = sorted({series.commodity for series in all_series.values()})
    if commodity is None and len(commodities) > 1:
        choices = ", ".join(commodities)
        raise rows_rejected({1: [f"The file has several commodities. Set `commodity` to one of: {choices}."]})
    return all_series


def _series_by_block(
    types: Mapping[str, Record], meter_readings: list[Links], services: Mapping[str, str], spans: Mapping[str, Span]
) -> dict[str, Series]:
    all_series: dict[str, Series] = {}
    for links in meter_readings:
        address = links.get("self", [""])[0]
        point = links.get("up", [address])[0].removesuffix("/MeterReading")
        found = [types[link] for link in links.get("related", []) if link in types]
        if not found and len(types) == 1:
            found = [*types.values()]
        if found:
            blocks = [f"{address}/IntervalBlock", *(link for link in links.get("related", []) if link not in types)]
            series = _series(found[0], point, services.get(point))
            all_series |= dict.fromkeys(blocks, series.within([spans[link] for link in {*blocks} & spans.keys()]))
    if len({series.within([]) for series in all_series.values()}) == 1:
        all_series[""] = next(iter(all_series.values()))
    elif not meter_readings and len(types) == 1:
        (point, service) = next(iter(services.items()), ("", None))
        all_series[""] = _series(next(iter(types.values())), point, service)
    return all_series


def _series(reading_type: Record, point: str, service: str | None) -> Series:
    uom, accumulation = reading_type.get("uom", "none"), reading_type.get("accumulationBehaviour")
    not_usage = None
    if uom not in UNITS:
        not_usage = f"uom must be a unit of usage, but is {uom}. Supported: {', '.join(UNITS)}."
    elif accumulation not in OF_AN_INTERVAL:
        not_usage = f"accumulationBehaviour must be 4 (amount of an interval), but is {accumulation}."
    named = COMMODITIES.get(reading_type.get("commodity", "0")) or SERVICES.get(service or "", "unknown")
    return create_series(point, named, reading_type, *UNITS.get(uom, (uom, 0)), not_usage)


def _add_link(links: Links, attributes: Record) -> None:
    addresses = links.setdefault(attributes.get("rel", ""), [])
    if len(addresses) < _MAX_LINKS:
        addresses.append(attributes.get("href", ""))


def _events(file: IO[bytes], counts_progress: bool = False) -> Iterator[Event]:
    """Yield the events of a file. counts_progress: whether this pass counts as progress of the import.

    Raise ValidationFailed for invalid or truncated XML, and for a document type, which could define entities that fill
    the memory or read files.
    """
    parser = _Parser()
    read = getattr(file, "read1", file.read) if counts_progress else file.read
    while chunk := read(_CHUNK_BYTES):
        yield from parser.feed(chunk)
    yield from parser.feed(b"", is_last=True)


class _Parser:
    """An expat parser that returns the events of each chunk."""

    def __init__(self) -> None:
        self._expat = expat.ParserCreate("utf-8", " ")
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._read_text
        self._expat.StartDoctypeDeclHandler = self._reject_doctype
        self._bytes = 0
        self._events: list[Event] = []
        self._record: Record | None = None
        self._text = ""

    def feed(self, chunk: bytes, is_last: bool = False) -> list[Event]:
        self._bytes += len(chunk)
        try:
            self._expat.Parse(chunk, is_last)
        except expat.ExpatError as error:
            raise rows_rejected({1: [f"Invalid or truncated XML: {error}."]}) from None
        # expat buffers an unfinished tag, and parses it again with each chunk.
        if self._bytes - max(self._expat.CurrentByteIndex, 0) > _MAX_TAG_BYTES:
            raise rows_rejected({1: [f"A tag or comment must not exceed {_MAX_TAG_BYTES} bytes."]})
        events, self._events = self._events, []
        return events

    def _start(self, name: str, attributes: Record) -> None:
        self._text = ""
        if name in _RECORDS:
            self._record = {}
        elif name == f"{ATOM}entry":
            self._events.append(("entry", {}))
        elif name == f"{ATOM}link":
            self._events.append(("link", attributes))

    def _end(self, name: str) -> None:
        if name in _RECORDS and self._record is not None:
            self._events.append((_RECORDS[name], self._record))
            self._record = None
        elif name == f"{ATOM}entry":
            self._events.append(("end", {}))
        elif self._record is not None and name.startswith(ESPI) and (field := name.removeprefix(ESPI)) in _FIELDS:
            # A reading may have several qualities.
            text = f"{self._record.get(field, '')} {self._text.strip()}".strip()
            self._record[field] = text[:_MAX_TEXT_LENGTH]
        self._text = ""

    def _read_text(self, text: str) -> None:
        if self._record is not None and len(self._text) < _MAX_TEXT_LENGTH:
            self._text += text[:_MAX_TEXT_LENGTH]

    def _reject_doctype(self, *_: object) -> None:
        raise rows_rejected({1: ["The file must not have a document type (<!DOCTYPE …>). Remove it."]})
