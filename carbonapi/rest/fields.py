"""The fields of requests and responses: strict parsing, exact output, and their JSON Schema.

A field accepts exactly the values that its JSON Schema permits. Four rules cannot be written in JSON Schema: the number
of decimals, the range of years, and the names of time zones and of regions.

marshmallow's own strict fields do not fit: Integer rejects 1.0, Decimal accepts exponents of any size, AwareDateTime
formats that RFC 3339 does not permit.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import marshmallow as ma
import sqlalchemy as sa

from ..db import db
from . import regions

MAX_ID = 2**63 - 1
# The media types of files, by file format: of exports, and of uploads.
MEDIA_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
UPLOAD_TYPES = MEDIA_TYPES | {"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
MAX_NUMBER_LENGTH = 100  # Of a number in a string, which can have leading and trailing zeros.
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # Except tab and line breaks.
JSONSchema = dict[str, Any]
Field = ma.fields.Field[Any]


def now() -> dt.datetime:
    """Return the current time. Only views call this: services get the time as an argument."""
    return dt.datetime.now(dt.UTC)


def format_decimal(number: Decimal) -> str:
    """Return the exact digits of `number`, without exponent and trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_decimal(token: str) -> Decimal:
    """Return the exact number of a JSON token, or NaN, which every field rejects, if its exponent is too large."""
    try:
        return Decimal(token)
    except InvalidOperation:
        return Decimal("NaN")


def format_datetime(moment: dt.datetime) -> str:
    """Return `moment` as RFC 3339 in UTC: 2024-01-31T12:00:00Z, with microseconds if there are any."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


@cache
def timezone_names() -> frozenset[str]:
    """Return the IANA time zones that both this machine and PostgreSQL know.

    Some packages of PostgreSQL lack the legacy names, such as Asia/Calcutta. Statements with them would fail.
    """
    known_to_postgres = db.session.scalars(sa.text("SELECT name FROM pg_timezone_names"))
    return frozenset(available_timezones()).intersection(known_to_postgres) - {"localtime", "Factory"}


def start_of_day(day: dt.date, timezone: str) -> dt.datetime:
    """Return the start of `day` in `timezone`, in UTC.

    If clocks skip midnight, this is the time of the change. If midnight occurs twice, this is the first (PEP 495).
    """
    return dt.datetime.combine(day, dt.time(), ZoneInfo(timezone)).astimezone(dt.UTC)


def returned(
    field: Callable[..., Field],
    example: Any,
    description: str | None = None,
    *,
    nullable: bool = False,
    **metadata: Any,
) -> Field:
    """Return a field that every response has. metadata: further keywords of its JSON Schema."""
    described = {"description": description} if description else {}
    return field(required=True, allow_none=nullable, metadata={"example": example} | described | metadata)


def optional(field: Callable[..., Field], validate: Any = None, **metadata: Any) -> Field:
    """Return a field that a request can omit or set to null. metadata: keywords of its JSON Schema."""
    return field(load_default=None, allow_none=True, validate=validate, metadata=metadata)


class Text(ma.fields.String):
    """Text without control characters, except tab and line breaks, and without unpaired surrogates.

    PATTERN: a regular expression for the whole text, in the syntax that Python and JSON Schema share.
    """

    PATTERN = rf"[^{_CONTROL}]*"
    default_error_messages = {"pattern": "Control characters are not allowed."}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        assert text is not None
        if not re.fullmatch(self.PATTERN, text) or _SURROGATE.search(text):
            raise self.make_error("pattern")
        return text

    def json_schema(self) -> JSONSchema:
        has_choices = any(isinstance(validator, ma.validate.OneOf) for validator in self.validators)
        return {} if has_choices else {"pattern": f"^{self.PATTERN}$"}


class Name(Text):
    """A single line of text that is not blank. Surrounding space is removed."""

    PATTERN = rf"[^\t\n\r{_CONTROL}]*[^\s{_CONTROL}][^\t\n\r{_CONTROL}]*"
    default_error_messages = {"blank": "Must not be blank."}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if isinstance(value, str) and not value.strip():
            raise self.make_error("blank")
        return super()._deserialize(value, attr, data, **kwargs).strip()


class Email(Text):
    """An e-mail address: a dot-atom (RFC 5322) at a domain with at least two labels.

    The JSON Schema has the pattern only, because implementations of `format: email` differ.
    """

    _ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
    _REST = r"([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # Of a label of the domain.
    PATTERN = rf"{_ATOM}(\.{_ATOM})*@([A-Za-z0-9]{_REST}\.)+[A-Za-z]{_REST}"
    default_error_messages = {"pattern": "Not a valid email address."}


class StrictInteger(ma.fields.Integer):
    """An integer in ASCII digits. In JSON it must be a number, and 1.0 is an integer, as in JSON Schema."""

    default_error_messages = {"invalid": "Must be an integer."}

    def __init__(self, lowest: int = 1, highest: int = MAX_ID, **kwargs: Any) -> None:
        super().__init__(strict=True, validate=ma.validate.Range(lowest, highest), **kwargs)
        self.highest = highest

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        # Values of query strings and files are text.
        textual = isinstance(value, str) and not getattr(self.root, "typed", True)
        if textual and re.fullmatch(r"-?[0-9]{1,40}", value):
            value = int(value)
        # Compare first: converting 1E+400000000 to an integer would exhaust the memory.
        is_in_range = isinstance(value, Decimal) and value.is_finite() and -MAX_ID <= value <= MAX_ID
        if is_in_range and value == value.to_integral_value():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid")
        return value

    def json_schema(self) -> JSONSchema:
        return {"format": "int32" if self.highest < 2**31 else "int64"}


class StrictBoolean(ma.fields.Boolean):
    """true or false, without the alternative spellings of marshmallow."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool) and (getattr(self.root, "typed", True) or value not in ("true", "false")):
            raise self.make_error("invalid", input=value)
        return value in (True, "true")


