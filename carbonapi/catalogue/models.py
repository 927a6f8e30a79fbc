"""Usage types, the emission factors that turn an amount into kg CO2e, and the editions that factors come from."""

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, column_property, declared_attr, mapped_column

from ..db import AuditConfig, Global, Model, OptimisticallyLocked, Viewer, choice_constraint

# Electricity counts by the average of the local grid, or by the supplier's contract (GHG Protocol, Scope 2 Guidance).
METHODS = LOCATION, MARKET = "location", "market"
DEFAULT_METHOD = LOCATION
FACTOR = sa.Numeric(24, 12)
# Global warming potentials of an assessment report of the IPCC.
GWP_SETS = ("AR4", "AR5", "AR6")
# Categories by scope: GHG Protocol, Corporate Standard (scopes 1 and 2) and Corporate Value Chain Standard (scope 3).
CATEGORIES = {
    1: ("stationary_combustion", "mobile_combustion", "process_emissions", "fugitive_emissions"),
    2: ("purchased_electricity", "purchased_heat_steam_cooling"),
    3: (
        "purchased_goods_and_services", "capital_goods", "fuel_and_energy_related", "upstream_transport", "waste",
        "business_travel", "employee_commuting", "upstream_leased_assets", "downstream_transport",
        "processing_of_sold_products", "use_of_sold_products", "end_of_life", "downstream_leased_assets",
        "franchises", "investments",
    ),
}  # fmt: skip
SCOPES = {category: scope for scope, categories in CATEGORIES.items() for category in categories}
# Per unit: kg of the gas itself, except for kg CO2e of all other gases. Biogenic CO2 is not in the factor.
GASES = ("co2_kg", "ch4_kg", "n2o_kg", "other_co2e_kg", "biogenic_co2_kg")


class SharedOrOwned(Global):
    """A row that all organizations share, or that belongs to one."""

    @declared_attr
    def organization_id(cls) -> Mapped[int | None]:
        return mapped_column(sa.ForeignKey("organizations.id"))

    @classmethod
    def is_of(cls, organization_id: Any) -> sa.ColumnElement[bool]:
        """Return the criterion of the rows that an organization can use: the shared ones, and its own."""
        owner: Any = cls.organization_id
        return sa.or_(owner.is_(None), owner == organization_id)

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Users see the shared rows and those of their organization, admins all."""
        return () if viewer.role == "admin" else (cls.is_of(viewer.organization_id),)


class FactorSet(SharedOrOwned, OptimisticallyLocked, Model):
    """One edition of a publisher's table of emission factors."""

    __tablename__ = "factor_sets"
    __table_args__ = (
        sa.Index(
            "uq_factor_sets_edition",
            sa.text("coalesce(organization_id, 0)"),
            "publisher",
            "edition",
            unique=True,
            info={"message": "A factor set of this publisher and edition already exists.", "field": "edition"},
        ),
        choice_constraint("gwp", GWP_SETS),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="hash"),
    )
    AUDIT = AuditConfig(
        ("organization_id", "publisher", "edition", "published_on", "gwp", "licence", "url", "sha256", "note")
    )

    publisher: Mapped[str]
    edition: Mapped[str]
    published_on: Mapped[dt.date | None]
    gwp: Mapped[str | None]
    licence: Mapped[str | None]
    url: Mapped[str | None]
    sha256: Mapped[str | None]
    note: Mapped[str | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())


