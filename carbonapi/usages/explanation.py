"""The explanation of a usage: every step from the amount to its kg CO2e, so that a reader can repeat it."""

import datetime as dt
import decimal
import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..accounts.models import Organization
from ..catalogue.factor_selection import FactorLookup
from ..catalogue.models import GASES, LOCATION, EmissionFactor, FactorSet, UsageType
from ..catalogue.units import find_unit
from ..catalogue.usage_valuations import choose_valuation, usage_parts
from ..catalogue.valuations import Valuation, ValuationLine, lines_of
from ..db import db
from ..errors import MissingFactor
from ..rest.fields import format_datetime, format_decimal
from .ledger.single import PRODUCT_DIGITS
from .models import Usage, UsageVersion

# The fields of the canonical form: the number, and everything that it depends on.
CANONICAL = (
    "id", "version", "organization_id", "usage_type_id", "usage_at", "usage_until", "amount", "unit",
    "amount_in_type_unit", "co2e_kg", "market_co2e_kg",
)  # fmt: skip
CANONICAL_PART = ("starts_at", "ends_at", "amount")
CANONICAL_LINE = ("line", "emission_factor_id", "factor", "scope", "category", "outside_of_scopes", "fallback")


def explain(usage: Usage) -> dict[str, Any]:
    """Return the input, the conversion, the candidate factors and the chosen one, the calculation, and the history."""
    usage_type = db.session.get_one(UsageType, usage.usage_type_id)
    organization = db.session.get_one(Organization, usage.organization_id)
    region = usage.region or organization.region
    frozen = db.session.get_one(EmissionFactor, usage.emission_factor_id)
    lookup = FactorLookup(usage_type.id, usage.organization_id, region, LOCATION, usage.usage_at)
    parts = _parts(usage)
    lines = lines_of(usage.organization_id, [part.valuation_id for part in parts])
    candidates = list(db.session.scalars(lookup.candidates()))
    unit = find_unit(usage.unit, usage_type.unit)
    canonical = _canonical_form(usage, parts, lines)
    is_split = usage.split_co2e_kg is not None
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
        "why": _why(frozen, region, provisional=parts[0].provisional),
        "candidates": candidates,
        "outdated": _is_outdated(usage, usage_type, region),
        "calculation": _calculation(parts, usage_type.unit, usage.co2e_kg),
        "lines": [] if is_split else _explain_lines(parts[0].amount, usage_type.unit, lines[usage.valuation_id]),
        "parts": [_explain_part(part, usage_type.unit, lines[part.valuation_id]) for part in parts if is_split],
        "co2e_kg": usage.co2e_kg,
        "versions": usage.version,
        "restatement_ids": _restatement_ids(usage),
        "canonical": canonical,
        "sha256": hashlib.sha256(canonical.encode()).hexdigest(),
    }


class Part(NamedTuple):
    """A part of a usage, with the factors of its valuation. A usage that is not split has one part."""

    valuation_id: int
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    amount: Decimal
    factor: Decimal
    market_factor: Decimal
    provisional: bool


def _parts(usage: Usage) -> list[Part]:
    if usage.split_co2e_kg is None:
        times, amount = (usage.usage_at, usage.usage_until), usage.amount_in_type_unit
        return [Part(usage.valuation_id, *times, amount, usage.factor, usage.market_factor, usage.provisional)]
    id_, valuation = usage.valuation_id, Valuation.__table__
    part = usage_parts(usage, id_, id_, usage.usage_at, usage.usage_until, "part")
    of_part = (valuation.c.organization_id == usage.organization_id) & (valuation.c.id == part.c.part_valuation_id)
    columns = (
        valuation.c.id, part.c.part_start, part.c.part_end, part.c.part_amount, valuation.c.factor,
        valuation.c.market_factor, valuation.c.provisional,
    )  # fmt: skip
    query = sa.select(*columns).select_from(sa.join(part, valuation, of_part)).order_by(part.c.part_start)
    return [Part(*row) for row in db.session.execute(query)]


