"""Select the emission factor of a usage.

It has the usage's type and method, and is valid at the usage's time. An organization's own factor takes precedence over
a shared one; within each, the factor of a subdivision over that of its country, and that over one for all regions.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..db import db
from ..errors import MissingFactor
from ..rest.fields import format_datetime
from .models import DEFAULT_METHOD, EmissionFactor, UsageType, is_valid_at

PRECEDENCE = (
    EmissionFactor.organization_id.nulls_last(),
    EmissionFactor.region.desc().nulls_last(),  # A subdivision starts with its country, so it comes first.
)


@dataclass(frozen=True)
class FactorLookup:
    """The properties of a usage that determine its factor: values, or columns of a statement."""

    usage_type_id: Any
    organization_id: Any
    region: Any
    method: Any
    moment: Any

    def candidates(self) -> sa.Select[EmissionFactor]:
        """Return a SELECT of all factors that could apply, in their order of precedence, which is unambiguous."""
        return self.at_any_time().where(is_valid_at(self.moment))

    def at_any_time(self) -> sa.Select[EmissionFactor]:
        """Return that SELECT for all times. Factors of equal precedence are not valid at the same time."""
        return (
            sa.select(EmissionFactor)
            .where(EmissionFactor.usage_type_id == self.usage_type_id, EmissionFactor.superseded_at.is_(None))
            .where(EmissionFactor.method == self.method)
            .where(EmissionFactor.organization_id.is_(None) | (EmissionFactor.organization_id == self.organization_id))
            .where(EmissionFactor.region.is_(None) | EmissionFactor.region.in_([self.region, country_of(self.region)]))
            .order_by(*PRECEDENCE)
        )

    def chosen(self) -> sa.Select[EmissionFactor]:
        """Return a SELECT of the factor that applies, if there is one."""
        return self.candidates().limit(1)

    def latest_ended(self) -> sa.Select[EmissionFactor]:
        """Return a SELECT of the latest factor that is not valid any more, if there is one."""
        ended = self.at_any_time().where(EmissionFactor.valid_until <= self.moment)
        return ended.order_by(None).order_by(EmissionFactor.valid_until.desc(), *PRECEDENCE).limit(1)


def country_of(region: Any) -> Any:
    """Return the country of a region, which can be a value or a column: GB for GB-LND."""
    if region is None:
        return None
    return region[:2] if isinstance(region, str) else sa.func.left(region, 2)


def missing_factor_error(
    usage_type: UsageType, lookup: FactorLookup, factors: Sequence[EmissionFactor] | None = None
) -> MissingFactor:
    """Return the error that names the missing factor and the nearest existing ones.

    factors: those of `factors_of_type`, if the caller has read them.
    """
    before, after, field = missing_factor_parts(usage_type, lookup, factors)
    return MissingFactor(f"{before}{format_datetime(lookup.moment)}{after}", field=field)


def factors_of_type(usage_type_id: int, organization_id: int) -> Sequence[EmissionFactor]:
    """Return the factors of a usage type that an organization may use, in the order of their time."""
    return db.session.scalars(
        sa.select(EmissionFactor)
        .where(EmissionFactor.usage_type_id == usage_type_id)
        .where(EmissionFactor.organization_id.is_(None) | (EmissionFactor.organization_id == organization_id))
        .order_by(EmissionFactor.valid_from)
    ).all()


def missing_factor_parts(
    usage_type: UsageType, lookup: FactorLookup, factors: Sequence[EmissionFactor] | None = None
) -> tuple[str, str, str]:
    """Return the text of that error before the moment and after it, and the name of its field.

    They are the same for all moments between two changes of the valid factors.
    """
    if factors is None:
        factors = factors_of_type(usage_type.id, lookup.organization_id)
    of_method = [factor for factor in factors if factor.method == lookup.method]
    kind = "" if lookup.method == DEFAULT_METHOD else f"{lookup.method}-based "
    before = f"{usage_type.name} ({usage_type.unit}) has no {kind}emission factor at "
    regions = (None, lookup.region, country_of(lookup.region))
    of_region = [factor for factor in of_method if factor.region in regions]
    other_regions = sorted({factor.region for factor in of_method if factor.region and is_valid(factor, lookup.moment)})
    if other_regions:
        after = (
            f" {f'in region {lookup.region}' if lookup.region else 'without a region'}; there is one for region "
            f"{', '.join(other_regions)}. Set this region on the usage or its organization."
        )
        return before, after, "region"
    if not of_region:
        methods = sorted({factor.method for factor in factors} - {lookup.method})
        known = f"; there are {methods[0]}-based ones" if methods else ". No factor has been created yet"
        return before, f"{known}.", "method" if methods else "usage_at"
    first, last = of_region[0], of_region[-1]
    if lookup.moment < first.valid_from:
        known = f"the first is valid from {format_datetime(first.valid_from)}"
    elif last.valid_until and last.valid_until <= lookup.moment:
        known = (
            f"the last is valid until {format_datetime(last.valid_until)}. Create the next one, or set missing_factor "
            "of the organization to latest to use this one provisionally"
        )
    else:
        known = "no factor is valid at that time"
    return before, f"; {known}.", "usage_at"


def is_valid(factor: EmissionFactor, moment: dt.datetime) -> bool:
    """Return whether a factor that has been read is valid at the moment."""
    return factor.valid_from <= moment and (factor.valid_until is None or moment < factor.valid_until)
