"""The explanation of a usage in responses."""

from functools import partial

import marshmallow as ma

from ..catalogue.schemas import EmissionFactorSchema, UnitSchema, UsageTypeSchema
from ..rest import Schema
from ..rest.fields import ExactDecimal, UtcDateTime, returned
from .schemas import UsageSchema


class ConversionSchema(UnitSchema):
    """The conversion of the recorded unit: one is exactly numerator / denominator units of the usage type."""

    type_unit = returned(ma.fields.String, "kwh")
    calculation = returned(ma.fields.String, "2 MWh × 1000 kwh/MWh = 2000 kwh")


class LineSchema(Schema):
    """A line of a valuation, with the kg CO2e that it gives for the usage."""

    line = returned(ma.fields.String, "location", "`location`, `market`, or an upstream line of the usage type.")
    emission_factor_id = returned(ma.fields.Integer, 1)
    factor = returned(ExactDecimal, 1.5, "kg CO2e per unit of the usage type.")
    scope = returned(ma.fields.Integer, 2, "Scope at the time of recording.", nullable=True)
    category = returned(ma.fields.String, "purchased_electricity", nullable=True)
    outside_of_scopes = returned(ma.fields.Boolean, False, "Whether the line is in no total.")
    fallback = returned(
        ma.fields.Boolean, False, "Whether a market-based line has the location-based factor, for lack of another."
    )
    gwp = returned(
        ma.fields.String, "AR5", "The assessment report whose global warming potentials the factor has.", nullable=True
    )
    co2_kg = returned(ExactDecimal, None, "kg of CO2 per unit.", nullable=True)
    ch4_kg = returned(ExactDecimal, None, "kg of CH4 per unit.", nullable=True)
    n2o_kg = returned(ExactDecimal, None, "kg of N2O per unit.", nullable=True)
    other_co2e_kg = returned(ExactDecimal, None, "kg CO2e per unit of all other gases.", nullable=True)
    biogenic_co2_kg = returned(ExactDecimal, None, "kg of biogenic CO2 per unit, which is in no total.", nullable=True)
    co2e_kg = returned(ExactDecimal, 3000, "The exact product of the amount and `factor`.")
    calculation = returned(ma.fields.String, "2000 kwh × 1.5 kg CO2e/kwh = 3000 kg CO2e")


class PartSchema(Schema):
    """The part of a split usage within [starts_at, ends_at), which has a valuation of its own."""

    valuation_id = returned(ma.fields.Integer, 1)
    starts_at = returned(UtcDateTime, "2024-12-15T00:00:00Z")
    ends_at = returned(UtcDateTime, "2025-01-01T00:00:00Z")
    amount = returned(ExactDecimal, 1700, "Prorated amount, in the unit of the usage type.")
    factor = returned(ExactDecimal, 0.20705, "kg CO2e per unit, location-based.")
    market_factor = returned(ExactDecimal, 0.20705, "kg CO2e per unit, market-based.")
    co2e_kg = returned(ExactDecimal, 351.985, "The exact product of `amount` and `factor`.")
    market_co2e_kg = returned(ExactDecimal, 351.985, "The exact product of `amount` and `market_factor`.")
    provisional = returned(ma.fields.Boolean, False, "Whether the factor had ended before the part.")
    calculation = returned(ma.fields.String, "1700 kWh × 0.20705 kg CO2e/kWh = 351.985 kg CO2e")
    lines = ma.fields.List(
        ma.fields.Nested(LineSchema), required=True, metadata={"description": "All lines of its valuation."}
    )


class ExplanationSchema(Schema):
    """The explanation of a usage."""

    usage = ma.fields.Nested(UsageSchema, required=True, metadata={"description": "The usage."})
    usage_type = ma.fields.Nested(UsageTypeSchema, required=True)
    region_of_organization = returned(ma.fields.String, "GB", "Applies if the usage has no region.", nullable=True)
    conversion = ma.fields.Nested(ConversionSchema, required=True)
    factor = ma.fields.Nested(
        EmissionFactorSchema, required=True, metadata={"description": "The chosen factor, with its source."}
    )
    why = returned(ma.fields.String, "The region is GB. …")
    candidates = ma.fields.List(
        ma.fields.Nested(EmissionFactorSchema),
        required=True,
        metadata={
            "description": "Factors of the current catalogue that could apply at that time, highest precedence first."
        },
    )
    outdated = returned(
        ma.fields.Boolean, False, "Whether the current catalogue has another factor. A restatement applies it."
    )
    calculation = returned(ma.fields.String, "2000 kwh × 1.5 kg CO2e/kwh = 3000 kg CO2e")
    co2e_kg = returned(ExactDecimal, 3000)
    lines = ma.fields.List(
        ma.fields.Nested(LineSchema),
        required=True,
        metadata={"description": "All lines of the frozen valuation. Empty if the usage is split: see `parts`."},
    )
    parts = ma.fields.List(
        ma.fields.Nested(PartSchema),
        required=True,
        metadata={
            "description": "The parts of an interval that is split over a change of factor, in order. Empty otherwise."
        },
    )
    versions = returned(ma.fields.Integer, 1, "Number of versions.")
    restatement_ids = returned(
        partial(ma.fields.List, ma.fields.Integer()), [], "Restatements that set the factor of a version."
    )
    canonical = returned(
        ma.fields.String, '{"amount":"2","co2e_kg":"3000"}', "Canonical JSON of everything that the number depends on."
    )
    sha256 = returned(ma.fields.String, "1b0e…", "Hash of `canonical`, in UTF-8.")
