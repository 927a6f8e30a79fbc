"""What usages look like on the wire."""

from typing import Any

import marshmallow as ma
import sqlalchemy as sa

from ..catalogue.models import DEFAULT_METHOD, METHODS, UsageType
from ..catalogue.schemas import EmissionFactorSchema, UnitSchema, UsageTypeSchema, method
from ..rest import (
    ExportQuerySchema,
    FilterSchema,
    IdsSchema,
    ListQuerySchema,
    QuerySchema,
    Schema,
    Sort,
    any_of,
    as_of,
    equal_to,
    time_range,
    time_zone,
)
from ..rest.fields import DecimalInput, ExactDecimal, Name, Region, StrictInteger, Text, UtcDateTime
from .history import ledger_as_of
from .models import DEFAULT_QUALITY, QUALITIES, Usage, UsageVersion
from .validation import interval_error


def quality(**kwargs: object) -> Text:
    return Text(
        validate=ma.validate.OneOf(QUALITIES),
        metadata={"example": "measured", "description": "How the amount is known."},
        **kwargs,  # type: ignore[arg-type]  # marshmallow's own keyword arguments
    )


def adjusted_period(**kwargs: object) -> StrictInteger:
    return StrictInteger(
        allow_none=True,
        metadata={"example": None, "description": "The closed period that this usage, dated after it, makes up for."},
        **kwargs,  # type: ignore[arg-type]  # marshmallow's own keyword arguments
    )


def reason() -> Text:
    return Text(
        validate=ma.validate.Length(max=2000),
        metadata={"example": "The meter was read again.", "description": "Why; kept with the versions."},
    )


class NewUsageSchema(Schema):
    """A usage as it is recorded. Its factor and its CO2e follow from it."""

    user_id = StrictInteger(metadata={"description": "Whose usage it is; your own by default."})
    usage_type_id = StrictInteger(required=True, metadata={"example": 100})
    usage_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:00Z"})
    usage_until = UtcDateTime(
        load_default=None,
        allow_none=True,
        metadata={
            "example": None,
            "description": "The end, not included, of a period that began at `usage_at`, such as a bill's; at most "
            "ten years later.",
        },
    )
    amount = DecimalInput(
        6,
        signed=True,
        required=True,
        metadata={"example": 12.5, "description": "How many of `unit`; below zero only for an adjustment."},
    )
    unit = Name(
        validate=ma.validate.Length(1, 50),
        metadata={
            "example": "kWh",
            "description": "The usage type's own by default, or another of its dimension: `/usage-types/{id}/units`.",
        },
    )
    region = Region(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Whose emission factor applies; the organization's region by default.",
            "example": "GB",
        },
    )
    method = method(load_default=DEFAULT_METHOD)
    quality = quality(load_default=DEFAULT_QUALITY)
    note = Text(
        load_default=None, allow_none=True, validate=ma.validate.Length(max=2000), metadata={"example": "Main meter."}
    )
    adjusts_closed_period_id = adjusted_period(load_default=None)
    external_id = Name(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 200),
        metadata={"description": "Your own id of it, unique in your organization."},
    )

    @ma.validates_schema
    def only_adjustments_are_negative(self, fields: dict[str, Any], **kwargs: Any) -> None:
        is_adjustment = fields.get("adjusts_closed_period_id") is not None
        if not self.partial and fields.get("amount", 0) < 0 and not is_adjustment:
            raise ma.ValidationError("Must not be negative.", "amount")

    @ma.validates_schema
    def a_period_ends_after_it_begins(self, fields: dict[str, Any], **kwargs: Any) -> None:
        begins, ends = fields.get("usage_at"), fields.get("usage_until")
        fault = interval_error(begins, ends) if begins is not None and ends is not None else None
        if fault:
            raise ma.ValidationError(fault, "usage_until")