def _canonical_form(usage: Usage, parts: Sequence[Part], lines: dict[int, list[ValuationLine]]) -> str:
    """Return JSON of CANONICAL and its lines: sorted names, no spaces, times in UTC, exact numbers as text.

    A usage has `lines`, or `parts` with lines if it is split.
    """
    fields: dict[str, Any] = {name: _canonical(getattr(usage, name)) for name in CANONICAL}
    of_parts: list[dict[str, Any]] = [
        {
            "lines": [
                {name: _canonical(getattr(line, name)) for name in CANONICAL_LINE} for line in lines[part.valuation_id]
            ]
        }
        for part in parts
    ]
    if usage.split_co2e_kg is None:
        fields |= of_parts[0]
    else:
        fields["parts"] = [
            of_part | {name: _canonical(getattr(part, name)) for name in CANONICAL_PART}
            for of_part, part in zip(of_parts, parts, strict=True)
        ]
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
    amount, converted = format_decimal(usage.amount), format_decimal(usage.amount_in_type_unit)
    return f"{amount} {usage.unit} × {ratio} {type_unit}/{usage.unit} = {converted} {type_unit}"


def _calculation(parts: Sequence[Any], unit: str, co2e_kg: Decimal) -> str:
    """Return the sum of the products of amounts and factors as text."""
    products = (
        f"{format_decimal(part.amount)} {unit} × {format_decimal(part.factor)} kg CO2e/{unit}" for part in parts
    )
    return f"{' + '.join(products)} = {format_decimal(co2e_kg)} kg CO2e"


def _explain_part(part: Part, unit: str, lines: Sequence[ValuationLine]) -> dict[str, Any]:
    """Return a part of a split usage, its kg CO2e, and the calculation of each of its lines."""
    with decimal.localcontext(prec=PRODUCT_DIGITS):
        by_method = {"co2e_kg": part.amount * part.factor, "market_co2e_kg": part.amount * part.market_factor}
    return {
        **part._asdict(),
        **by_method,
        "calculation": _calculation([part], unit, by_method["co2e_kg"]),
        "lines": _explain_lines(part.amount, unit, lines),
    }


def _explain_lines(amount: Decimal, unit: str, lines: Sequence[ValuationLine]) -> list[dict[str, Any]]:
    """Return the lines of a valuation, each with the gases of its factor, its kg CO2e, and the calculation."""
    explained = []
    for line in lines:
        factor = db.session.get_one(EmissionFactor, line.emission_factor_id)
        factor_set = factor.factor_set_id and db.session.get_one(FactorSet, factor.factor_set_id)
        with decimal.localcontext(prec=PRODUCT_DIGITS):
            co2e_kg = amount * line.factor
        calculation = f"{format_decimal(amount)} {unit} × {format_decimal(line.factor)} kg CO2e/{unit}"
        explained.append(
            {
                **{name: getattr(line, name) for name in CANONICAL_LINE},
                "gwp": factor.gwp or (factor_set and factor_set.gwp),
                **{gas: getattr(factor, gas) for gas in GASES},
                "co2e_kg": co2e_kg,
                "calculation": f"{calculation} = {format_decimal(co2e_kg)} kg CO2e",
            }
        )
    return explained


def _is_outdated(usage: Usage, usage_type: UsageType, region: str | None) -> bool:
    """Return whether the catalogue would now choose other factors, or none."""
    try:
        current = choose_valuation(usage.organization_id, usage_type, region, usage.usage_at, usage.usage_until)
    except MissingFactor:
        return True
    keys = sa.select(Valuation.key).where(
        Valuation.organization_id == usage.organization_id, Valuation.id.in_([current.id, usage.valuation_id])
    )
    return len(set(db.session.scalars(keys))) > 1


def _why(factor: EmissionFactor, region: str | None, *, provisional: bool) -> str:
    owner = "the organization's own factor" if factor.organization_id else "the shared factor"
    scope = f"for region {factor.region}" if factor.region else "for any region"
    usage_region = f"The region is {region}" if region else "Neither the usage nor its organization has a region"
    applies = "ended last before" if provisional else "applies at"
    end = " No factor is valid at that time, so the latest one applies provisionally." if provisional else ""
    return (
        f"{usage_region}. An organization's own factor takes precedence over a shared one; within each, the factor of "
        "a subdivision over that of its country, and both over the general one. The "
        f"{factor.method}-based factor that {applies} that time is {owner} {scope}.{end}"
    )


def _restatement_ids(usage: Usage) -> list[int]:
    """Return the restatements that set the factor of a version of the usage."""
    found = sa.union(
        *(
            sa.select(table.restatement_id).where(
                table.organization_id == usage.organization_id, table.id == usage.id, table.restatement_id.is_not(None)
            )
            for table in (Usage, UsageVersion)
        )
    )
    return sorted(db.session.scalars(found))
