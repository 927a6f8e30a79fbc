"""How a usage's number came about, step by step, so that anybody can do the sum again."""

import datetime as dt
import hashlib
import json
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization
from ..catalogue.factor_selection import FactorLookup
from ..catalogue.models import EmissionFactor, UsageType
from ..catalogue.units import find_unit
from ..db import db
from ..rest.fields import format_datetime, format_decimal
from .models import Usage, UsageVersion

# What the number depends on, and what it is: these stand in the canonical form.
CANONICAL = (
    "id", "version", "organization_id", "usage_type_id", "usage_at", "usage_until", "amount", "unit",
    "amount_in_type_unit", "emission_factor_id", "factor", "method", "co2e_kg",
)  # fmt: skip


def explain(usage: Usage) -> dict[str, Any]:
    """The input, the conversion, the candidates and the factor that won, the multiplication, and the history."""
    usage_type = db.session.get_one(UsageType, usage.usage_type_id)
    organization = db.session.get_one(Organization, usage.organization_id)
    region = usage.region or organization.region
    frozen = db.session.get_one(EmissionFactor, usage.emission_factor_id)
    want = FactorLookup(usage_type.id, usage.organization_id, region, usage.method, usage.usage_at)
    candidates = list(db.session.scalars(want.candidates()))
    unit = find_unit(usage.unit, usage_type.unit)
    canonical = canonical_form(usage)
    return {
        "usage": usage,
        "usage_type": usage_type,
        "region_of_organization": organization.region,
        "conversion": {
            "unit": unit.unit,
            "type_unit": usage_type.unit,
            "numerator": unit.numerator,
            "denominator": unit.denominator,
            "calculation": _conversion(usage, unit.numerator, unit.denominator, usage_type.unit),
        },
        "factor": frozen,
        "why": _why(frozen, region),
        "candidates": candidates,
        "outdated": not candidates or candidates[0].id != frozen.id,
        "calculation": f"{format_decimal(usage.amount_in_type_unit)} {usage_type.unit} × {format_decimal(usage.factor)} "
        f"kg CO2e/{usage_type.unit} = {format_decimal(usage.co2e_kg)} kg CO2e",
        "co2e_kg": usage.co2e_kg,
        "versions": usage.version,
        "restatement_ids": _restatements_of(usage),
        "canonical": canonical,
        "sha256": hashlib.sha256(canonical.encode()).hexdigest(),
    }


def canonical_form(usage: Usage) -> str:
    """JSON of what the number depends on: names in order, no space, times in UTC, exact figures as text."""
    fields = {name: _canonical(getattr(usage, name)) for name in CANONICAL}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _canonical(value: Any) -> str | int | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return format_decimal(value)
    if isinstance(value, dt.datetime):
        return format_datetime(value)
    return str(value) if isinstance(value, str) else int(value)


def _conversion(usage: Usage, numerator: int, denominator: int, type_unit: str) -> str:
    ratio = str(numerator) if denominator == 1 else f"{numerator}/{denominator}"
    given, converted = format_decimal(usage.amount), format_decimal(usage.amount_in_type_unit)
    return f"{given} {usage.unit} × {ratio} {type_unit}/{usage.unit} = {converted} {type_unit}"


def _why(factor: EmissionFactor, region: str | None) -> str:
    owner = "the organization's own" if factor.organization_id else "the shared one"
    place = f"for region {factor.region}" if factor.region else "for any region"
    looked_for = f"The usage is of region {region}" if region else "The usage has no region, nor has its organization"
    return (
        f"{looked_for}. Own factors go before shared ones, and among these a region's before the general one; "
        f"the {factor.method}-based factor that won at that time is {owner} {place}."
    )


def _restatements_of(usage: Usage) -> list[int]:
    """The restatements that booked a version of the usage."""
    found = sa.union(
        *(
            sa.select(table.restatement_id).where(
                table.organization_id == usage.organization_id, table.id == usage.id, table.restatement_id.is_not(None)
            )
            for table in (Usage, UsageVersion)
        )
    )
    return sorted(db.session.scalars(found))
