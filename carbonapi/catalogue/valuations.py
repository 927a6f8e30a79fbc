"""Valuations: the emission factors that were chosen for usages, frozen as rows that all usages of one choice share.

A valuation is the choice for a usage type in a region within [valid_from, valid_until), with a line for each number
that follows from the amount:

- `location`: the average of the grid, or the only factor of a type that is not purchased energy.
- `market`: the factor of the supplier's contract or the residual mix; without one, the location-based factor, marked as
  `fallback` if the usage is of scope 2 (GHG Protocol, Scope 2 Guidance).
- upstream lines, which the catalogue defines: the factor of another usage type for the same amount, such as the losses
  of transmission and distribution.

A total is location-based or market-based: it has all lines but that of the other method. Lines outside of the scopes
are in no total. A valuation never changes, so neither do the numbers, scopes and categories of recorded usages. When
the catalogue changes, other valuations become the current ones, which later usages and restatements get.

A time without a location-based factor has no valuation, or a `provisional` one, whose factors ended before it.
"""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Model, NotAudited, TenantScoped, db
from .gwp import gwp_weights
from .models import FACTOR, GWP_SETS, LOCATION, MARKET, METHODS, EmissionFactor, FactorSet

FACTORS_OF_USAGE = ("emission_factor_id", "factor", "market_factor", "provisional")


class Valuation(TenantScoped, Model):
    """The frozen choice of factors for a usage type in a region, within [valid_from, valid_until).

    An interval that ends while later valuations are valid has one of its own, which applies if its last day is within
    [last_valid_from, last_valid_until): see `usage_valuations`. If it is `split`, its segments are valuations, it has
    the factors of the first, and no lines. Of all others, both ranges are the same, or all valuations within are equal.

    `factor` is that of the location-based line. `location_total` and `market_total` are the kg CO2e per unit that count
    in a total. `scope`, `category` and `outside_of_scopes` are those of the usage type at the time of the choice. It is
    `provisional` if its location-based factor, or that of a segment, had ended before: only organizations whose
    `missing_factor` is `latest` get it.
    """

    OWNER_COLUMN = None
    __tablename__ = "valuations"
    AUDIT = NotAudited("it follows from the catalogue")
    __table_args__ = (
        ExcludeConstraint(
            (sa.column("organization_id"), "="),
            (sa.column("usage_type_id"), "="),
            (sa.text("coalesce(region, '')"), "="),
            (sa.text("tstzrange(valid_from, valid_until)"), "&&"),
            (sa.text("tstzrange(last_valid_from, last_valid_until)"), "&&"),
            name="ex_valuations_validity",
            using="gist",
            where=sa.text("current"),
            info={"message": "Another request chose these factors. Repeat yours.", "is_transient": True},
        ),
        sa.Index(
            "ix_valuations_current",
            "organization_id",
            "usage_type_id",
            "valid_from",
            postgresql_where=sa.text("current"),
        ),
        sa.Index("ix_valuations_by_type", "organization_id", "usage_type_id", "key"),
        sa.UniqueConstraint("organization_id", "usage_type_id", "id"),
    )

    usage_type_id: Mapped[int] = mapped_column(sa.ForeignKey("usage_types.id"))
    region: Mapped[str | None]
    valid_from: Mapped[dt.datetime]
    valid_until: Mapped[dt.datetime | None]
    last_valid_from: Mapped[dt.datetime]
    last_valid_until: Mapped[dt.datetime | None]
    split: Mapped[bool]
    current: Mapped[bool]
    key: Mapped[str]  # The lines as text. Usages with equal keys have the same factors, scopes and categories.
    emission_factor_id: Mapped[int]
    factor: Mapped[Decimal] = mapped_column(FACTOR)
    market_factor: Mapped[Decimal] = mapped_column(FACTOR)
    scope: Mapped[int | None] = mapped_column(sa.SmallInteger)
    category: Mapped[str | None]
    outside_of_scopes: Mapped[bool]
    location_total: Mapped[Decimal] = mapped_column(sa.Numeric)
    market_total: Mapped[Decimal] = mapped_column(sa.Numeric)
    provisional: Mapped[bool]


class ValuationSegment(Model):
    """A part of a split valuation: the valuation that it has within [starts_at, ends_at). The last one has no end."""

    __tablename__ = "valuation_segments"
    AUDIT = NotAudited("it follows from the catalogue")
    __table_args__ = (
        *(
            sa.ForeignKeyConstraint(["organization_id", name], ["valuations.organization_id", "valuations.id"])
            for name in ("valuation_id", "segment_id")
        ),
        sa.CheckConstraint("ends_at > starts_at", name="ends_at"),
        sa.Index("ix_valuation_segments_by_segment", "organization_id", "segment_id"),
    )

    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    valuation_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    starts_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    ends_at: Mapped[dt.datetime | None]
    segment_id: Mapped[int]


