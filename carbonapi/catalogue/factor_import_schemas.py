"""Imports of emission factors in requests and responses."""

import json
from functools import partial
from typing import Any

import marshmallow as ma

from ..errors import ValidationFailed
from ..rest import QuerySchema, Schema
from ..rest.fields import ExactDecimal, Name, StrictInteger, Text, UtcDateTime, returned
from .factor_formats import FORMATS, read_mapping
from .models import GWP_SETS

MODES = ("dry-run", "apply")


class FactorImportOptions(QuerySchema):
    """How to read a table, and what it does not state."""

    mode = Text(
        load_default="dry-run",
        validate=ma.validate.OneOf(MODES),
        metadata={"description": "`dry-run` (default): record nothing, and return what `apply` would do."},
    )
    format = Text(
        validate=ma.validate.OneOf(list(FORMATS)),
        metadata={"description": "Format of the table. Default: the header decides."},
    )
    sheet = Name(
        validate=ma.validate.Length(1, 100),
        metadata={"description": "Sheet of the workbook. Default: the first one with a known header."},
    )
    year = StrictInteger(
        1990, 2200, metadata={"description": "Year of the factors, for tables that do not state it.", "example": 2025}
    )
    gwp = Text(
        validate=ma.validate.OneOf(GWP_SETS),
        metadata={"description": "Global warming potentials of the table. Default: those of its year."},
    )
    decimal = Text(
        validate=ma.validate.OneOf([".", ","]),
        metadata={"description": "Decimal mark. Default: a comma in files with semicolons, else a point."},
    )
    publisher = Name(
        validate=ma.validate.Length(1, 200),
        metadata={"description": "Publisher of the factor set. Default: that of the format."},
    )
    edition = Name(
        validate=ma.validate.Length(1, 200),
        metadata={
            "description": "Edition of the factor set. Default: the year and version of the table. Another file of "
            "the same edition becomes a revision of it."
        },
    )
    mapping = Text(
        validate=ma.validate.Length(2, 10_000),
        metadata={
            "description": "Column mapping for any other table, a JSON object: `columns` (our column to theirs), "
            "`constants` (our column to a value) and `scale` (0.001 for factors in grams)."
        },
    )
    organization_id = StrictInteger(
        metadata={"description": "For admins: the organization that owns the factors. Default: shared."}
    )

    @ma.post_load
    def read_column_mapping(self, options: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if "mapping" in options:
            try:
                options["mapping"] = read_mapping(json.loads(options["mapping"]))
            except (json.JSONDecodeError, RecursionError):
                raise ma.ValidationError("Must be a JSON object.", "mapping") from None
            except ValidationFailed as error:
                raise ma.ValidationError(str(error), "mapping") from None
        if "format" in options:
            options["file_format"] = options.pop("format")
        return options


class ImportedFactorSchema(Schema):
    """A factor of the table."""

    line = returned(ma.fields.Integer, 7)
    usage_type = returned(ma.fields.String, "Fuels, Gaseous fuels, Butane")
    unit = returned(ma.fields.String, "t")
    region = returned(ma.fields.String, "GB", nullable=True)
    valid_from = returned(UtcDateTime, "2025-01-01T00:00:00Z")
    factor = returned(ExactDecimal, 3033.38067, "kg CO2e per unit.")
    previous_factor = ExactDecimal(
        metadata={"example": 3033.32, "description": "The factor that it supersedes, for a superseded line."}
    )


class SkippedLineSchema(Schema):
    """A line without a factor."""

    line = returned(ma.fields.Integer, 12)
    reason = returned(ma.fields.String, "It has no figure.")


class RoundedFigureSchema(Schema):
    """A figure with more digits than a spreadsheet calculates with, or more than a factor has."""

    line = returned(ma.fields.Integer, 1864)
    published = returned(ma.fields.String, "0.13388999999999998")
    recorded = returned(ma.fields.String, "0.13389")


class FactorWarningSchema(Schema):
    """A factor that is far from comparable ones."""

    line = returned(ma.fields.Integer, 2)
    message = returned(ma.fields.String, "380 kg CO2e per kWh is far from other factors per unit of energy.")


def examples(schema: type[Schema], description: str) -> Any:
    field = partial(ma.fields.List, ma.fields.Nested(schema))
    return returned(field, [], description)


class FactorImportExamplesSchema(Schema):
    """Up to ten lines of each outcome."""

    added = examples(ImportedFactorSchema, "New factors.")
    superseded = examples(ImportedFactorSchema, "Corrected factors.")
    skipped = examples(SkippedLineSchema, "Lines without a factor.")
    rounded = examples(RoundedFigureSchema, "Rounded figures.")


class FactorImportSchema(Schema):
    """An import of a table, and the outcomes of its lines."""

    id = returned(ma.fields.Integer, 1, "Id of the factor set. `null` for a dry run.", nullable=True)
    status = returned(ma.fields.String, "applied", "`checked`: a dry run.", enum=["checked", "applied"])
    format = returned(ma.fields.String, "uk-government", enum=[*FORMATS, "mapped"])
    publisher = returned(ma.fields.String, "UK Government")
    edition = returned(ma.fields.String, "2025 v1.0")
    gwp = returned(ma.fields.String, "AR5", nullable=True, enum=[*GWP_SETS, None])
    organization_id = returned(ma.fields.Integer, None, "Owner of the factors. `null`: shared.", nullable=True)
    sha256 = returned(
        ma.fields.String, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "SHA-256 of the file."
    )
    added_count = returned(ma.fields.Integer, 2672, "New factors.")
    superseded_count = returned(ma.fields.Integer, 0, "Factors that supersede another one in force.")
    unchanged_count = returned(ma.fields.Integer, 0, "Factors that are in the catalogue already.")
    skipped_count = returned(ma.fields.Integer, 2163, "Lines without a factor.")
    rounded_count = returned(ma.fields.Integer, 4, "Figures that were rounded.")
    usage_type_count = returned(ma.fields.Integer, 2672, "New usage types.")
    warning_count = returned(ma.fields.Integer, 0)
    warnings = returned(
        partial(ma.fields.List, ma.fields.Nested(FactorWarningSchema)), [], "First 100 implausible factors."
    )
    examples = returned(partial(ma.fields.Nested, FactorImportExamplesSchema), {})


class RevertedFactorSetSchema(Schema):
    """The numbers of rows of a factor set that was reverted."""

    deleted_count = returned(ma.fields.Integer, 2672, "Factors deleted.")
    restored_count = returned(ma.fields.Integer, 0, "Factors that are in force again.")
    usage_type_count = returned(ma.fields.Integer, 2672, "Usage types deleted.")


class GwpSetSchema(Schema):
    """Global warming potentials over 100 years, by gas, in kg CO2e per kg."""

    name = returned(ma.fields.String, "AR5", enum=list(GWP_SETS))
    source = returned(ma.fields.String, "IPCC, Fifth Assessment Report.")
    gases = returned(
        partial(ma.fields.Dict, ma.fields.String(), ExactDecimal()), {"CH4": 28, "N2O": 265}, "By the name of the gas."
    )
