"""What imports look like on the wire."""

from collections.abc import Collection
from typing import Any

import marshmallow as ma

from ..catalogue.schemas import method
from ..rest import ExportQuerySchema, ListQuerySchema, QuerySchema, Schema, Sort, equal_to, time_range, time_zone
from ..rest.fields import Email, ExactDecimal, Name, Region, StrictInteger, Text, TimeZoneName, UtcDateTime
from ..usages.schemas import quality, reason
from .checks.conflicts import ON_CONFLICT
from .formats.green_button import COMMODITIES
from .formats.rows import FORMATS, NAMES, CellsSchema, FileFormat
from .models import STATUSES, Import, ImportRowError
from .service import MODES

DELIMITERS = {",": ",", ";": ";", "tab": "\t", "pipe": "|"}


def one_of(choices: Collection[str], description: str) -> Text:
    return Text(validate=ma.validate.OneOf(list(choices)), metadata={"description": description})


class ImportOptions(QuerySchema):
    """How a file is to be booked, how it is written, and what holds for columns that it does not have."""

    mode = one_of(
        MODES,
        "`atomic`, the default: all lines or none. `partial`: the good ones. `dry-run`: none; what partial would do.",
    )
    on_conflict = one_of(
        ON_CONFLICT,
        "What becomes of a line whose usage the ledger has already: that of its `external_id`, or, for `skip` and "
        "`replace`, without one that of its user, usage type and time. `reject`, the default: a fault, by external_id "
        "alone. `skip`: what is in the ledger stays. `replace`: the line corrects it, if it says something else.",
    )
    format = one_of(
        FORMATS,
        "What the file is; by default, its beginning tells. `greenbutton` is the XML in which utilities hand out what "
        "their meters read: send it as `file` of a form.",
    )
    commodity = one_of(
        list(dict.fromkeys(COMMODITIES.values())),
        "Which readings are read of a Green Button file that tells of several commodities; others are passed over.",
    )
    columns = Text(
        validate=ma.validate.Length(1, 2000),
        metadata={
            "description": "Columns that the file calls otherwise: `columns=usage_at:start,amount:value`.",
        },
    )
    delimiter = one_of(DELIMITERS, "What stands between two cells of CSV; a comma by default.")
    decimal = one_of(".,", "The decimal point of amounts; a point by default.")
    timezone = TimeZoneName(
        metadata={"description": "IANA time zone of times without an offset; without it, they are errors."}
    )
    fold = one_of(
        ("first", "second"),
        "Which instant a local time is that comes twice, or is skipped, when clocks are changed; else it is a fault.",
    )
    date_order = one_of(
        ("ymd", "dmy", "mdy"), "Of dates such as 31/12/2020 13:00; without it, times are as RFC 3339 has them."
    )
    round = StrictInteger(
        0, 6, metadata={"description": "Round amounts, half to even, to so many digits after the point."}
    )
    blank = one_of(
        ("refuse", "skip"), "What becomes of a line whose amount is empty or `nan`: a fault by default, or passed over."
    )
    unit = Name(
        validate=ma.validate.Length(1, 50), metadata={"description": "Their unit; the usage type's by default."}
    )
    method = method()

    user_id = StrictInteger(metadata={"description": "Whose usages they are; your own by default."})
    user_email = Email(
        validate=ma.validate.Length(max=254),
        metadata={"description": "The same by e-mail address, in place of `user_id`.", "example": "ada@example.org"},
    )
    usage_type_id = StrictInteger(metadata={"description": "Their usage type.", "example": 100})
    usage_type = Name(
        validate=ma.validate.Length(1, 200),
        metadata={
            "description": "The same by name, in place of `usage_type_id`. Of several types of one name it is that in "
            "the unit of the line.",
            "example": "electricity",
        },
    )
    region = Region(metadata={"description": "Whose emission factors apply; the organization's region by default."})
    quality = quality()
    ignore = ma.fields.List(
        Text(validate=ma.validate.OneOf(list(CellsSchema().fields))),
        validate=ma.validate.Length(1, 100),
        metadata={
            "description": "Columns of the file that are not read; repeat it. `ignore=user_id` books the export of "
            "another organization as the usages of `user_id`."
        },
    )

    @ma.validates_schema
    def what_is_named_has_no_id(self, options: dict[str, Any], **kwargs: Any) -> None:
        for name, number in NAMES.items():
            if name in options and number in options:
                raise ma.ValidationError(f"Give {name} or {number}, not both.", name)

    @ma.post_load
    def layout(self, options: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The options, those that say how the file is written as its Layout."""
        written = {name: options.pop(name) for name in FileFormat.__dataclass_fields__ if name in options}
        if "delimiter" in written:
            written["delimiter"] = DELIMITERS[written["delimiter"]]
        if "columns" in written:
            written["columns"] = _columns(written["columns"])
        return options | {"layout": FileFormat(**written)}


def _columns(text: str) -> dict[str, str]:
    """Our names by the file's. Raises ValidationError for what is no list of pairs."""
    pairs = [pair.partition(":") for pair in text.split(",")]
    known = CellsSchema().fields
    wrong = [ours for ours, colon, theirs in pairs if ours.strip() not in known or not theirs.strip()]
    if wrong or len({theirs for _, _, theirs in pairs}) < len(pairs):
        raise ma.ValidationError(f"Name a column and what the file calls it: {', '.join(known)}.", "columns")
    return {theirs.strip(): ours.strip() for ours, _, theirs in pairs}


def edge_of_gap(description: str) -> ma.fields.String:
    """A time of a warning, which is kept as it is given. Warnings that were kept before have none."""
    return ma.fields.String(
        required=True,
        allow_none=True,
        dump_default=None,
        metadata={"format": "date-time", "example": None, "description": description},
    )


class WarningSchema(Schema):
    """A line that was booked, and that somebody should look at."""

    line = ma.fields.Integer(required=True, metadata={"example": 3, "description": "The header is line 1."})
    kind = ma.fields.String(
        required=True,
        dump_default="overlap",  # There was no other kind when older ones were kept.
        metadata={
            "enum": ["overlap", "gap"],
            "example": "overlap",
            "description": "`overlap`: of two periods. `gap`: a period or a reading that was to be expected before it "
            "is not there.",
        },
    )
    message = ma.fields.String(required=True, metadata={"example": "Its period overlaps that of line 2."})
    overlaps_line = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": 2, "description": "The line of the file that it overlaps."}
    )
    overlaps_usage_id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": None, "description": "The usage that it overlaps."}
    )
    gap_start = edge_of_gap("The reading before the gap, or the end of the period before it.")
    gap_end = edge_of_gap("This reading, or the beginning of this period.")


