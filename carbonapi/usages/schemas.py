"""Request and response schemas of usages, and their filters."""

from functools import partial
from typing import Any

import marshmallow as ma
import sqlalchemy as sa

from ..catalogue.usage_valuations import valuations_in_scopes
from ..catalogue.valuations import ValuationLine
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
    flag,
    time_range,
    time_zone,
)
from ..rest.fields import (
    DecimalInput,
    ExactDecimal,
    Name,
    Region,
    StrictBoolean,
    StrictInteger,
    Text,
    UtcDateTime,
    optional,
    returned,
)
from ..sites.tree import is_within
from .candidates import is_in_region, is_outdated
from .history import ledger_as_of
from .models import DEFAULT_QUALITY, QUALITIES, Usage, UsageVersion
from .validation import interval_error

quality = partial(
    Text,
    validate=ma.validate.OneOf(QUALITIES),
    metadata={"example": "measured", "description": "Whether the amount was measured or estimated."},
)
adjusted_period = partial(
    StrictInteger,
    allow_none=True,
    metadata={"example": None, "description": "Closed period that this usage corrects. The usage is dated after it."},
)
reason = partial(
    Text,
    validate=ma.validate.Length(max=2000),
    metadata={"example": "The meter was read again.", "description": "Reason, stored with the version."},
)


def place(description: str, **kwargs: Any) -> StrictInteger:
    """Return the field of a site or a meter."""
    return StrictInteger(allow_none=True, metadata={"example": None, "description": description}, **kwargs)


class NewUsageSchema(Schema):
    """A usage to record. The service derives its factor and its CO2e."""

    user_id = StrictInteger(metadata={"description": "Owner of the usage; by default you."})
    usage_type_id = StrictInteger(
        metadata={
            "example": 100,
            "description": "Usage type. Required without `meter_id`; by default that of the meter.",
        }
    )
    usage_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")
    usage_until = optional(
        UtcDateTime,
        example=None,
        description="End, exclusive, of an interval that begins at `usage_at`, such as a bill. At most ten years "
        "later. `null` for a single instant.",
    )
    amount = returned(partial(DecimalInput, 6, signed=True), 12.5, "Amount in `unit`; negative only for an adjustment.")
    unit = Name(
        validate=ma.validate.Length(1, 50),
        metadata={
            "example": "kWh",
            "description": "Unit of the type by default, or a convertible one: see `/usage-types/{id}/units`.",
        },
    )
    region = optional(
        Region,
        description="Region of the emission factor; by default that of the site, or of the organization.",
        example="GB",
    )
    site_id = place("Site where it was used. By default that of the meter.", load_default=None)
    meter_id = place("Meter that measured it. It has one usage at a time.", load_default=None)
    quality = quality(load_default=DEFAULT_QUALITY)
    note = optional(Text, ma.validate.Length(max=2000), example="Main meter.")
    adjusts_closed_period_id = adjusted_period(load_default=None)
    external_id = optional(
        Name, ma.validate.Length(1, 200), description="Your own ID of the usage, unique in your organization."
    )

    @ma.validates_schema(pass_original=True, skip_on_field_errors=False)
    def has_type_or_meter(self, fields: dict[str, Any], original: Any, **kwargs: Any) -> None:
        has_type = not isinstance(original, dict) or "usage_type_id" in original
        if not self.partial and not has_type and original.get("meter_id") is None:
            raise ma.ValidationError("Missing data for required field.", "usage_type_id")

    @ma.validates_schema
    def only_adjustments_are_negative(self, fields: dict[str, Any], **kwargs: Any) -> None:
        is_adjustment = fields.get("adjusts_closed_period_id") is not None
        if not self.partial and fields.get("amount", 0) < 0 and not is_adjustment:
            raise ma.ValidationError("Must not be negative.", "amount")

    @ma.validates_schema
    def interval_is_valid(self, fields: dict[str, Any], **kwargs: Any) -> None:
        if error := interval_error(fields.get("usage_at"), fields.get("usage_until")):
            raise ma.ValidationError(error, "usage_until")


class UsageChangesSchema(NewUsageSchema):
    """Changes of a usage. A change of type, time or region also changes the factors."""

    usage_until = UtcDateTime(
        allow_none=True, metadata={"example": None, "description": "`null` for a single instant."}
    )
    region = Region(allow_none=True, metadata={"example": "GB"})
    site_id = place("Another site.")
    meter_id = place("Another meter, which also sets the site and the usage type. With `null`, the site stays.")
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
        metadata={"example": "kWh", "description": "Unit of the usage type by default, or a convertible one."},
    )

    reason = reason()


