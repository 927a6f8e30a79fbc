"""Usage types, emission factors and factor sets in requests and responses."""

from decimal import Decimal
from functools import partial
from typing import Any

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort, changes_of, equal_to, flag, words_in
from ..rest.fields import (
    CalendarDate,
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
from .models import (
    DEFAULT_METHOD,
    GWP_SETS,
    METHODS,
    SCOPES,
    EmissionFactor,
    FactorSet,
    UsageType,
    is_valid_at,
)

SCOPE = {
    "description": "GHG Protocol: 1 direct emissions, 2 purchased energy, 3 all others. It must fit the category.",
    "example": 2,
}
CATEGORY = {
    "description": "Category of the GHG Protocol, which belongs to the scope.",
    "example": "purchased_electricity",
}
OUTSIDE = {
    "description": "Whether no total includes it, as for biogenic CO2. Then `scope` is `null`.",
    "example": False,
}
OWNER = "The organization that owns it. `null` if it is shared."
SHARED = "With `true`, return only shared rows. With `false`, only those of an organization."
END_BEFORE_START = "Must be later than valid_from: validity is [valid_from, valid_until)."
GWP = "The assessment report of its global warming potentials, if it is another one than that of its factor set."
SET_GWP = "The assessment report of the IPCC with the global warming potentials of its factors."
CITATION = {"description": "The place in the published table.", "example": "UK electricity, row 24, column F"}
NEW_OWNER = "The organization that owns it. Default: your own; for admins, shared."
KG_OF = {
    "co2_kg": ("kg of CO2 per unit.", "0.17535"),
    "ch4_kg": ("kg of CH4 per unit: of the gas, not CO2e.", "0.000025"),
    "n2o_kg": ("kg of N2O per unit: of the gas, not CO2e.", "0.000004"),
    "other_co2e_kg": ("kg CO2e per unit of all other gases.", "0"),
    "biogenic_co2_kg": ("kg of biogenic CO2 per unit. `factor` does not include it.", "0"),
}

method = partial(
    Text,
    validate=ma.validate.OneOf(METHODS),
    metadata={
        "example": DEFAULT_METHOD,
        "description": "`location`: average of the grid. `market`: contract of the supplier (GHG Protocol).",
    },
)
category = partial(Text, validate=ma.validate.OneOf(list(SCOPES)), metadata=CATEGORY)
gwp = partial(Text, validate=ma.validate.OneOf(GWP_SETS))


class WebAddress(Text):
    """An address with http or https."""

    PATTERN = r"https?://[!-~]+"
    default_error_messages = {"pattern": "Must be an address that begins with http:// or https://."}


class Sha256(Text):
    """A SHA-256 hash in lowercase hexadecimal digits."""

    PATTERN = "[0-9a-f]{64}"
    default_error_messages = {"pattern": "Must be 64 lowercase hexadecimal digits."}


class UsageTypeSchema(Schema):
    """A usage type, with its current factor."""

    id = returned(ma.fields.Integer, 100)
    organization_id = returned(ma.fields.Integer, None, OWNER, nullable=True)
    name = returned(ma.fields.String, "electricity")
    unit = returned(ma.fields.String, "kwh")
    scope = ma.fields.Integer(required=True, allow_none=True, metadata=SCOPE)
    category = ma.fields.String(required=True, allow_none=True, metadata=CATEGORY | {"enum": [*SCOPES, None]})
    outside_of_scopes = ma.fields.Boolean(required=True, metadata=OUTSIDE)
    description = returned(ma.fields.String, "Purchased electricity.", nullable=True)
    archived = returned(ma.fields.Boolean, False)
    factor = returned(
        ExactDecimal,
        1.5,
        "kg CO2e per unit: the current shared factor for all regions, if there is one. For a type of an organization, "
        "its own.",
        nullable=True,
    )
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")


class UsageTypeReplacementSchema(Schema):
    """All fields of a usage type that can be changed."""

    name = Name(required=True, validate=ma.validate.Length(1, 200), metadata={"example": "district cooling"})
    unit = Name(required=True, validate=ma.validate.Length(1, 50), metadata={"example": "kwh"})
    scope = StrictInteger(1, 3, load_default=None, allow_none=True, metadata=SCOPE)
    category = category(load_default=None, allow_none=True, metadata=CATEGORY)
    outside_of_scopes = StrictBoolean(load_default=False, metadata=OUTSIDE)
    description = optional(Text, ma.validate.Length(max=2000), example="Chilled water.")
    archived = StrictBoolean(
        load_default=False,
        metadata={"example": False, "description": "Whether the type is hidden and accepts no new usages."},
    )


class NewUsageTypeSchema(UsageTypeReplacementSchema):
    """A usage type and its owner. Create its factors separately."""

    organization_id = StrictInteger(metadata={"description": NEW_OWNER})


UsageTypeChangesSchema = changes_of(NewUsageTypeSchema, "Any of the fields of a usage type.", "organization_id")


class UsageTypeQuery(ListQuerySchema):
    q = words_in(UsageType.name, UsageType.category, UsageType.description)
    name = equal_to(UsageType.name, Text())
    unit = equal_to(UsageType.unit, Text())
    scope = equal_to(UsageType.scope, StrictInteger(1, 3))
    category = equal_to(UsageType.category, category())
    outside_of_scopes = equal_to(UsageType.outside_of_scopes, StrictBoolean())
    archived = equal_to(UsageType.archived, StrictBoolean())
    organization_id = equal_to(UsageType.organization_id)
    shared = flag(UsageType.organization_id.is_(None), SHARED)
    sort = Sort(UsageType.id, UsageType.name, UsageType.unit, UsageType.created_at, default="id")


class UnitSchema(Schema):
    """A unit for amounts. One of it is exactly numerator / denominator of the usage type's unit."""

    unit = returned(ma.fields.String, "MWh")
    numerator = returned(ma.fields.Integer, 1000)
    denominator = returned(ma.fields.Integer, 1)


def _kg(gas: str) -> Any:
    """Return the field of a gas in responses."""
    description, example = KG_OF[gas]
    return returned(ExactDecimal, Decimal(example), description, nullable=True)


def _kg_input(gas: str) -> Any:
    """Return the field of a gas in requests."""
    description, example = KG_OF[gas]
    return optional(partial(DecimalInput, 12), description=description, example=Decimal(example))


class EmissionFactorSchema(Schema):
    """The kg CO2e per unit, in one region or in all, within [valid_from, valid_until)."""

    id = returned(ma.fields.Integer, 1)
    usage_type_id = returned(ma.fields.Integer, 100)
    organization_id = returned(ma.fields.Integer, None, OWNER, nullable=True)
    region = returned(ma.fields.String, "GB", nullable=True)
    method = returned(ma.fields.String, DEFAULT_METHOD, enum=list(METHODS))
    factor = returned(ExactDecimal, 0.177, "kg CO2e per unit.")
    valid_from = returned(UtcDateTime, "2026-01-01T00:00:00Z")
    valid_until = returned(UtcDateTime, "2027-01-01T00:00:00Z", nullable=True)
    source = returned(ma.fields.String, "UK Government GHG Conversion Factors 2025")
    note = returned(ma.fields.String, "Generation only.", nullable=True)
    factor_set_id = returned(ma.fields.Integer, None, "The edition that it comes from.", nullable=True)
    citation = returned(ma.fields.String, CITATION["example"], CITATION["description"], nullable=True)
    gwp = returned(ma.fields.String, None, GWP, nullable=True, enum=[*GWP_SETS, None])
    co2_kg = _kg("co2_kg")
    ch4_kg = _kg("ch4_kg")
    n2o_kg = _kg("n2o_kg")
    other_co2e_kg = _kg("other_co2e_kg")
    biogenic_co2_kg = _kg("biogenic_co2_kg")
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")
    superseded_at = returned(
        UtcDateTime, None, "When another factor superseded it. `null` while it is in force.", nullable=True
    )
    superseded_by = returned(
        partial(ma.fields.Integer, attribute="shown_superseded_by"),
        None,
        "The user who superseded it. `null` for a shared factor, and for the command line.",
        nullable=True,
    )
    superseded_reason = returned(ma.fields.String, None, nullable=True)
    supersedes_id = returned(ma.fields.Integer, None, "The factor that it supersedes.", nullable=True)


class FactorDetailsSchema(Schema):
    """The figures of a factor and their source."""

    factor = DecimalInput(12, required=True, metadata={"example": 0.177, "description": "kg CO2e per unit."})
    source = returned(partial(Name, validate=ma.validate.Length(1, 500)), "UK Government GHG Conversion Factors 2025")
    note = optional(Text, ma.validate.Length(max=2000), example="Generation only.")
    factor_set_id = StrictInteger(
        load_default=None, allow_none=True, metadata={"description": "The edition that it comes from: a factor set."}
    )
    citation = optional(Name, ma.validate.Length(1, 500), **CITATION)
    gwp = gwp(load_default=None, allow_none=True, metadata={"description": GWP, "example": None})
    co2_kg = _kg_input("co2_kg")
    ch4_kg = _kg_input("ch4_kg")
    n2o_kg = _kg_input("n2o_kg")
    other_co2e_kg = _kg_input("other_co2e_kg")
    biogenic_co2_kg = _kg_input("biogenic_co2_kg")


class NewEmissionFactorSchema(FactorDetailsSchema):
    """A factor with its validity and its source."""

    valid_from = returned(UtcDateTime, "2026-01-01T00:00:00Z")
    valid_until = optional(
        UtcDateTime, description="Exclusive. Without it, the factor is open-ended and ends the previous one."
    )
    region = optional(
        Region, example="GB", description="Without it, the factor applies to all regions without one of their own."
    )
    method = method(load_default=DEFAULT_METHOD)
    organization_id = StrictInteger(metadata={"description": NEW_OWNER})

    @ma.validates_schema
    def valid_for_some_time(self, fields: dict[str, Any], **kwargs: Any) -> None:
        until = fields.get("valid_until")
        if until is not None and "valid_from" in fields and until <= fields["valid_from"]:
            raise ma.ValidationError(END_BEFORE_START, "valid_until")


EmissionFactorChangesSchema = changes_of(
    NewEmissionFactorSchema, "Any of the fields of an emission factor.", "organization_id"
)


class SupersedingFactorSchema(FactorDetailsSchema):
    """The figures of the factor that supersedes another one, and the reason."""

    reason = returned(partial(Name, validate=ma.validate.Length(1, 2000)), "A typing error: 2.01 for 0.201.")


class EmissionFactorQuery(ListQuerySchema):
    region = equal_to(EmissionFactor.region, Region())
    method = equal_to(EmissionFactor.method, method())
    factor_set_id = equal_to(EmissionFactor.factor_set_id)
    organization_id = equal_to(EmissionFactor.organization_id)
    shared = flag(EmissionFactor.organization_id.is_(None), SHARED)
    in_force = flag(
        EmissionFactor.superseded_at.is_(None),
        "With `true`, omit superseded factors. With `false`, return only these.",
    )
    valid_at = UtcDateTime(
        metadata={"description": "Return only factors that are valid at this time.", "criterion": is_valid_at}
    )
    sort = Sort(EmissionFactor.valid_from, EmissionFactor.region, EmissionFactor.id, default="valid_from")


class FactorSetSchema(Schema):
    """One edition of a publisher's table of emission factors."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(ma.fields.Integer, None, OWNER, nullable=True)
    publisher = returned(ma.fields.String, "UK Government")
    edition = returned(ma.fields.String, "2025 v1.0")
    published_on = returned(ma.fields.Date, "2025-06-10", nullable=True)
    gwp = returned(ma.fields.String, "AR5", SET_GWP, nullable=True, enum=[*GWP_SETS, None])
    licence = returned(ma.fields.String, "OGL-UK-3.0", nullable=True)
    url = returned(ma.fields.String, "https://www.gov.uk/", nullable=True)
    sha256 = returned(ma.fields.String, None, "Of the published file.", nullable=True)
    note = returned(ma.fields.String, None, nullable=True)
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")


class NewFactorSetSchema(Schema):
    """An edition. Its factors refer to it."""

    publisher = Name(required=True, validate=ma.validate.Length(1, 200), metadata={"example": "UK Government"})
    edition = Name(required=True, validate=ma.validate.Length(1, 200), metadata={"example": "2025 v1.0"})
    published_on = optional(CalendarDate, example="2025-06-10")
    gwp = gwp(load_default=None, allow_none=True, metadata={"description": SET_GWP, "example": "AR5"})
    licence = optional(Name, ma.validate.Length(1, 200), example="OGL-UK-3.0")
    url = optional(WebAddress, ma.validate.Length(max=2000), example="https://www.gov.uk/")
    sha256 = optional(Sha256, description="Of the published file.")
    note = optional(Text, ma.validate.Length(max=2000))
    organization_id = StrictInteger(metadata={"description": NEW_OWNER})


FactorSetChangesSchema = changes_of(NewFactorSetSchema, "Any of the fields of a factor set.", "organization_id")


class FactorSetQuery(ListQuerySchema):
    q = words_in(FactorSet.publisher, FactorSet.edition, FactorSet.note)
    publisher = equal_to(FactorSet.publisher, Text())
    edition = equal_to(FactorSet.edition, Text())
    gwp = equal_to(FactorSet.gwp, gwp())
    organization_id = equal_to(FactorSet.organization_id)
    shared = flag(FactorSet.organization_id.is_(None), SHARED)
    sort = Sort(FactorSet.id, FactorSet.publisher, FactorSet.edition, FactorSet.created_at, default="id")
