"""Usage types, and the emission factors that turn an amount into kg CO2e."""

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, column_property, mapped_column

from ..audit import AuditConfig
from ..db import Global, Model, OptimisticallyLocked, Viewer

# Electricity is told by the grid's average where it is used, or by what was bought (GHG Protocol, Scope 2 Guidance).
METHODS = ("location", "market")
# Twelve digits before the decimal point and twelve after it.
FACTOR = sa.Numeric(24, 12)


class EmissionFactor(Global, Model):
    """The kg CO2e that one unit of a usage type causes, in a region or anywhere, within [valid_from, valid_until).

    It is everybody's, or one organization's own: its supplier's.
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
                "message": "Another factor of this usage type, region and method is valid within this time. Validity "
                "may not overlap: choose a valid_from and valid_until beside it.",
                "field": "valid_from",
            },
        ),
        sa.CheckConstraint("factor >= 0 AND factor < 1e12", name="factor"),
        sa.CheckConstraint("valid_until > valid_from", name="validity"),
        sa.CheckConstraint("method IN ('location', 'market')", name="method"),
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
    method: Mapped[str] = mapped_column(server_default="location")
    factor: Mapped[Decimal] = mapped_column(FACTOR)
    valid_from: Mapped[dt.datetime]
    valid_until: Mapped[dt.datetime | None]
    source: Mapped[str]
    note: Mapped[str | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Everybody sees the shared ones and their organization's own, admins all."""
        shared_or_own = cls.organization_id.is_(None) | (cls.organization_id == viewer.organization_id)
        return () if viewer.role == "admin" else (shared_or_own,)


def is_valid_at(moment: sa.ColumnElement[dt.datetime]) -> sa.ColumnElement[bool]:
    """Whether a factor is valid at `moment`."""
    return (EmissionFactor.valid_from <= moment) & (
        EmissionFactor.valid_until.is_(None) | (moment < EmissionFactor.valid_until)
    )


class UsageType(Global, OptimisticallyLocked, Model):
    """What is used, in which unit: electricity in kwh. Two units of one thing are two usage types."""

    __tablename__ = "usage_types"
    __table_args__ = (
        sa.UniqueConstraint(
            "name", "unit", info={"message": "There is a usage type of this name and unit already.", "field": "name"}
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

    if TYPE_CHECKING:  # Added below, once both tables are known.
        factor: Decimal | None
        factor_id: int | None

    @property
    def etag(self) -> str:
        """The version, and the factor in force: it changes with time alone."""
        return f"{self.version}-{self.factor_id or 0}"


def _now(column: Any) -> sa.ScalarSelect[Any]:
    """A column of the shared, general factor in force now. Validity does not overlap, so there is one at most."""
    return (
        sa.select(column)
        .where(
            EmissionFactor.usage_type_id == UsageType.id,
            EmissionFactor.organization_id.is_(None),
            EmissionFactor.region.is_(None),
            EmissionFactor.method == "location",
            is_valid_at(sa.func.now()),
        )
        .correlate_except(EmissionFactor)
        .scalar_subquery()
    )


for name, column in (("factor", EmissionFactor.factor), ("factor_id", EmissionFactor.id)):
    setattr(UsageType, name, column_property(_now(column)))