class ValuationLine(Model):
    """A number of a valuation: a factor in kg CO2e per unit, with its scope and category."""

    __tablename__ = "valuation_lines"
    AUDIT = NotAudited("it follows from the catalogue")
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "valuation_id"], ["valuations.organization_id", "valuations.id"]),
        sa.Index("ix_valuation_lines_by_factor", "emission_factor_id"),
    )

    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    valuation_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    line: Mapped[str] = mapped_column(primary_key=True)
    emission_factor_id: Mapped[int] = mapped_column(sa.ForeignKey("emission_factors.id"))
    factor: Mapped[Decimal] = mapped_column(FACTOR)
    scope: Mapped[int | None] = mapped_column(sa.SmallInteger)
    category: Mapped[str | None]
    outside_of_scopes: Mapped[bool]
    fallback: Mapped[bool]


def lines_of(organization_id: int, valuation_ids: Iterable[int]) -> dict[int, list[ValuationLine]]:
    """Return the lines of valuations, by the id of their valuation: location, market, and the others by name."""
    order = sa.case({name: place for place, name in enumerate(METHODS)}, value=ValuationLine.line, else_=len(METHODS))
    found: dict[int, list[ValuationLine]] = {id_: [] for id_ in valuation_ids}
    query = (
        sa.select(ValuationLine)
        .where(ValuationLine.organization_id == organization_id, ValuationLine.valuation_id.in_(found))
        .order_by(order, ValuationLine.line)
    )
    for line in db.session.scalars(query):
        found[line.valuation_id].append(line)
    return found


def line_factors(*keys: str, scopes: Any = None, gwp_set: str | None = None) -> Any:
    """Return the kg CO2e per unit of each valuation by each of METHODS, added up by columns of its lines, as a table.

    Columns: organization_id, valuation_id, the `keys`, and the METHODS. Lines outside of the scopes do not count.
    scopes: the array of scopes that count; by default all. gwp_set: convert the gases of the factors to this set. Then
    there are columns `unconverted_{method}` too: the part from factors without known gases, which stays as it is.
    """
    line = ValuationLine.__table__.c
    columns = [line.organization_id, line.valuation_id, *(line[key] for key in keys)]
    criteria = [~line.outside_of_scopes] if keys else []
    if scopes is not None:
        criteria.append(line.scope == sa.any_(scopes))
    factors: dict[str, Any] = {"": line.factor}
    rows: sa.Select[Any] = sa.select(*columns).where(*criteria).group_by(*columns)
    if gwp_set is not None:
        change = _change_to(gwp_set)
        factors = {
            "": line.factor + sa.func.coalesce(change, 0),
            "unconverted_": sa.case((change.is_(None), line.factor), else_=0),
        }
        rows = rows.join(EmissionFactor, EmissionFactor.id == line.emission_factor_id).outerjoin(
            FactorSet, FactorSet.id == EmissionFactor.factor_set_id
        )
    for prefix, factor in factors.items():
        for method, other in ((LOCATION, MARKET), (MARKET, LOCATION)):
            of_method = sa.func.sum(factor).filter(line.line != other, ~line.outside_of_scopes)
            rows = rows.add_columns(sa.func.coalesce(of_method, 0).label(f"{prefix}{method}"))
    return rows.subquery("lines")


def _change_to(gwp_set: str) -> sa.ColumnElement[Any]:
    """Return by how much a factor changes with the potentials of this set; null if its own set or gases are unknown.

    The difference is added to the published factor, which may have been rounded, so a factor of this set stays equal.
    """
    own_set = sa.func.coalesce(EmissionFactor.gwp, FactorSet.gwp)
    change: Any = sa.literal(0)
    for gas, potential in gwp_weights(gwp_set).items():
        changes = {own: potential - weights[gas] for own in GWP_SETS if (weights := gwp_weights(own))}
        if any(changes.values()):
            column = getattr(EmissionFactor, gas)
            change = change + sa.func.coalesce(column, 0) * sa.case(changes, value=own_set, else_=sa.null())
    has_gases = sa.or_(*(getattr(EmissionFactor, gas).is_not(None) for gas in gwp_weights(gwp_set)))
    return sa.case((has_gases & own_set.is_not(None), change))