class UsageChangesSchema(NewUsageSchema):
    """Any of the fields of a usage. Type, time, region and method choose the factor anew; the others keep it."""

    usage_until = UtcDateTime(allow_none=True, metadata={"example": None, "description": "null: it is no period."})
    region = Region(allow_none=True, metadata={"example": "GB"})
    method = method()
    quality = quality()
    note = Text(allow_none=True, validate=ma.validate.Length(max=2000), metadata={"example": "Read again."})
    adjusts_closed_period_id = adjusted_period()
    external_id = Name(allow_none=True, validate=ma.validate.Length(1, 200))
    reason = reason()


class UsageReplacementSchema(NewUsageSchema):
    """The whole of what can be set of a usage, and why it is corrected."""

    unit = Name(
        load_default=None,
        validate=ma.validate.Length(1, 50),
        metadata={"example": "kWh", "description": "The usage type's own by default, or another of its dimension."},
    )

    reason = reason()


class UsageSchema(Schema):
    """A recorded usage, with the factor that is frozen into it and the kg CO2e that it caused."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    organization_id = ma.fields.Integer(required=True, metadata={"example": 1})
    user_id = ma.fields.Integer(required=True, metadata={"example": 1})
    usage_type_id = ma.fields.Integer(required=True, metadata={"example": 100})
    usage_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:00Z"})
    usage_until = UtcDateTime(
        required=True,
        allow_none=True,
        metadata={"example": None, "description": "The end, not included, of a period; null: it was at an instant."},
    )
    amount = ExactDecimal(required=True, metadata={"example": 12.5, "description": "As it was given."})
    unit = ma.fields.String(required=True, metadata={"example": "kwh", "description": "As it was given."})
    amount_in_type_unit = ExactDecimal(
        required=True,
        metadata={"example": 12.5, "description": "In the usage type's own unit, at most 12 digits after the point."},
    )
    factor = ExactDecimal(required=True, metadata={"example": 1.5, "description": "kg CO2e per unit, frozen."})
    emission_factor_id = ma.fields.Integer(
        required=True, metadata={"example": 1, "description": "Which factor it was."}
    )
    co2e_kg = ExactDecimal(
        required=True, metadata={"example": 18.75, "description": "amount_in_type_unit times factor, exactly."}
    )
    region = ma.fields.String(required=True, allow_none=True, metadata={"example": "GB"})
    method = ma.fields.String(required=True, metadata={"enum": list(METHODS), "example": "location"})
    quality = ma.fields.String(required=True, metadata={"enum": list(QUALITIES), "example": "measured"})
    note = ma.fields.String(required=True, allow_none=True, metadata={"example": "Main meter."})
    external_id = ma.fields.String(required=True, allow_none=True, metadata={"example": "meter-1/2026-01"})
    adjusts_closed_period_id = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={"example": None, "description": "The closed period that it makes up for."},
    )
    import_id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": None, "description": "The import it came with."}
    )
    restatement_id = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={"example": None, "description": "The restatement that booked it anew."},
    )
    version = ma.fields.Integer(required=True, metadata={"example": 1, "description": "Counts its corrections from 1."})
    recorded_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:01Z"})
    recorded_by = ma.fields.Integer(required=True, metadata={"example": 1, "description": "The user who wrote it."})
    reason = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"example": None, "description": "Why it was corrected to this, as they say."},
    )


class ConversionSchema(UnitSchema):
    """From the unit that was given into the usage type's own: one is numerator / denominator of the other, exactly."""

    type_unit = ma.fields.String(required=True, metadata={"example": "kwh"})
    calculation = ma.fields.String(required=True, metadata={"example": "2 MWh × 1000 kwh/MWh = 2000 kwh"})


