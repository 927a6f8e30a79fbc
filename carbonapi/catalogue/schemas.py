"""What the catalogue looks like on the wire."""

from typing import Any

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort, equal_to
from ..rest.fields import DecimalInput, ExactDecimal, Name, Region, StrictBoolean, StrictInteger, Text, UtcDateTime
from .models import METHODS, EmissionFactor, UsageType

SCOPES = {"description": "Of the GHG Protocol: 1 burnt here, 2 bought energy, 3 everything else.", "example": 2}


def method(**kwargs: object) -> Text:
    return Text(
        validate=ma.validate.OneOf(METHODS),
        metadata={
            "example": "location",
            "description": "By the grid's average, or by what was bought (GHG Protocol, Scope 2 Guidance).",
        },
        **kwargs,  # type: ignore[arg-type]  # marshmallow's own keyword arguments
    )


class UsageTypeSchema(Schema):
    """What is used, in which unit, and what one unit causes."""

    id = ma.fields.Integer(required=True, metadata={"example": 100})
    name = ma.fields.String(required=True, metadata={"example": "electricity"})
    unit = ma.fields.String(required=True, metadata={"example": "kwh"})
    scope = ma.fields.Integer(required=True, allow_none=True, metadata=SCOPES)
    category = ma.fields.String(required=True, allow_none=True, metadata={"example": "energy"})
    description = ma.fields.String(required=True, allow_none=True, metadata={"example": "Bought electricity."})
    archived = ma.fields.Boolean(required=True, metadata={"example": False})
    factor = ExactDecimal(
        required=True,
        allow_none=True,
        metadata={
            "example": 1.5,
            "description": "kg CO2e per unit: the factor for no special region that is in force now, if there is one.",
        },
    )
    created_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:00Z"})


class NewUsageTypeSchema(Schema):
    """What can be set of a usage type. Its factors are entered beside it."""

    name = Name(required=True, validate=ma.validate.Length(1, 200), metadata={"example": "district cooling"})
    unit = Name(required=True, validate=ma.validate.Length(1, 50), metadata={"example": "kwh"})
    scope = StrictInteger(1, 3, load_default=None, allow_none=True, metadata=SCOPES)
    category = Name(
        load_default=None, allow_none=True, validate=ma.validate.Length(1, 200), metadata={"example": "energy"}
    )
    description = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(max=2000),
        metadata={"example": "Chilled water."},
    )
    archived = StrictBoolean(
        load_default=False, metadata={"example": False, "description": "Hidden: nothing new is recorded."}
    )


class UsageTypeChangesSchema(NewUsageTypeSchema):
    """Any of the fields of a usage type."""

    scope = StrictInteger(1, 3, allow_none=True, metadata=SCOPES)
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
    """A unit in which an amount can be given: one of it is numerator / denominator of the usage type's own, exactly."""

    unit = ma.fields.String(required=True, metadata={"example": "MWh"})
    numerator = ma.fields.Integer(required=True, metadata={"example": 1000})
    denominator = ma.fields.Integer(required=True, metadata={"example": 1})


class EmissionFactorSchema(Schema):
    """The kg CO2e that one unit causes, in a region or anywhere, within [valid_from, valid_until)."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    usage_type_id = ma.fields.Integer(required=True, metadata={"example": 100})
    organization_id = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={"example": None, "description": "Whose own factor it is; null: everybody's."},
    )
    region = ma.fields.String(required=True, allow_none=True, metadata={"example": "GB"})
    method = ma.fields.String(required=True, metadata={"enum": list(METHODS), "example": "location"})
    factor = ExactDecimal(required=True, metadata={"example": 0.177, "description": "kg CO2e per unit."})
    valid_from = UtcDateTime(required=True, metadata={"example": "2026-01-01T00:00:00Z"})
    valid_until = UtcDateTime(required=True, allow_none=True, metadata={"example": "2027-01-01T00:00:00Z"})
    source = ma.fields.String(required=True, metadata={"example": "UK Government GHG Conversion Factors 2025"})
    note = ma.fields.String(required=True, allow_none=True, metadata={"example": "Generation only."})
    created_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:00Z"})


class NewEmissionFactorSchema(Schema):
    """A factor with its validity and its source."""

    factor = DecimalInput(12, required=True, metadata={"example": 0.177, "description": "kg CO2e per unit."})
    valid_from = UtcDateTime(required=True, metadata={"example": "2026-01-01T00:00:00Z"})
    valid_until = UtcDateTime(
        load_default=None,
        allow_none=True,
        metadata={"description": "Not included. Without it the factor is open, and closes the open one before it."},
    )
    region = Region(
        load_default=None,
        allow_none=True,
        metadata={
            "example": "GB",
            "description": "Without it the factor applies wherever a region has none of its own.",
        },
    )
    method = method(load_default="location")
    organization_id = StrictInteger(
        metadata={"description": "Whose own factor it is: your organization's; an admin's is everybody's by default."}
    )
    source = Name(
        required=True,
        validate=ma.validate.Length(1, 500),
        metadata={"example": "UK Government GHG Conversion Factors 2025"},
    )
    note = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(max=2000),
        metadata={"example": "Generation only."},
    )

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
