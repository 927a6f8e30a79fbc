"""Which emission factor a usage gets: of its type, in force at its moment, the region's own before the general one."""

import datetime as dt

import sqlalchemy as sa

from ..db import db
from ..errors import NoFactor
from ..rest.fields import rfc3339
from .models import EmissionFactor, UsageType, in_force


def chosen_factor(
    usage_type_id: sa.ColumnElement[int], region: sa.ColumnElement[str], moment: sa.ColumnElement[dt.datetime]
) -> sa.Select[EmissionFactor]:
    """A SELECT of the one factor that applies, or of none. A tie is impossible: validity does not overlap."""
    return (
        sa.select(EmissionFactor)
        .where(EmissionFactor.usage_type_id == usage_type_id, in_force(moment))
        .where(EmissionFactor.region.is_(None) | (EmissionFactor.region == region))
        .order_by(EmissionFactor.region.nulls_last())
        .limit(1)
    )


def factor_at(usage_type: UsageType, region: str | None, moment: dt.datetime) -> EmissionFactor:
    """The factor in force at `moment`, the region's own before the general one. Raises NoFactor where there is none."""
    factor = db.session.scalar(
        chosen_factor(
            sa.literal(usage_type.id), sa.cast(region, sa.Text), sa.literal(moment, sa.DateTime(timezone=True))
        )
    )
    if factor is None:
        raise no_factor(usage_type, region, moment)
    return factor


def no_factor(usage_type: UsageType, region: str | None, moment: dt.datetime) -> NoFactor:
    """The error that says what is missing, and what there is."""
    factors = db.session.scalars(
        sa.select(EmissionFactor)
        .where(EmissionFactor.usage_type_id == usage_type.id)
        .order_by(EmissionFactor.valid_from)
    ).all()
    wanted = f"{usage_type.name} ({usage_type.unit}) has no emission factor at {rfc3339(moment)}"
    applying = [factor for factor in factors if factor.region in (None, region)]
    elsewhere = sorted({factor.region for factor in factors if factor.region and in_force_then(factor, moment)})
    if elsewhere:
        return NoFactor(
            f"{wanted} {f'in region {region}' if region else 'without a region'}; there is one for region "
            f"{', '.join(elsewhere)}. Give the usage, or its organization, that region.",
            field="region",
        )
    if not applying:
        return NoFactor(f"{wanted}. Nobody has entered one yet.", field="usage_at")
    first, last = applying[0], applying[-1]
    if moment < first.valid_from:
        known = f"the first is valid from {rfc3339(first.valid_from)}"
    elif last.valid_until and last.valid_until <= moment:
        known = f"the last is valid until {rfc3339(last.valid_until)}"
    else:
        known = "there is a gap between two"
    return NoFactor(f"{wanted}; {known}.", field="usage_at")


def in_force_then(factor: EmissionFactor, moment: dt.datetime) -> bool:
    return factor.valid_from <= moment and (factor.valid_until is None or moment < factor.valid_until)
