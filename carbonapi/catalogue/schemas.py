"""Usage types and emission factors in requests and responses."""

from functools import partial
from typing import Any

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort, equal_to
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
from .models import DEFAULT_METHOD, METHODS, EmissionFactor, UpstreamLine, UsageType

SCOPE = {"description": "GHG Protocol: 1 direct emissions, 2 purchased energy, 3 all others.", "example": 2}


method = partial(
    Text,
    validate=ma.validate.OneOf(METHODS),
    metadata={
        "example": DEFAULT_METHOD,
        "description": "`location`: average of the grid. `market`: contract of the supplier (GHG Protocol).",
    },
)


class UsageTypeSchema(Schema):
    """A usage type, with its current factor."""

    id = returned(ma.fields.Integer, 100)
    name = returned(ma.fields.String, "electricity")
    unit = returned(ma.fields.String, "kwh")
    scope = ma.fields.Integer(required=True, allow_none=True, metadata=SCOPE)
    category = returned(ma.fields.String, "energy", nullable=True)
    description = returned(ma.fields.String, "Purchased electricity.", nullable=True)
    archived = returned(ma.fields.Boolean, False)
    factor = returned(
        ExactDecimal,
        1.5,
        "kg CO2e per unit: the current shared factor for all regions, if there is one.",
        nullable=True,
    )
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")


class NewUsageTypeSchema(Schema):
    """All fields of a usage type that can be set. Create its factors separately."""

    name = Name(required=True, validate=ma.validate.Length(1, 200), metadata={"example": "district cooling"})
    unit = Name(required=True, validate=ma.validate.Length(1, 50), metadata={"example": "kwh"})
    scope = StrictInteger(1, 3, load_default=None, allow_none=True, metadata=SCOPE)
    category = optional(Name, ma.validate.Length(1, 200), example="energy")
    description = optional(Text, ma.validate.Length(max=2000), example="Chilled water.")
    archived = StrictBoolean(
        load_default=False,
        metadata={"example": False, "description": "Whether the type is hidden and accepts no new usages."},
    )


class UsageTypeChangesSchema(NewUsageTypeSchema):
    """Any of the fields of a usage type."""

    scope = StrictInteger(1, 3, allow_none=True, metadata=SCOPE)
    category = Name(allow_none=True, validate=ma.validate.Length(1, 200), metadata={"example": "energy"})
    description = Text(allow_none=True, validate=ma.validate.Length(max=2000), metadata={"example": "Chilled water."})
    archived = StrictBoolean(metadata={"example": False})


class UsageTypeQuery(ListQuerySchema):
    name = equal_to(UsageType.name, Text())
    unit = equal_to(UsageType.unit, Text())
    scope = equal_to(UsageType.scope, StrictInteger(1, 3))
    archived = equal_to(UsageType.archived, StrictBoolean())
    sort = Sort(UsageType.id, UsageType.name, UsageType.unit, UsageType.created_at, default="id")


class UnitSchema(Schema):
    """A unit for amounts. One of it is exactly numerator / denominator of the usage type's unit."""

    unit = returned(ma.fields.String, "MWh")
    numerator = returned(ma.fields.Integer, 1000)
    denominator = returned(ma.fields.Integer, 1)


class EmissionFactorSchema(Schema):
    """The kg CO2e per unit, in one region or in all, within [valid_from, valid_until)."""

    id = returned(ma.fields.Integer, 1)
    usage_type_id = returned(ma.fields.Integer, 100)
    organization_id = returned(
        ma.fields.Integer, None, "The organization that owns the factor. `null` if it is shared.", nullable=True
    )
    region = returned(ma.fields.String, "GB", nullable=True)
    method = returned(ma.fields.String, DEFAULT_METHOD, enum=list(METHODS))
    factor = returned(ExactDecimal, 0.177, "kg CO2e per unit.")
    valid_from = returned(UtcDateTime, "2026-01-01T00:00:00Z")
    valid_until = returned(UtcDateTime, "2027-01-01T00:00:00Z", nullable=True)
    source = returned(ma.fields.String, "UK Government GHG Conversion Factors 2025")
    note = returned(ma.fields.String, "Generation only.", nullable=True)
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")


class NewEmissionFactorSchema(Schema):
    """A factor with its validity and its source."""

    factor = DecimalInput(12, required=True, metadata={"example": 0.177, "description": "kg CO2e per unit."})
    valid_from = returned(UtcDateTime, "2026-01-01T00:00:00Z")
    valid_until = optional(
        UtcDateTime, description="Exclusive. Without it, the factor is open-ended and ends the previous one."
    )
    region = optional(
        Region, example="GB", description="Without it, the factor applies to all regions without one of their own."
    )
    method = method(load_default=DEFAULT_METHOD)
    organization_id = StrictInteger(
        metadata={"description": "The organization that owns the factor. Default: your own; for admins, shared."}
    )
    source = returned(partial(Name, validate=ma.validate.Length(1, 500)), "UK Government GHG Conversion Factors 2025")
    note = optional(Text, ma.validate.Length(max=2000), example="Generation only.")

    @ma.validates_schema
    def valid_for_some_time(self, fields: dict[str, Any], **kwargs: Any) -> None:
        until = fields.get("valid_until")
        if until is not None and "valid_from" in fields and until <= fields["valid_from"]:
            raise ma.ValidationError(
                "Must be later than valid_from: validity is [valid_from, valid_until).", "valid_until"
            )


class EmissionFactorQuery(ListQuerySchema):
    region = equal_to(EmissionFactor.region, Region())
    method = equal_to(EmissionFactor.method, method())
    sort = Sort(EmissionFactor.valid_from, EmissionFactor.region, EmissionFactor.id, default="valid_from")


class NewUpstreamLineSchema(Schema):
    """A line that usages of a type get beside their own number, from the factors of another type."""

    line = Text(
        required=True,
        validate=ma.validate.Regexp("(?!(location|market)$)[a-z][a-z0-9_]{0,49}\\Z"),
        metadata={
            "example": "t_and_d",
            "description": "Name of the line, in lower case: such as `t_and_d`, `wtt_generation` or `wtt_t_and_d`.",
        },
    )
    factor_type_id = StrictInteger(
        required=True,
        metadata={
            "example": 101,
            "description": "Usage type whose factors apply to the same amount. Its unit must be the same. The line has "
            "its scope and category.",
        },
    )


class UpstreamLineSchema(NewUpstreamLineSchema):
    """An upstream line of a usage type."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(
        ma.fields.Integer, None, "The organization that owns the line. `null` if it is shared.", nullable=True
    )
    usage_type_id = returned(ma.fields.Integer, 100)


class UpstreamLineQuery(ListQuerySchema):
    sort = Sort(UpstreamLine.line, UpstreamLine.id, default="line")