class DecimalInput(ma.fields.Field[Decimal]):
    """An exact decimal with up to 12 integer digits, as a number or a string.

    signed: whether it can be negative.
    """

    default_error_messages = {
        "invalid": "Not a number.",
        "negative": "Must not be negative.",
        "integer_digits": "At most 12 digits before the decimal point.",
        "fraction_digits": "At most {most} digits after the decimal point.",
    }

    def __init__(self, fraction_digits: int, *, signed: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fraction_digits = fraction_digits
        self.signed = signed

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Decimal:
        if isinstance(value, str):
            if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value) or len(value) > MAX_NUMBER_LENGTH:
                raise self.make_error("invalid")
            if value.startswith("-") and not self.signed:
                raise self.make_error("negative")
        elif not isinstance(value, int | Decimal) or isinstance(value, bool):
            raise self.make_error("invalid")
        number = Decimal(value)
        if not number.is_finite():
            raise self.make_error("invalid")
        if number < 0 and not self.signed:
            raise self.make_error("negative")
        if number == 0:
            return Decimal(0)
        if number.adjusted() > 11:
            raise self.make_error("integer_digits")
        if number != round(number, self.fraction_digits):
            raise self.make_error("fraction_digits", most=self.fraction_digits)
        return number

    def json_schema(self) -> JSONSchema:
        sign = "-?" if self.signed else ""
        digits = rf"^{sign}0*[0-9]{{1,12}}(\.[0-9]{{1,{self.fraction_digits}}}0*)?$"
        lowest = {"exclusiveMinimum": -(10**12)} if self.signed else {"minimum": 0}
        choices: list[JSONSchema] = [
            {"type": "number", **lowest, "exclusiveMaximum": 10**12},
            {"type": "string", "pattern": digits, "maxLength": MAX_NUMBER_LENGTH},
        ]
        return {"anyOf": [*choices, *([{"type": "null"}] if self.allow_none else [])]}


class ExactDecimal(ma.fields.Field[Decimal]):
    """An exact decimal in a response. The JSON provider writes its digits."""

    def json_schema(self) -> JSONSchema:
        return {"type": ["number", "null"] if self.allow_none else "number"}


class UtcDateTime(ma.fields.Field[dt.datetime]):
    """An RFC 3339 date-time with a UTC offset, from 1900 to 2200. It is parsed to UTC, and written in UTC."""

    default_error_messages = {
        "invalid": "Not an RFC 3339 date-time with an offset, such as 2024-01-31T12:00:00Z.",
        "naive": "Give the offset from UTC: 2024-01-31T12:00:00Z or 2024-01-31T12:00:00+01:00 (in a URL, + is %2B).",
        "years": "Must be in the years 1900 to 2200.",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            naive = isinstance(value, str) and _INSTANT.fullmatch(value + "Z")
            lost_plus = isinstance(value, str) and _INSTANT.fullmatch("+".join(value.rsplit(" ", 1)))
            raise self.make_error("naive" if naive or lost_plus else "invalid")
        try:
            moment = dt.datetime.fromisoformat("".join((match[1], "T", match[2], match[3] or "", match[4].upper())))
        except ValueError:
            raise self.make_error("invalid") from None
        if not 1900 <= moment.year <= 2200:
            raise self.make_error("years")
        moment = moment.astimezone(dt.UTC)
        if not 1900 <= moment.year <= 2200:
            raise self.make_error("years")
        return moment

    def _serialize(self, value: dt.datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else format_datetime(value)

    def json_schema(self) -> JSONSchema:
        return {"type": ["string", "null"] if self.allow_none else "string", "format": "date-time"}


class UtcDateTimeOrDate(UtcDateTime):
    """A date-time, or a date, which the schema turns into midnight in its `timezone`."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if not (isinstance(value, str) and _DATE.fullmatch(value)):
            return super()._deserialize(value, attr, data, **kwargs)
        try:
            day = dt.date.fromisoformat(value)
        except ValueError:
            raise self.make_error("invalid") from None
        if not 1900 <= day.year <= 2200:
            raise self.make_error("years")
        return day

    def json_schema(self) -> JSONSchema:
        return {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}


class CalendarDate(ma.fields.Date):
    """A date without a time, such as 2024-01-31, in the years 1900 to 2200."""

    default_error_messages = {
        "invalid": "Not a date, such as 2024-01-31.",
        "years": "Must be in the years 1900 to 2200.",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> dt.date:
        if not (isinstance(value, str) and _DATE.fullmatch(value)):
            raise self.make_error("invalid")
        day = super()._deserialize(value, attr, data, **kwargs)
        if not 1900 <= day.year <= 2200:
            raise self.make_error("years")
        return day


class TimeZoneName(Text):
    """An IANA time zone name."""

    PATTERN = r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*"
    default_error_messages = {
        "pattern": "Not an IANA time zone, such as Europe/London.",
        "postgres": "The database does not know this time zone. Use the current name of the zone: Asia/Kolkata instead "
        "of Asia/Calcutta.",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        name = super()._deserialize(value, attr, data, **kwargs)
        if name not in timezone_names():
            raise self.make_error("postgres" if name in available_timezones() else "pattern")
        return name


class Region(Text):
    """A region, in capitals: a country in ISO 3166-1, a subdivision in ISO 3166-2, or an eGRID subregion."""

    PATTERN = regions.PATTERN

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if isinstance(value, str) and (error := regions.region_error(value)):
            raise ma.ValidationError(error)
        return super()._deserialize(value, attr, data, **kwargs)