class UsageSchema(Schema):
    """A recorded usage, with its frozen factor and its kg CO2e."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(ma.fields.Integer, 1)
    user_id = returned(ma.fields.Integer, 1)
    usage_type_id = returned(ma.fields.Integer, 100)
    usage_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")
    usage_until = returned(
        UtcDateTime, None, "End of the interval, exclusive. `null` for a single instant.", nullable=True
    )
    amount = returned(ExactDecimal, 12.5, "Amount as recorded, in `unit`.")
    unit = returned(ma.fields.String, "kwh", "Unit as recorded.")
    amount_in_type_unit = returned(
        ExactDecimal, 12.5, "Amount in the unit of the usage type, with at most 12 decimal digits."
    )
    factor = returned(ExactDecimal, 1.5, "kg CO2e per unit, location-based, frozen into the usage.")
    market_factor = returned(
        ExactDecimal, 1.5, "kg CO2e per unit by the supplier's contract; without one, the same as `factor`."
    )
    emission_factor_id = returned(ma.fields.Integer, 1, "ID of the factor.")
    valuation_id = returned(ma.fields.Integer, 1, "The frozen choice of all factors: see `/usages/{id}/explain`.")
    co2e_kg = returned(
        ExactDecimal,
        18.75,
        "Location-based: the exact product of `amount_in_type_unit` and `factor`, plus `split_co2e_kg`, if any.",
    )
    market_co2e_kg = returned(
        ExactDecimal,
        18.75,
        "Market-based: the exact product of `amount_in_type_unit` and `market_factor`, plus `split_market_co2e_kg`, if "
        "any.",
    )
    split_co2e_kg = returned(
        ExactDecimal,
        None,
        "`null`, unless the interval is split over a change of factor. Then `factor` is that of its first part, and "
        "this is what the factors of its later parts add to the product.",
        nullable=True,
    )
    split_market_co2e_kg = returned(ExactDecimal, None, "The same for `market_factor`.", nullable=True)
    provisional = returned(
        ma.fields.Boolean, False, "Whether the factor had ended before the usage, for lack of the factor of its time."
    )
    region = returned(ma.fields.String, "GB", "Its own, or that of its site when it was recorded.", nullable=True)
    site_id = returned(ma.fields.Integer, None, "Site where it was used.", nullable=True)
    meter_id = returned(ma.fields.Integer, None, "Meter that measured it.", nullable=True)
    quality = returned(ma.fields.String, "measured", enum=list(QUALITIES))
    note = returned(ma.fields.String, "Main meter.", nullable=True)
    external_id = returned(ma.fields.String, "meter-1/2026-01", nullable=True)
    adjusts_closed_period_id = returned(
        ma.fields.Integer, None, "Closed period that the usage corrects.", nullable=True
    )
    import_id = returned(ma.fields.Integer, None, "Import that recorded the usage.", nullable=True)
    restatement_id = returned(
        ma.fields.Integer, None, "Restatement that set the factor of this version.", nullable=True
    )
    version = returned(ma.fields.Integer, 1, "Version number, from 1.")
    recorded_at = returned(UtcDateTime, "2026-01-31T12:00:01Z")
    recorded_by = returned(ma.fields.Integer, 1, "User who recorded this version.")
    reason = returned(ma.fields.String, None, "Reason for the correction to this version.", nullable=True)


class RecordedUsagesSchema(Schema):
    """The usages that were recorded by one request."""

    ids = returned(partial(ma.fields.List, ma.fields.Integer()), [1, 2], "IDs, in the order of the request.")


class UsageVersionSchema(UsageSchema):
    """A version of a usage, which was current within [recorded_at, superseded_at)."""

    superseded_at = returned(UtcDateTime, None, "End of the version. `null` for the current version.", nullable=True)
    superseded_by = returned(ma.fields.Integer, None, "User who corrected or deleted the usage.", nullable=True)
    superseded_reason = returned(ma.fields.String, None, "Reason for the correction or deletion.", nullable=True)
    deleted = returned(ma.fields.Boolean, None, "Whether the usage was deleted, rather than corrected.", nullable=True)


class UsageVersionQuery(ListQuerySchema):
    sort = Sort(UsageVersion.version, default="version")


class AsOfQuery(FilterSchema):
    """A past instant, to read a usage as it was."""

    as_of = as_of(ledger_as_of)


class ReasonSchema(QuerySchema):
    """The reason for a change."""

    reason = reason()


class IdsAndReasonSchema(IdsSchema, ReasonSchema):
    """The IDs of usages, and the reason."""


class UsageFilter(AsOfQuery):
    """The filters of usages, which lists and figures share."""

    start, end = time_range(Usage.usage_at)
    timezone = time_zone()
    user_id = equal_to(Usage.user_id)
    usage_type_id = equal_to(Usage.usage_type_id)
    scope = any_of(
        lambda scopes: sa.tuple_(Usage.organization_id, Usage.valuation_id).in_(
            valuations_in_scopes(ValuationLine.scope.in_(scopes))
        ),
        StrictInteger(1, 3),
        "Filter by the scope that the usage was recorded with.",
    )
    quality = equal_to(Usage.quality, quality())
    import_id = equal_to(Usage.import_id)
    restatement_id = equal_to(Usage.restatement_id)
    external_id = equal_to(Usage.external_id, Text())
    valuation_id = equal_to(Usage.valuation_id)
    site_id = any_of(
        lambda ids: is_within(Usage, ids),
        StrictInteger(),
        "Return only usages at this site and at the sites below it.",
    )
    meter_id = equal_to(Usage.meter_id)
    region = any_of(
        is_in_region,
        Region(),
        "Return only usages in this region, by their own region or else that of their organization. A country includes "
        "its subdivisions.",
    )
    provisional = flag(Usage.__table__.c.provisional, "Whether the factor had ended before the usage.")
    outdated = any_of(
        lambda values: is_outdated().in_(values),
        StrictBoolean(),
        "Whether the current catalogue has other factors for the usage. A restatement applies them.",
    )


class OrderedUsages(UsageFilter):
    """Filters and order of usages."""

    sort = Sort(Usage.usage_at, Usage.amount, Usage.co2e_kg, Usage.recorded_at, Usage.id, default="-usage_at")


class UsageQuery(ListQuerySchema, OrderedUsages):
    """A page of usages."""


class UsageExportQuery(ExportQuerySchema, OrderedUsages):
    """A file of usages."""
