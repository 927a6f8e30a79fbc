"""Which emission factor a usage gets.

One of its usage type and method, in force at its moment: the organization's own before a shared one, and among these
the region's before the general one.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..db import db
from ..errors import MissingFactor
from ..rest.fields import format_datetime
from .models import EmissionFactor, UsageType, is_valid_at


@dataclass(frozen=True)
class FactorLookup:
    """What a factor is looked for by: values, or columns of the usages of a statement."""

    usage_type_id: Any
    organization_id: Any
    region: Any
    method: Any
    moment: Any

    def candidates(self) -> sa.Select[EmissionFactor]:
        """A SELECT of all factors that could apply, the one that does first. No two are of one rank."""
        return (
            sa.select(EmissionFactor)
            .where(EmissionFactor.usage_type_id == self.usage_type_id, is_valid_at(self.moment))
            .where(EmissionFactor.method == self.method)
            .where(EmissionFactor.organization_id.is_(None) | (EmissionFactor.organization_id == self.organization_id))
            .where(EmissionFactor.region.is_(None) | (EmissionFactor.region == self.region))
            .order_by(EmissionFactor.organization_id.nulls_last(), EmissionFactor.region.nulls_last())
        )

    def chosen(self) -> sa.Select[EmissionFactor]:
        """A SELECT of the one factor that applies, or of none."""
        return self.candidates().limit(1)


def select_factor(usage_type: UsageType, want: FactorLookup) -> EmissionFactor:
    """The factor that applies. Raises NoFactor where there is none."""
    factor = db.session.scalar(want.chosen())
    if factor is None:
        raise missing_factor_error(usage_type, want)
    return factor


def missing_factor_error(usage_type: UsageType, want: FactorLookup) -> MissingFactor:
    """The error that says what is missing, and what there is."""
    before, after, field = missing_factor_parts(usage_type, want)
    return MissingFactor(f"{before}{format_datetime(want.moment)}{after}", field=field)


def missing_factor_parts(usage_type: UsageType, want: FactorLookup) -> tuple[str, str, str]:
    """What that error says before the moment and after it, and the field that it names.

    It is the same for all moments between two at which a factor of the type begins or ends.
    """
    factors = db.session.scalars(
        sa.select(EmissionFactor)
        .where(EmissionFactor.usage_type_id == usage_type.id)
        .where(EmissionFactor.organization_id.is_(None) | (EmissionFactor.organization_id == want.organization_id))
        .order_by(EmissionFactor.valid_from)
    ).all()
    of_method = [factor for factor in factors if factor.method == want.method]
    kind = "" if want.method == "location" else f"{want.method}-based "
    before = f"{usage_type.name} ({usage_type.unit}) has no {kind}emission factor at "
    applying = [factor for factor in of_method if factor.region in (None, want.region)]
    elsewhere = sorted({factor.region for factor in of_method if factor.region and _in_force(factor, want.moment)})
    if elsewhere:
        after = (
            f" {f'in region {want.region}' if want.region else 'without a region'}; there is one for region "
            f"{', '.join(elsewhere)}. Give the usage, or its organization, that region."
        )
        return before, after, "region"
    if not applying:
        others = sorted({factor.method for factor in factors} - {want.method})
        known = f"; there are {others[0]}-based ones" if others else ". Nobody has entered one yet"
        return before, f"{known}.", "method" if others else "usage_at"
    first, last = applying[0], applying[-1]
    if want.moment < first.valid_from:
        known = f"the first is valid from {format_datetime(first.valid_from)}"
    elif last.valid_until and last.valid_until <= want.moment:
        known = f"the last is valid until {format_datetime(last.valid_until)}"
    else:
        known = "there is a gap between two"
    return before, f"; {known}.", "usage_at"


def _in_force(factor: EmissionFactor, moment: dt.datetime) -> bool:
    return factor.valid_from <= moment and (factor.valid_until is None or moment < factor.valid_until)
