"""What imports look like on the wire."""

import marshmallow as ma

from ..rest import ListQuery, Query, Schema, Sort, equal_to, time_range, time_zone
from ..rest.fields import Instant, Region, Text, Whole
from ..usages.schemas import quality
from .models import Import
from .reading import CellsSchema


class ImportOptions(Query):
    """What holds for lines whose file has no such column."""

    user_id = Whole(metadata={"description": "Whose usages they are; your own by default."})
    usage_type_id = Whole(metadata={"description": "Their usage type.", "example": 100})
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


class WarningSchema(Schema):
    """A line that was booked, and that somebody should look at."""

    line = ma.fields.Integer(required=True, metadata={"example": 3, "description": "The header is line 1."})
    message = ma.fields.String(required=True, metadata={"example": "Its period overlaps that of line 2."})
    overlaps_line = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": 2, "description": "The line of the file that it overlaps."}
    )
    overlaps_usage_id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": None, "description": "The usage that it overlaps."}
    )


class ImportSchema(Schema):
    """A file of usages that was booked as one act."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    organization_id = ma.fields.Integer(required=True, metadata={"example": 1})
    usage_count = ma.fields.Integer(required=True, metadata={"example": 8760})
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
        metadata={"example": [], "description": "The first 100, by line: periods that overlap one another."},
    )
    recorded_at = Instant(required=True, metadata={"example": "2026-01-31T12:00:01Z"})
    recorded_by = ma.fields.Integer(required=True, metadata={"example": 1})


class ImportQuery(ListQuery):
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
    faults = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.List(ma.fields.String()),
        required=True,
        metadata={
            "description": "What is wrong with the first hundred of them, by line; the header of a CSV file is line 1.",
            "example": {"2": ["co2e_kg: the file says 18.76; the ledger has 18.75 in version 1."]},
        },
    )