class ImportRowErrorSchema(Schema):
    """What is wrong with a line that was not booked."""

    line = ma.fields.Integer(required=True, metadata={"example": 3, "description": "The header of CSV is line 1."})
    column = ma.fields.String(
        required=True, allow_none=True, metadata={"example": "amount", "description": "null: the line as a whole."}
    )
    found = ma.fields.String(required=True, allow_none=True, metadata={"example": "two"})
    message = ma.fields.String(required=True, metadata={"example": "Not a number."})


def said(example: str | None) -> ma.fields.String:
    return ma.fields.String(required=True, allow_none=True, metadata={"example": example})


def count(example: int, description: str) -> ma.fields.Integer:
    return ma.fields.Integer(required=True, metadata={"example": example, "description": description})


class ImportSchema(Schema):
    """A file of usages that is booked as one act, and what came of its lines."""

    id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": 1, "description": "null: a dry run, which booked nothing."}
    )
    organization_id = ma.fields.Integer(required=True, metadata={"example": 1})
    mode = ma.fields.String(required=True, metadata={"enum": list(MODES), "example": "atomic"})
    on_conflict = ma.fields.String(required=True, metadata={"enum": list(ON_CONFLICT), "example": "reject"})
    status = ma.fields.String(
        required=True,
        metadata={
            "enum": [*STATUSES, "checked"],
            "example": "completed",
            "description": "`queued`, `running`, and then `booked` or `failed`: only once it is booked, the ledger has "
            "its usages, all at once. `checked`: a dry run.",
        },
    )
    progress = ExactDecimal(
        required=True,
        metadata={"example": 1, "description": "What share of the file has been read; after that, it is written."},
    )
    failure = ma.fields.String(
        required=True, allow_none=True, metadata={"example": None, "description": "Why it failed, if it did."}
    )
    usage_count = count(8760, "How many usages it wrote: new and changed ones.")
    new_count = count(8760, "Lines that are usages of their own.")
    changed_count = count(0, "Lines that corrected a usage.")
    unchanged_count = count(0, "Lines that say what the ledger said already.")
    skipped_count = count(0, "Lines that differ from a usage in the ledger, which stayed as it was.")
    rejected_count = count(0, "Lines with errors, which were not booked.")
    blank_count = count(0, "Lines without an amount that were passed over.")
    rounded_count = count(0, "Amounts that were rounded.")
    co2e_kg = ExactDecimal(
        required=True,
        allow_none=True,
        metadata={"example": 4102.5, "description": "Of the new usages, as they were booked; null if it was not kept."},
    )
    amount = ExactDecimal(
        required=True,
        allow_none=True,
        metadata={
            "example": 2735,
            "description": "Of the new usages, in their type's unit, where they are of one type.",
        },
    )
    error_count = count(0, "How many errors the lines have that were rejected.")
    errors = ma.fields.List(
        ma.fields.Nested(ImportRowErrorSchema),
        required=True,
        metadata={"example": [], "description": "Those of the first 100 lines; `/imports/{id}/errors` has all."},
    )
    sha256 = ma.fields.String(
        required=True,
        metadata={
            "description": "Of the file.",
            "example": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
    )
    warning_count = ma.fields.Integer(required=True, metadata={"example": 0})
    warnings = ma.fields.List(
        ma.fields.Nested(WarningSchema),
        required=True,
        metadata={"example": [], "description": "The first 100, by line: overlaps and gaps."},
    )
    recorded_at = UtcDateTime(
        required=True,
        metadata={"example": "2026-01-31T12:00:01Z", "description": "While it is queued, when it was sent."},
    )
    recorded_by = ma.fields.Integer(required=True, metadata={"example": 1})
    reverted_at = UtcDateTime(
        required=True, allow_none=True, metadata={"example": None, "description": "When it was taken back."}
    )
    reverted_by = ma.fields.Integer(required=True, allow_none=True, metadata={"example": None})


class ImportRowErrorQuery(ListQuerySchema):
    sort = Sort(ImportRowError.line, ImportRowError.id, default="line")


class RevertSchema(Schema):
    """Why an import is taken back."""

    reason = reason()


class RejectedQuery(ExportQuerySchema):
    sort = Sort(ImportRowError.line, ImportRowError.id, default="line")


class RejectedSchema(Schema):
    """A line that was not booked: what it said, as text, and what is wrong with it."""

    usage_at = said("2026-01-31T12:00:00Z")
    usage_until = said(None)
    amount = said("two")
    unit = said(None)
    usage_type_id = said("100")
    user_id = said(None)
    region = said(None)
    method = said(None)
    quality = said(None)
    note = said(None)
    adjusts_closed_period_id = said(None)
    external_id = said("meter-1/2026-01")
    usage_type = said(None)
    user_email = said(None)
    rejected_line = ma.fields.Integer(required=True, metadata={"example": 3})
    rejected_because = ma.fields.String(required=True, metadata={"example": "amount: Not a number."})


class ImportQuery(ListQuerySchema):
    start, end = time_range(Import.recorded_at)
    timezone = time_zone()
    recorded_by = equal_to(Import.recorded_by)
    sort = Sort(Import.recorded_at, Import.usage_count, Import.id, default="-recorded_at")


class VerificationSchema(Schema):
    """What came of verifying an export."""

    lines = ma.fields.Integer(required=True, metadata={"example": 1, "description": "How many usages the file has."})
    reproduced = ma.fields.Integer(
        required=True, metadata={"example": 0, "description": "Those whose every value could be reproduced."}
    )
    differing = ma.fields.Integer(required=True, metadata={"example": 1, "description": "The others."})
    sha256 = ma.fields.String(
        required=True,
        metadata={
            "description": "Of the file.",
            "example": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
    )
    errors = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.List(ma.fields.String()),
        required=True,
        metadata={
            "description": "What is wrong with the first hundred of them, by line; the header of a CSV file is line 1.",
            "example": {"2": ["co2e_kg: the file says 18.76; the ledger has 18.75 in version 1."]},
        },
    )