class ExplanationSchema(Schema):
    """How a number came about."""

    usage = ma.fields.Nested(UsageSchema, required=True, metadata={"description": "The input."})
    usage_type = ma.fields.Nested(UsageTypeSchema, required=True)
    region_of_organization = ma.fields.String(
        required=True, allow_none=True, metadata={"example": "GB", "description": "Stands in where the usage has none."}
    )
    conversion = ma.fields.Nested(ConversionSchema, required=True)
    factor = ma.fields.Nested(
        EmissionFactorSchema, required=True, metadata={"description": "The factor that won, with its source."}
    )
    why = ma.fields.String(required=True, metadata={"example": "The usage is of region GB. …"})
    candidates = ma.fields.List(
        ma.fields.Nested(EmissionFactorSchema),
        required=True,
        metadata={
            "description": "What the catalogue, as it is now, has for that time; the one that goes first, first."
        },
    )
    outdated = ma.fields.Boolean(
        required=True,
        metadata={"example": False, "description": "Whether another would win today: a restatement books it."},
    )
    calculation = ma.fields.String(required=True, metadata={"example": "2000 kwh × 1.5 kg CO2e/kwh = 3000 kg CO2e"})
    co2e_kg = ExactDecimal(required=True, metadata={"example": 3000})
    versions = ma.fields.Integer(required=True, metadata={"example": 1, "description": "How many there have been."})
    restatement_ids = ma.fields.List(
        ma.fields.Integer(),
        required=True,
        metadata={"example": [], "description": "The restatements that booked a version of it."},
    )
    canonical = ma.fields.String(
        required=True,
        metadata={
            "example": '{"amount":"2","co2e_kg":"3000"}',
            "description": "JSON of all that the number depends on, always written the same way.",
        },
    )
    sha256 = ma.fields.String(
        required=True, metadata={"example": "1b0e…", "description": "Of the canonical form, in UTF-8."}
    )


class UsageVersionSchema(UsageSchema):
    """What was believed of a usage, [recorded_at, superseded_at)."""

    superseded_at = UtcDateTime(
        required=True, allow_none=True, metadata={"example": None, "description": "null: it is believed now."}
    )
    superseded_by = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={"example": None, "description": "The user who corrected or deleted it."},
    )
    superseded_reason = ma.fields.String(
        required=True, allow_none=True, metadata={"example": None, "description": "Why they did, as they say."}
    )
    deleted = ma.fields.Boolean(
        required=True, allow_none=True, metadata={"example": None, "description": "Whether it ended by a deletion."}
    )


class UsageVersionQuery(ListQuerySchema):
    sort = Sort(UsageVersion.version, default="version")


class AsOfQuery(FilterSchema):
    """As of when a usage is read."""

    as_of = as_of(ledger_as_of)


class ReasonSchema(QuerySchema):
    """Why something is done."""

    reason = reason()


class IdsAndReasonSchema(IdsSchema, ReasonSchema):
    """Which usages, and why."""


class UsageFilter(FilterSchema):
    """Which usages: shared by the list and by all figures made of usages."""

    as_of = as_of(ledger_as_of)

    start, end = time_range(Usage.usage_at)
    timezone = time_zone()
    user_id = equal_to(Usage.user_id)
    usage_type_id = equal_to(Usage.usage_type_id)
    scope = any_of(
        lambda scopes: Usage.usage_type_id.in_(sa.select(UsageType.id).where(UsageType.scope.in_(scopes))),
        StrictInteger(1, 3),
        "Only of usage types of this scope.",
    )
    method = equal_to(Usage.method, method())
    quality = equal_to(Usage.quality, quality())
    import_id = equal_to(Usage.import_id)
    restatement_id = equal_to(Usage.restatement_id)
    external_id = equal_to(Usage.external_id, Text())


class OrderedUsages(UsageFilter):
    """Which usages, and in which order."""

    sort = Sort(Usage.usage_at, Usage.amount, Usage.co2e_kg, Usage.recorded_at, Usage.id, default="-usage_at")


class UsageQuery(ListQuerySchema, OrderedUsages):
    """A page of them."""


class UsageExportQuery(ExportQuerySchema, OrderedUsages):
    """A file of them."""
