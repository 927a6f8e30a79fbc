"""What the cells of a line say: read as strictly as the same fields of a request, and fast where they are plainly good.

Every cell is read by the field of a request itself, unless a regular expression already tells that it is good as it
stands. So a file and a request accept the same.
"""

import datetime as dt
import decimal
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import marshmallow as ma

from ...rest.fields import Email, Name, format_datetime, format_decimal
from ...usages.candidates import COLUMNS
from ...usages.schemas import NewUsageSchema
from .text_files import Cells

FORMATS = ("csv", "ndjson", "greenbutton")
RowError = dict[str, str | None]  # column, found, message
NOTHING = r"\N"  # As COPY has it.
LONGEST_SHOWN = 100
BLANKS = {"", "nan", "null", "na", "n/a"}
# Of these, nothing need be asked: a part of what the fields accept.
_PLAIN_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_PLAIN_INSTANT = re.compile(
    r"(19(0[1-9]|[1-9][0-9])|20[0-9]{2}|21[0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[T ]"
    r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])"
)
_PLAIN_NAME = re.compile(r"[!#-&(-\[\]-~]{1,200}")
_NUMBER = re.compile(r"-?[0-9]{1,60}\.[0-9]{1,60}")
_LOCAL = re.compile(
    r"([0-9]{1,4})([-./])([0-9]{1,2})\2([0-9]{1,4})(?:[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


class CellsSchema(NewUsageSchema):
    """A usage as text cells. A blank cell is a missing one."""

    typed = False
    # What a file may name rather than number.
    usage_type = Name(validate=ma.validate.Length(1, 200))
    user_email = Email(validate=ma.validate.Length(max=254))


@dataclass(frozen=True)
class FileFormat:
    """How a file writes what it says. As it is here, it is written as the API's own."""

    format: str | None = None  # One of FORMATS; told by how it begins, if it is not said.
    commodity: str | None = None  # Which of Green Button's is read.
    delimiter: str = ","
    decimal: str = "."
    timezone: str | None = None  # Of times without an offset.
    fold: str | None = None  # Which of two instants a local time is that comes twice, or is skipped.
    date_order: str | None = None
    round: int | None = None  # To so many digits after the decimal point.
    blank: str = "refuse"  # Or skip: what becomes of a line without an amount.
    columns: Mapping[str, str] = field(default_factory=dict)  # What columns of the file are called here.


class RowParser:
    """Turns the cells of lines into lines for COPY, and counts what it met."""

    def __init__(self, layout: FileFormat, defaults: Mapping[str, Any]) -> None:
        self.layout = layout
        self.lines = self.faulty = self.blank = self.rounded = 0
        self.used: set[str] = set()
        fields = CellsSchema().fields
        self._fields = fields
        self._converters: dict[str, Callable[[str], str]] = {
            name: self._cached(field) if name in _FEW_VALUES else self._converter(name, field)
            for name, field in fields.items()
        }
        self._defaults = dict.fromkeys(STAGED_COLUMNS, NOTHING)
        for name, known in fields.items():
            if isinstance(known.load_default, str):
                self._defaults[name] = known.load_default
        for name, value in defaults.items():
            self._defaults[name] = self._converters[name](str(value))
            self.used.add(name)
        # Of each of these, the file must have one column, and the line say one.
        ways = [(name, *(other for other, number in NAMES.items() if number == name)) for name in fields]
        self.required = [way for way in ways if fields[way[0]].required and defaults.keys().isdisjoint(way)]

    def copied(self, line: int, cells: Cells) -> str | None:
        """The line for COPY: place, the columns of a usage, errors, cells. None for one that is passed over."""
        if self.layout.blank == "skip" and (cells.get("amount") or "").strip().casefold() in BLANKS:
            self.blank += 1
            return None
        self.lines += 1
        values = dict(self._defaults)
        errors: list[RowError] = []
        for name, cell in cells.items():
            if cell is not None:
                try:
                    values[name] = self._converters[name](cell)
                    self.used.add(name)
                except ma.ValidationError as error:
                    errors += [_fault(name, cell, message) for message in _messages(error)]
        for way in self.required:
            if cells.get(way[0]) is None and all(cells.get(name) is None for name in way[1:]):
                column = next((name for name in way if name in cells), way[0])
                errors.append(_fault(column, None, "Missing data for required field."))
        for name, number in NAMES.items():
            if values[name] is not NOTHING and cells.get(number) is not None:
                if cells.get(name) is not None:
                    errors.append(_fault(name, cells[name], f"Give {name} or {number}, not both."))
                values[name] = NOTHING  # Else it is the query's, for lines that do not say it.
        if not errors and values["amount"][0] == "-" and values["adjusts_closed_period_id"] is NOTHING:
            errors.append(_fault("amount", cells["amount"], "Must not be negative."))
        if errors:
            self.faulty += 1
            return invalid_row(line, errors, cells)
        return f"{line}\t" + "\t".join(values.values()) + f"\t{NOTHING}\t{NOTHING}\n"

    def _converter(self, name: str, known: ma.fields.Field[Any]) -> Callable[[str], str]:
        if name == "amount":
            return self._amount
        if name in ("usage_at", "usage_until"):
            return lambda cell: self._instant(cell, known)
        return lambda cell: cell if _PLAIN_NAME.fullmatch(cell) else known.deserialize(cell).translate(_ESCAPED)

    @staticmethod
    def _cached(known: ma.fields.Field[Any]) -> Callable[[str], str]:
        return lru_cache(1000)(lambda cell: str(known.deserialize(cell)).translate(_ESCAPED))

    def _amount(self, cell: str) -> str:
        layout = self.layout
        if layout.decimal == ",":
            if "." in cell:
                raise ma.ValidationError("Not a number: the decimal point is a comma here.")
            cell = cell.replace(",", ".", 1)
        if layout.round is not None and _NUMBER.fullmatch(cell):
            exact = decimal.Decimal(cell)
            with decimal.localcontext(prec=150):  # Of two times sixty digits.
                number = exact.quantize(decimal.Decimal(1).scaleb(-layout.round), decimal.ROUND_HALF_EVEN)
            self.rounded += number != exact
            cell = format_decimal(number)
        if _PLAIN_AMOUNT.fullmatch(cell):
            return cell
        return format_decimal(self._fields["amount"].deserialize(cell))

    def _instant(self, cell: str, known: ma.fields.Field[Any]) -> str:
        if _PLAIN_INSTANT.fullmatch(cell):
            return cell
        if self.layout.timezone or self.layout.date_order:
            cell = self._with_offset(cell)
        return format_datetime(known.deserialize(cell))

    def _with_offset(self, cell: str) -> str:
        """The time as RFC 3339 has it, in the order of its date and in the time zone that the layout tells."""
        match = _LOCAL.fullmatch(cell)
        if match is None:
            return cell
        first, _, second, third, hour, minute, seconds, fraction, offset = match.groups()
        order = self.layout.date_order or "ymd"
        parts = dict(zip(order, (first, second, third), strict=True))
        try:
            day = dt.date(int(parts["y"]), int(parts["m"]), int(parts["d"]))
        except ValueError:
            raise ma.ValidationError(f"Not a date in the order {order}.") from None
        if len(parts["y"]) != 4:
            raise ma.ValidationError(f"Not a date in the order {order} with a year of four digits.")
        time = f"{day.isoformat()}T{int(hour or 0):02}:{minute or '00'}:{seconds or '00'}{fraction or ''}"
        if offset or self.layout.timezone is None:
            return time + (offset or "")
        return time + self._offset_at(time)

    def _offset_at(self, time: str) -> str:
        assert self.layout.timezone is not None
        try:
            local = dt.datetime.fromisoformat(time).replace(tzinfo=ZoneInfo(self.layout.timezone))
        except ValueError:
            raise ma.ValidationError("Not a time of a day.") from None
        if not 1900 <= local.year <= 2200:
            raise ma.ValidationError("Must be in the years 1900 to 2200.")
        first, second = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
        assert first is not None and second is not None
        if first != second and self.layout.fold is None:
            what = "comes twice" if first > second else "is skipped by the clocks"
            raise ma.ValidationError(f"This time {what} in {self.layout.timezone}: say fold=first or fold=second.")
        seconds = int((second if self.layout.fold == "second" else first).total_seconds())
        # Local mean times have odd seconds, which RFC 3339 cannot write: such an instant is told in UTC by the caller.
        if seconds % 60:
            raise ma.ValidationError(f"{self.layout.timezone} had no offset of whole minutes then: give the offset.")
        sign, minutes = "-" if seconds < 0 else "+", abs(seconds) // 60
        return f"{sign}{minutes // 60:02}:{minutes % 60:02}"


NAMES = {"usage_type": "usage_type_id", "user_email": "user_id"}  # What may be named, and what the name stands for.
_FEW_VALUES = {"user_id", "usage_type_id", "unit", "region", "method", "quality", "adjusts_closed_period_id", *NAMES}
STAGED_COLUMNS = [*(name for name in COLUMNS if name != "amount_in_type_unit"), *NAMES]


def invalid_row(line: int, errors: list[RowError], cells: Cells) -> str:
    """A line for COPY that says no more than what is wrong with it, and what it said."""
    blanks = f"{NOTHING}\t" * len(STAGED_COLUMNS)
    said = {name: clean(cell) for name, cell in cells.items() if cell is not None}
    told = (json.dumps(value, ensure_ascii=False).translate(_ESCAPED) for value in (errors, said))
    return f"{line}\t{blanks}" + "\t".join(told) + "\n"


def sentences(errors: list[RowError]) -> list[str]:
    """Faults as sentences that name the column."""
    return [f"{fault['column']}: {fault['message']}" if fault["column"] else str(fault["message"]) for fault in errors]


def clean(text: str) -> str:
    """A text that PostgreSQL can hold."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def excerpt(text: str) -> str:
    """So much of a text as a message shows."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _fault(column: str, found: str | None, message: str) -> RowError:
    return {"column": column, "found": found and clean(excerpt(found)), "message": message}


def _messages(error: ma.ValidationError) -> list[str]:
    return error.messages if isinstance(error.messages, list) else [str(error.messages)]
