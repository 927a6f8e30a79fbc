"""Parse the cells of a row exactly like the fields of a request.

The fields of the request schema parse each cell, unless a regular expression shows that the cell is valid as it is.
"""

import contextlib
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

from ...rest.fields import Email, Name, StrictInteger, UtcDateTime, format_datetime, format_decimal
from ...usages.candidates import COLUMNS
from ...usages.schemas import NewUsageSchema
from ..models import NEW, REJECTED
from .green_button_series import Series
from .text_files import Cells

FORMATS = ("csv", "ndjson", "greenbutton")
FOLDS = ("first", "second", "order")
RowError = dict[str, str | None]  # column, found, message
# Columns with names, and those with the ids.
NAMES = {"usage_type": "usage_type_id", "user_email": "user_id", "site": "site_id", "meter": "meter_id"}
METERS = ("meter", "meter_id")
PLACES = (*METERS, "site", "site_id")
# Columns of the ledger that files do not have.
DERIVED = {"amount_in_type_unit"}
STAGED_COLUMNS = [*(name for name in COLUMNS if name not in DERIVED), *NAMES]
# Columns that distinguish series of times.
_SERIES = ("user_id", "user_email", "usage_type_id", "usage_type", *PLACES)
NULL = r"\N"  # In the text format of COPY.
MAX_CELL_SHOWN = 100
BLANKS = {"", "nan", "null", "na", "n/a"}
# Cells that need no further parsing: a subset of the valid ones.
_VARIED = {"note", "external_id"}  # Columns with too many different values to cache.
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
    """A usage as text cells. A blank cell is a missing field."""

    class Meta:
        unknown = ma.RAISE

    typed = False
    usage_type_id = StrictInteger(required=True)
    # Names that a file may have in place of ids.
    usage_type = Name(validate=ma.validate.Length(1, 200))
    user_email = Email(validate=ma.validate.Length(max=254))
    site = Name(validate=ma.validate.Length(1, 200))
    meter = Name(validate=ma.validate.Length(1, 200))


@dataclass(frozen=True)
class FileFormat:
    """How a file is written. The defaults are the format of the API."""

    format: str | None = None  # One of FORMATS. None: detect it.
    commodity: str | None = None  # Of the readings to import from a Green Button file.
    reverse_usage_type_id: int | None = None  # Of its readings of energy delivered to the grid. None: skip them.
    delimiter: str = ","
    decimal: str = "."
    timezone: str | None = None  # Of times without an offset.
    fold: str | None = None  # One of FOLDS: which instant of a local time that occurs twice, or does not exist.
    date_order: str | None = None
    round: int | None = None  # Number of digits after the decimal point.
    blank: str = "reject"  # Or skip: what to do with rows without an amount.
    columns: Mapping[str, str] = field(default_factory=dict)  # The names of known columns by those in the file.


class RepeatedTimes:
    """The local times of a file that occur twice. The order of times in each series shows which instant is meant."""

    def __init__(self) -> None:
        self._last: dict[Any, dt.datetime] = {}
        self._found: dict[tuple[Any, dt.datetime], bool] = {}

    def is_second(self, series: Any, local: dt.datetime, *, is_repeated: bool) -> bool:
        """Return whether a time has its second instant. Call it for every time of the file, in order.

        The first occurrence of a repeated time has the first instant, unless the series descends there.
        """
        descends = local < self._last.get(series, local)
        self._last[series] = local
        if not is_repeated:
            return False
        if (series, local) in self._found:
            return not self._found[series, local]
        self._found[series, local] = descends
        return descends


