"""Wire format of imports, their options and their row errors."""

from collections.abc import Collection
from functools import partial
from typing import Any

import marshmallow as ma

from ..rest import ExportQuerySchema, ListQuerySchema, QuerySchema, Schema, Sort, equal_to, time_range, time_zone
from ..rest.fields import (
    Email,
    ExactDecimal,
    Name,
    Region,
    StrictBoolean,
    StrictInteger,
    Text,
    TimeZoneName,
    UtcDateTime,
    returned,
)
from ..usages.schemas import quality, reason
from .formats.green_button import COMMODITIES
from .formats.rows import FOLDS, FORMATS, NAMES, CellsSchema, FileFormat
from .models import MODES, ON_CONFLICT, STATUSES, Import, ImportRowError

DELIMITERS = {",": ",", ";": ";", "tab": "\t", "pipe": "|"}


def one_of(choices: Collection[str], description: str) -> Text:
    return Text(validate=ma.validate.OneOf(list(choices)), metadata={"description": description})


class ImportOptions(QuerySchema):
    """How to import a file, how the file is written, and values for columns that it lacks."""

    mode = one_of(
        MODES,
        "`atomic` (default): record all rows or none. `partial`: record the valid rows. `dry-run`: record nothing, and "
        "return the outcome of `partial`.",
    )
    on_conflict = one_of(
        ON_CONFLICT,
        "Action for rows whose usage is already in the ledger. `reject` (default): reject the row. `skip`: keep the "
        "usage. `replace`: correct the usage if the row differs. A row with a meter is identified by meter and "
        "`usage_at`, other rows by `external_id`, or without one by user, usage type, site, `usage_at` and "
        "`usage_until`.",
    )
    again = StrictBoolean(
        metadata={
            "description": "Import a file that was imported before. Default: such a file is an error, unless the "
            "earlier import was reverted. Use it with `on_conflict=skip` or `replace`."
        }
    )
    format = one_of(
        FORMATS,
        "Format of the file. Detected by default. Send `greenbutton`, the XML of utilities with meter readings, as "
        "`file` of a form.",
    )
    commodity = one_of(
        list(dict.fromkeys(COMMODITIES.values())),
        "Commodity to import from a Green Button file; other readings are ignored. Required if the file has several.",
    )
    reverse_usage_type_id = StrictInteger(
        metadata={
            "description": "Usage type of energy delivered to the grid in a Green Button file. Default: skip it, with "
            "a warning."
        }
    )
    columns = Text(
        validate=ma.validate.Length(1, 2000),
        metadata={"description": "Columns with other names in the file: `columns=usage_at:start,amount:value`."},
    )
    delimiter = one_of(DELIMITERS, "Delimiter of the cells of CSV. Default: a comma.")
    decimal = one_of(".,", "Decimal separator of amounts. Default: a point.")
    timezone = TimeZoneName(
        metadata={"description": "IANA time zone of times without an offset. Default: such times are errors."}
    )
    fold = one_of(
        FOLDS,
        "Instant of a local time that occurs twice or does not exist when clocks change. With `order`, the first "
        "occurrence in the lines of a user and usage type is the first instant, and the next one the second; if the "
        "times descend, the other way around. Times that do not exist are errors then. Default: all such times are "
        "errors.",
    )
    date_order = one_of(("ymd", "dmy", "mdy"), "Order of dates such as 31/12/2020 13:00. Default: RFC 3339 only.")
    round = StrictInteger(0, 6, metadata={"description": "Round amounts, half to even, to this number of decimals."})
    blank = one_of(("reject", "skip"), "Action for rows whose amount is empty or `nan`. Default: `reject`.")
    unit = Name(
        validate=ma.validate.Length(1, 50),
        metadata={"description": "Unit of the amounts. Default: the unit of the usage type."},
    )

    user_id = StrictInteger(metadata={"description": "User of the usages. Default: you."})
    user_email = Email(
        validate=ma.validate.Length(max=254),
        metadata={
            "description": "User of the usages by e-mail address, instead of `user_id`.",
            "example": "ada@example.org",
        },
    )
    usage_type_id = StrictInteger(metadata={"description": "Usage type of the usages.", "example": 100})
    usage_type = Name(
        validate=ma.validate.Length(1, 200),
        metadata={
            "description": "Usage type by name, instead of `usage_type_id`. Of several types with this name, the one "
            "in the unit of the row applies.",
            "example": "electricity",
        },
    )
    meter_id = StrictInteger(
        metadata={"description": "Meter of the usages. It gives them its site, its usage type and its region."}
    )
    meter = Name(
        validate=ma.validate.Length(1, 200),
        metadata={"description": "Meter by `external_id` or name, instead of `meter_id`.", "example": "1900000000001"},
    )
    site_id = StrictInteger(metadata={"description": "Site of the usages. Default: that of the meter."})
    site = Name(
        validate=ma.validate.Length(1, 200),
        metadata={"description": "Site by `external_id` or name, instead of `site_id`.", "example": "BER"},
    )
    create_meters = StrictBoolean(
        metadata={
            "description": "Create the meters that the file names and that do not exist, at the site and with the "
            "usage type of their rows. For managers. Default: an unknown meter is an error."
        }
    )
    region = Region(
        metadata={
            "description": "Region whose emission factors apply. Default: the region of the site, or of the "
            "organization."
        }
    )
    quality = quality()
    ignore = ma.fields.List(
        Text(validate=ma.validate.OneOf(list(CellsSchema().fields))),
        validate=ma.validate.Length(1, 100),
        metadata={
            "description": "Columns of the file to ignore. Repeatable. With `ignore=user_id`, `ignore=site_id` "
            "and `ignore=meter_id`, you can import the export of another organization as your own usages."
        },
    )

    @ma.validates_schema
    def reject_name_with_id(self, options: dict[str, Any], **kwargs: Any) -> None:
        for name, id_name in NAMES.items():
            if name in options and id_name in options:
                raise ma.ValidationError(f"Give {name} or {id_name}, not both.", name)

    @ma.post_load
    def collect_file_format(self, options: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Replace the options about the format of the file by a FileFormat."""
        fields = {name: options.pop(name) for name in FileFormat.__dataclass_fields__ if name in options}
        if "delimiter" in fields:
            fields["delimiter"] = DELIMITERS[fields["delimiter"]]
        if "columns" in fields:
            fields["columns"] = _parse_columns(fields["columns"])
        return options | {"file_format": FileFormat(**fields)}


def _parse_columns(text: str) -> dict[str, str]:
    """Return the known columns by their names in the file. Raise ValidationError for an invalid list."""
    pairs = [pair.partition(":") for pair in text.split(",")]
    known = CellsSchema().fields
    is_invalid = any(name.strip() not in known or not column.strip() for name, _, column in pairs)
    if is_invalid or len({column for _, _, column in pairs}) < len(pairs):
        message = f"Must be pairs such as usage_at:start, with different columns. Fields: {', '.join(known)}."
        raise ma.ValidationError(message, "columns")
    return {column.strip(): name.strip() for name, _, column in pairs}


def gap_time(description: str) -> ma.fields.Field[Any]:
    """A time of a stored warning. Older warnings have none."""
    text = partial(ma.fields.String, dump_default=None)
    return returned(text, None, description, nullable=True, format="date-time")


class WarningSchema(Schema):
    """A warning about a row that was recorded."""

    line = returned(ma.fields.Integer, 3, "The header is line 1.")
    kind = returned(
        partial(ma.fields.String, dump_default="overlap"),  # Older warnings have no kind.
        "overlap",
        "`overlap`: an interval overlaps another one or includes a reading. `gap`: an interval or a reading before "
        "this one is missing. `skipped`: readings of a Green Button file were not recorded.",
        enum=["overlap", "gap", "skipped"],
    )
    message = returned(ma.fields.String, "Its interval overlaps line 2.")
    overlaps_line = returned(ma.fields.Integer, 2, "Line of the file that it overlaps.", nullable=True)
    overlaps_usage_id = returned(ma.fields.Integer, None, "Usage that it overlaps.", nullable=True)
    gap_start = gap_time("Time of the reading before the gap, or end of the interval before it.")
    gap_end = gap_time("Time of this reading, or start of this interval.")


class ImportRowErrorSchema(Schema):
    """An error of a rejected row."""

    line = returned(ma.fields.Integer, 3, "The header of CSV is line 1.")
    column = returned(ma.fields.String, "amount", "`null` for the row as a whole.", nullable=True)
    found = returned(ma.fields.String, "two", nullable=True)
    message = returned(ma.fields.String, "Not a number.")


def cell(example: str | None = None) -> ma.fields.Field[Any]:
    return returned(ma.fields.String, example, nullable=True)


class ImportSchema(Schema):
    """An import of a file, and the outcomes of its rows."""

    id = returned(ma.fields.Integer, 1, "`null` for a dry run.", nullable=True)
    organization_id = returned(ma.fields.Integer, 1)
    mode = returned(ma.fields.String, "atomic", enum=list(MODES))
    on_conflict = returned(ma.fields.String, "reject", enum=list(ON_CONFLICT))
    status = returned(
        ma.fields.String,
        "completed",
        "`queued`, `running`, then `completed` or `failed`. The usages are in the ledger once the import has "
        "completed. `checked`: a dry run.",
        enum=[*STATUSES, "checked"],
    )
    progress = returned(ExactDecimal, 1, "Share of the file that has been read. The rows are recorded after that.")
    failure = returned(ma.fields.String, None, "Why the import failed.", nullable=True)
    usage_count = returned(ma.fields.Integer, 8760, "Usages recorded: new and changed.")
    new_count = returned(ma.fields.Integer, 8760, "Rows recorded as new usages.")
    changed_count = returned(ma.fields.Integer, 0, "Rows that corrected a usage.")
    unchanged_count = returned(ma.fields.Integer, 0, "Rows equal to a usage in the ledger.")
    skipped_count = returned(
        ma.fields.Integer, 0, "Rows that differ from a usage in the ledger, which was not corrected."
    )
    rejected_count = returned(ma.fields.Integer, 0, "Rows with errors, which were not recorded.")
    created_meter_count = returned(ma.fields.Integer, 0, "Meters created.")
    blank_count = returned(ma.fields.Integer, 0, "Rows without an amount, which were skipped.")
    rounded_count = returned(ma.fields.Integer, 0, "Amounts that were rounded.")
    co2e_kg = returned(
        ExactDecimal, 4102.5, "Sum of the new usages as recorded. `null` for a failed import.", nullable=True
    )
    amount = returned(
        ExactDecimal,
        2735,
        "Sum of the new usages in the unit of their usage type. `null` for several usage types.",
        nullable=True,
    )
    error_count = returned(ma.fields.Integer, 0, "Errors of the rejected rows.")
    errors = returned(
        partial(ma.fields.List, ma.fields.Nested(ImportRowErrorSchema)),
        [],
        "Errors of the first 100 rejected rows. `/imports/{id}/errors` lists all.",
    )
    sha256 = returned(
        ma.fields.String, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "SHA-256 of the file."
    )
    warning_count = returned(ma.fields.Integer, 0)
    warnings = returned(
        partial(ma.fields.List, ma.fields.Nested(WarningSchema)),
        [],
        "First 100 warnings about overlaps, gaps and skipped readings, by line.",
    )
    recorded_at = returned(UtcDateTime, "2026-01-31T12:00:01Z", "While queued, the time of the request.")
    recorded_by = returned(ma.fields.Integer, 1)
    reverted_at = returned(UtcDateTime, None, "When the import was reverted.", nullable=True)
    reverted_by = returned(ma.fields.Integer, None, nullable=True)


class ImportRowErrorQuery(ListQuerySchema):
    sort = Sort(ImportRowError.line, ImportRowError.id, default="line")


class RevertSchema(Schema):
    """Why an import is reverted."""

    reason = reason()


class RejectedQuery(ExportQuerySchema):
    sort = Sort(ImportRowError.line, ImportRowError.id, default="line")


class RejectedSchema(Schema):
    """A rejected row: its cells as text, and its errors."""

    usage_at = cell("2026-01-31T12:00:00Z")
    usage_until = cell()
    amount = cell("two")
    unit = cell()
    usage_type_id = cell("100")
    user_id = cell()
    region = cell()
    quality = cell()
    note = cell()
    adjusts_closed_period_id = cell()
    external_id = cell("meter-1/2026-01")
    usage_type = cell()
    user_email = cell()
    site_id = cell()
    meter_id = cell()
    site = cell()
    meter = cell()
    rejected_line = returned(ma.fields.Integer, 3)
    rejected_because = returned(ma.fields.String, "amount: Not a number.")


class ImportQuery(ListQuerySchema):
    start, end = time_range(Import.recorded_at)
    timezone = time_zone()
    recorded_by = equal_to(Import.recorded_by)
    sort = Sort(Import.recorded_at, Import.usage_count, Import.id, default="-recorded_at")