class EmissionFactor(SharedOrOwned, OptimisticallyLocked, Model):
    """The kg CO2e per unit of a usage type, in one region or in all, within [valid_from, valid_until).

    It is shared by all organizations, or belongs to one, for example the factor of its supplier. It is in force until
    another one supersedes it: then the usages that have it keep it, and no other usage gets it.
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
            where=sa.text("superseded_at IS NULL"),
            info={
                "message": "Another factor of this usage type, region and method is valid within this time. Choose a "
                "valid_from and valid_until that do not overlap it.",
                "field": "valid_from",
            },
        ),
        sa.CheckConstraint("factor >= 0 AND factor < 1e12", name="factor"),
        sa.CheckConstraint("valid_until > valid_from", name="validity"),
        sa.CheckConstraint(" AND ".join(f"{gas} >= 0 AND {gas} < 1e12" for gas in GASES), name="gases"),
        sa.CheckConstraint("num_nulls(superseded_at, superseded_reason) IN (0, 2)", name="superseded"),
        choice_constraint("method", METHODS),
        choice_constraint("gwp", GWP_SETS),
        sa.UniqueConstraint("supersedes_id", name="uq_emission_factors_supersedes_id"),
        sa.Index("ix_emission_factors_by_factor_set", "factor_set_id"),
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
            "factor_set_id",
            "citation",
            "gwp",
            *GASES,
            "superseded_at",
            "superseded_reason",
            "supersedes_id",
        ),
        reason_column="superseded_reason",
    )

    usage_type_id: Mapped[int] = mapped_column(sa.ForeignKey("usage_types.id"))
    region: Mapped[str | None]
    method: Mapped[str] = mapped_column(server_default=DEFAULT_METHOD)
    factor: Mapped[Decimal] = mapped_column(FACTOR)
    valid_from: Mapped[dt.datetime]
    valid_until: Mapped[dt.datetime | None]
    source: Mapped[str]
    note: Mapped[str | None]
    factor_set_id: Mapped[int | None] = mapped_column(sa.ForeignKey("factor_sets.id"))
    citation: Mapped[str | None]  # The place in the published table: sheet, row, cell.
    gwp: Mapped[str | None]  # Where it differs from that of the set.
    co2_kg: Mapped[Decimal | None] = mapped_column(FACTOR)
    ch4_kg: Mapped[Decimal | None] = mapped_column(FACTOR)
    n2o_kg: Mapped[Decimal | None] = mapped_column(FACTOR)
    other_co2e_kg: Mapped[Decimal | None] = mapped_column(FACTOR)
    biogenic_co2_kg: Mapped[Decimal | None] = mapped_column(FACTOR)
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    superseded_at: Mapped[dt.datetime | None]
    superseded_by: Mapped[int | None]
    superseded_reason: Mapped[str | None]
    supersedes_id: Mapped[int | None] = mapped_column(sa.ForeignKey("emission_factors.id"))

    if TYPE_CHECKING:  # Set below.
        shown_superseded_by: int | None


class UpstreamLine(SharedOrOwned, Model):
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
    line: Mapped[str]
    factor_type_id: Mapped[int] = mapped_column(sa.ForeignKey("usage_types.id"))


def is_valid_at(moment: sa.ColumnElement[dt.datetime]) -> sa.ColumnElement[bool]:
    """Return the condition that a factor is valid at `moment`."""
    return (EmissionFactor.valid_from <= moment) & (
        EmissionFactor.valid_until.is_(None) | (moment < EmissionFactor.valid_until)
    )


def _category_condition() -> str:
    """Return the condition that the category belongs to the scope."""
    cases = (f"WHEN {scope} THEN category IN ({', '.join(map(repr, names))})" for scope, names in CATEGORIES.items())
    return f"CASE scope {' '.join(cases)} ELSE category IS NULL END"


class UsageType(SharedOrOwned, OptimisticallyLocked, Model):
    """Something that is used, in one unit, such as electricity in kwh. The same in another unit is another type.

    It is shared by all organizations, or belongs to one.
    """

    __tablename__ = "usage_types"
    __table_args__ = (
        sa.Index(
            "uq_usage_types_name_unit",
            sa.text("coalesce(organization_id, 0)"),
            "name",
            "unit",
            unique=True,
            info={"message": "A usage type with this name and unit already exists.", "field": "name"},
        ),
        sa.CheckConstraint("scope IN (1, 2, 3)", name="scope"),
        sa.CheckConstraint(_category_condition(), name="category"),
        sa.CheckConstraint("NOT outside_of_scopes OR scope IS NULL", name="outside_of_scopes"),
    )
    AUDIT = AuditConfig(
        ("organization_id", "name", "unit", "scope", "category", "outside_of_scopes", "description", "archived")
    )

    name: Mapped[str]
    unit: Mapped[str]
    scope: Mapped[int | None] = mapped_column(sa.SmallInteger)
    category: Mapped[str | None]
    outside_of_scopes: Mapped[bool] = mapped_column(server_default=sa.false())  # Never added to a total.
    description: Mapped[str | None]
    archived: Mapped[bool] = mapped_column(server_default=sa.false())
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())

    if TYPE_CHECKING:  # Set below, because they need both tables.
        factor: Decimal | None
        factor_version: str | None

    @property
    def etag(self) -> str:
        """The version and the current factor, which changes as time passes."""
        return f"{self.version}-{self.factor_version or 0}"


def _of_current_factor(column: Any) -> sa.ScalarSelect[Any]:
    """Return a column of the current factor for all regions with the type's owner. There is at most one."""
    return (
        sa.select(column)
        .where(
            EmissionFactor.usage_type_id == UsageType.id,
            sa.func.coalesce(EmissionFactor.organization_id, 0) == sa.func.coalesce(UsageType.organization_id, 0),
            EmissionFactor.region.is_(None),
            EmissionFactor.method == DEFAULT_METHOD,
            EmissionFactor.superseded_at.is_(None),
            is_valid_at(sa.func.now()),
        )
        .correlate_except(EmissionFactor)
        .scalar_subquery()
    )


FACTOR_VERSION = sa.func.concat(EmissionFactor.id, "-", EmissionFactor.version, type_=sa.Text)
for name, column in (("factor", EmissionFactor.factor), ("factor_version", FACTOR_VERSION)):
    setattr(UsageType, name, column_property(_of_current_factor(column)))
# Shared factors are superseded by admins, whom other organizations do not see.
_SHOWN_USER = sa.case((EmissionFactor.organization_id.is_not(None), EmissionFactor.superseded_by))
setattr(EmissionFactor, "shown_superseded_by", column_property(_SHOWN_USER))  # noqa: B010