class RowParser:
    """Convert the cells of rows to lines for COPY, and count blank rows and rounded amounts."""

    def __init__(self, file_format: FileFormat, defaults: Mapping[str, Any]) -> None:
        self.file_format = file_format
        self.blank_count = self.rounded_count = 0
        self.used_columns: set[str] = set()  # Those with a value in any row.
        self.has_default_meter = not defaults.keys().isdisjoint(METERS)
        self.skipped_readings: dict[Series, list[int]] = {}  # Of each series, the first number and the count.
        self._repeated_times = RepeatedTimes()
        self._series: tuple[str | None, ...] = ()  # Of the current row.
        fields = CellsSchema().fields
        self._fields = fields
        self._converters: dict[str, Callable[[str], str]] = {
            name: self._converter(name, known) for name, known in fields.items()
        }
        self._defaults = dict.fromkeys(STAGED_COLUMNS, NULL)
        for name, known in fields.items():
            if isinstance(known.load_default, str):
                self._defaults[name] = known.load_default
        for name, value in defaults.items():
            self._defaults[name] = self._converters[name](str(value))
            self.used_columns.add(name)
        # Groups of columns. The file must have one of each group, and each row a value in one.
        groups = [(name, *(other for other, id_name in NAMES.items() if id_name == name)) for name in fields]
        # A row with a meter has its usage type.
        groups = [(*group, *METERS) if group[0] == "usage_type_id" else group for group in groups]
        self.required = [group for group in groups if fields[group[0]].required and defaults.keys().isdisjoint(group)]

    def copy_line(self, line: int, cells: Cells) -> str | None:
        """Return the line for COPY: line number, columns of a usage, outcome, errors, cells. None for a skipped row."""
        if self.file_format.fold == "order":
            self._series = tuple(cells.get(name) for name in _SERIES)
        if self.file_format.blank == "skip" and (cells.get("amount") or "").strip().casefold() in BLANKS:
            self.blank_count += 1
            self._read_times(cells)
            return None
        values = dict(self._defaults)
        errors: list[RowError] = []
        for name, cell in cells.items():
            if cell is not None:
                try:
                    values[name] = self._converters[name](cell)
                    self.used_columns.add(name)
                except ma.ValidationError as error:
                    errors += [_error(name, cell, str(message)) for message in error.messages]
        for group in self.required:
            if cells.get(group[0]) is None and all(cells.get(name) is None for name in group[1:]):
                column = next((name for name in group if name in cells), group[0])
                errors.append(_error(column, None, "Missing data for required field."))
        for name, id_name in NAMES.items():
            if values[name] is NULL:
                continue
            if cells.get(id_name) is not None:
                if cells.get(name) is not None:
                    errors.append(_error(name, cells[name], f"Give {name} or {id_name}, not both."))
                values[name] = NULL  # The id of the row takes precedence over the name in the query.
            else:
                values[id_name] = NULL  # Until the name is looked up.
        if not errors and values["amount"][0] == "-" and values["adjusts_closed_period_id"] is NULL:
            errors.append(_error("amount", cells["amount"], "Must not be negative."))
        if errors:
            return invalid_row(line, errors, cells)
        return "\t".join([str(line), *values.values(), NEW, NULL, NULL]) + "\n"

    def _read_times(self, cells: Cells) -> None:
        """Read the times of a skipped row, which count for the order of times."""
        for name in ("usage_at", "usage_until"):
            with contextlib.suppress(ma.ValidationError):
                self._converters[name](cells.get(name) or "")

    def _converter(self, name: str, known: ma.fields.Field[Any]) -> Callable[[str], str]:
        if name == "amount":
            return self._amount
        if name in ("usage_at", "usage_until"):
            return lambda cell: self._instant(cell, name, known)
        if name in _VARIED:
            return lambda cell: cell if _PLAIN_NAME.fullmatch(cell) else known.deserialize(cell).translate(_ESCAPED)
        return lru_cache(1000)(lambda cell: str(known.deserialize(cell)).translate(_ESCAPED))

    def _amount(self, cell: str) -> str:
        digits = self.file_format.round
        if self.file_format.decimal == ",":
            if "." in cell:
                raise ma.ValidationError("Must have a decimal comma, because `decimal` is a comma.")
            cell = cell.replace(",", ".", 1)
        if digits is not None and _NUMBER.fullmatch(cell):
            exact = decimal.Decimal(cell)
            with decimal.localcontext(prec=150):  # _NUMBER has up to twice sixty digits.
                number = exact.quantize(decimal.Decimal(1).scaleb(-digits), decimal.ROUND_HALF_EVEN)
            self.rounded_count += number != exact
            cell = format_decimal(number)
        if _PLAIN_AMOUNT.fullmatch(cell):
            return cell
        return format_decimal(self._fields["amount"].deserialize(cell))

    def _instant(self, cell: str, name: str, known: ma.fields.Field[Any]) -> str:
        if _PLAIN_INSTANT.fullmatch(cell):
            return cell
        if self.file_format.timezone or self.file_format.date_order:
            cell = self._with_offset(cell, name)
        return format_datetime(known.deserialize(cell))

    def _with_offset(self, cell: str, name: str) -> str:
        """Return the time in RFC 3339, with the date order and the time zone of the file format."""
        match = _LOCAL.fullmatch(cell)
        if match is None:
            return cell
        first, _, second, third, hour, minute, seconds, fraction, offset = match.groups()
        order = self.file_format.date_order or "ymd"
        parts = dict(zip(order, (first, second, third), strict=True))
        try:
            day = dt.date(int(parts["y"]), int(parts["m"]), int(parts["d"]))
        except ValueError:
            raise ma.ValidationError(f"Must be a date in the order {order}.") from None
        if len(parts["y"]) != 4:
            raise ma.ValidationError(f"Must be a date in the order {order}, with a year of four digits.")
        time = f"{day.isoformat()}T{int(hour or 0):02}:{minute or '00'}:{seconds or '00'}{fraction or ''}"
        if offset or self.file_format.timezone is None:
            return time + (offset or "")
        return time + self._offset_at(time, name)

    def _offset_at(self, time: str, name: str) -> str:
        fold = self.file_format.fold
        assert self.file_format.timezone is not None
        try:
            local = dt.datetime.fromisoformat(time).replace(tzinfo=ZoneInfo(self.file_format.timezone))
        except ValueError:
            raise ma.ValidationError("Must be a time of day.") from None
        if not 1900 <= local.year <= 2200:
            raise ma.ValidationError(UtcDateTime.default_error_messages["years"])
        first, second = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
        assert first is not None and second is not None
        if fold == "order":
            naive, series = local.replace(tzinfo=None), (name, *self._series)
            is_second = self._repeated_times.is_second(series, naive, is_repeated=first > second)
        else:
            is_second = fold == "second"
        if first < second and fold in (None, "order"):
            raise ma.ValidationError(
                f"This local time does not exist in {self.file_format.timezone}. Set fold=first or fold=second."
            )
        if first > second and fold is None:
            raise ma.ValidationError(
                f"This local time occurs twice in {self.file_format.timezone}. Set fold=order if the file has both in "
                "the order of time, otherwise fold=first or fold=second."
            )
        seconds = int((second if is_second else first).total_seconds())
        # Local mean times have offsets with seconds, which RFC 3339 cannot express.
        if seconds % 60:
            raise ma.ValidationError(
                f"{self.file_format.timezone} had an offset with seconds then. Add the offset to the time."
            )
        sign, minutes = "-" if seconds < 0 else "+", abs(seconds) // 60
        return f"{sign}{minutes // 60:02}:{minutes % 60:02}"


def invalid_row(line: int, errors: list[RowError], cells: Cells) -> str:
    """Return the line for COPY of a rejected row, which has only errors and cells."""
    texts = {name: clean(cell) for name, cell in cells.items() if cell is not None}
    as_json = (json.dumps(value, ensure_ascii=False).translate(_ESCAPED) for value in (errors, texts))
    return "\t".join([str(line), *[NULL] * len(STAGED_COLUMNS), REJECTED, *as_json]) + "\n"


def format_errors(errors: list[RowError]) -> list[str]:
    """Return the errors as sentences that start with the column."""
    return [f"{error['column']}: {error['message']}" if error["column"] else str(error["message"]) for error in errors]


def clean(text: str) -> str:
    """Replace the characters that PostgreSQL cannot store."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def excerpt(text: str) -> str:
    """Shorten a text for a message."""
    return text if len(text) <= MAX_CELL_SHOWN else f"{text[:MAX_CELL_SHOWN]}…"


def _error(column: str, found: str | None, message: str) -> RowError:
    return {"column": column, "found": found and clean(excerpt(found)), "message": message}
