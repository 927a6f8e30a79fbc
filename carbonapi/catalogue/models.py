"""Usage types, and the emission factors that turn an amount into kg CO2e."""

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, column_property, mapped_column

from ..db import AuditConfig, Global, Model, OptimisticallyLocked, Viewer, choice_constraint

# Electricity counts by the average of the local grid, or by the supplier's contract (GHG Protocol, Scope 2 Guidance).
METHODS = LOCATION, MARKET = "location", "market"
DEFAULT_METHOD = LOCATION
FACTOR = sa.Numeric(24, 12)


class EmissionFactor(Global, Model):
    """The kg CO2e per unit of a usage type, in one region or in all, within [valid_from, valid_until).

    It is shared by all organizations, or belongs to one, for example the factor of its supplier.
    """

    __tablename__ = "emission_factors"
    __table_args__ = (
        sa.UniqueConstraint("usage_type_id", "id"),
        ExcludeConstraint(
            (sa.column("usage_type_id"), "="),
            (sa.text("coalesce(organization_id, 0)"), "="),
            (sa.text("coalesce(region, '')"), "="),
            (sa.column("method"), "="),
            (sa.text("tstzrange(valid_from, valid_until)"), "&&"),
            name="ex_emission_factors_validity",
            using="gist",
            info={
                "message": "Another factor of this usage type, region and method is valid within this time. Choose a "
                "valid_from and valid_until that do not overlap it.",
                "field": "valid_from",
            },
        ),
        sa.CheckConstraint("factor >= 0 AND factor < 1e12", name="factor"),
        sa.CheckConstraint("valid_until > valid_from", name="validity"),
        choice_constraint("method", METHODS),
    )
    AUDIT = AuditConfig(
        (
            "usage_type_id",
            "organization_id",
            "region",
            "method",
            "factor",
            "valid_from",
            "valid_until",
            "source",
            "note",
        )
    )

    usage_type_id: Mapped[int] = mapped_column(sa.ForeignKey("usage_types.id"))
    organization_id: Mapped[int | None] = mapped_column(sa.ForeignKey("organizations.id"))
    region: Mapped[str | None]
    method: Mapped[str] = mapped_column(server_default=DEFAULT_METHOD)
    factor: Mapped[Decimal] = mapped_column(FACTOR)
    valid_from: Mapped[dt.datetime]
    valid_until: Mapped[dt.datetime | None]
    source: Mapped[str]
    note: Mapped[str | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Users see the shared factors and those of their organization, admins all."""
        shared_or_own = cls.organization_id.is_(None) | (cls.organization_id == viewer.organization_id)
        return () if viewer.role == "admin" else (shared_or_own,)


class UpstreamLine(Global, Model):
    """A line that valuations of a usage type have beside its own: the factor of another type for the same amount.

    It is shared, or of one organization. `line` is its name, such as t_and_d. Its scope and category are those of the
    other type, whose unit must be the same.
    """

    __tablename__ = "upstream_lines"
    __table_args__ = (
        sa.Index(
            "uq_upstream_lines",
            sa.text("coalesce(organization_id, 0)"),
            "usage_type_id",
            "line",
            unique=True,
            info={"message": "The usage type already has a line of this name.", "field": "line"},
        ),
        sa.Index("ix_upstream_lines_by_factor_type", "factor_type_id"),
        sa.CheckConstraint("line ~ '^[a-z][a-z0-9_]{0,49}$' AND line NOT IN ('location', 'market')", name="line"),
        sa.CheckConstraint("factor_type_id <> usage_type_id", name="factor_type"),
    )
    AUDIT = AuditConfig(("usage_type_id", "organization_id", "line", "factor_type_id"))

    usage_type_id: Mapped[int] = mapped_column(sa.ForeignKey("usage_types.id"))
    organization_id: Mapped[int | None] = mapped_column(sa.ForeignKey("organizations.id"))
    line: Mapped[str]
    factor_type_id: Mapped[int] = mapped_column(sa.ForeignKey("usage_types.id"))

    @classmethod
    def is_of(cls, organization_id: Any) -> sa.ColumnElement[bool]:
        """Return the criterion of the lines that apply to an organization: the shared ones, and its own."""
        is_own: sa.ColumnElement[bool] = cls.organization_id == organization_id
        return cls.organization_id.is_(None) | is_own

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Users see the shared lines and those of their organization, admins all."""
        return () if viewer.role == "admin" else (cls.is_of(viewer.organization_id),)


def is_valid_at(moment: sa.ColumnElement[dt.datetime]) -> sa.ColumnElement[bool]:
    """Return the condition that a factor is valid at `moment`."""
    return (EmissionFactor.valid_from <= moment) & (
        EmissionFactor.valid_until.is_(None) | (moment < EmissionFactor.valid_until)
    )


class UsageType(Global, OptimisticallyLocked, Model):
    """Something that is used, in one unit, such as electricity in kwh. The same in another unit is another type."""

    __tablename__ = "usage_types"
    __table_args__ = (
        sa.UniqueConstraint(
            "name", "unit", info={"message": "A usage type with this name and unit already exists.", "field": "name"}
        ),
        sa.CheckConstraint("scope IN (1, 2, 3)", name="scope"),
    )
    AUDIT = AuditConfig(("name", "unit", "scope", "category", "description", "archived"))

    name: Mapped[str]
    unit: Mapped[str]
    scope: Mapped[int | None] = mapped_column(sa.SmallInteger)
    category: Mapped[str | None]
    description: Mapped[str | None]
    archived: Mapped[bool] = mapped_column(server_default=sa.false())
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())

    if TYPE_CHECKING:  # Set below, because they need both tables.
        factor: Decimal | None
        factor_id: int | None

    @property
    def etag(self) -> str:
        """The version and the current factor, which changes as time passes."""
        return f"{self.version}-{self.factor_id or 0}"


def _of_current_factor(column: Any) -> sa.ScalarSelect[Any]:
    """Return a column of the shared factor for all regions that is valid now. There is at most one."""
    return (
        sa.select(column)
        .where(
            EmissionFactor.usage_type_id == UsageType.id,
            EmissionFactor.organization_id.is_(None),
            EmissionFactor.region.is_(None),
            EmissionFactor.method == DEFAULT_METHOD,
            is_valid_at(sa.func.now()),
        )
        .correlate_except(EmissionFactor)
        .scalar_subquery()
    )


for name, column in (("factor", EmissionFactor.factor), ("factor_id", EmissionFactor.id)):
    setattr(UsageType, name, column_property(_of_current_factor(column)))
