"""Usages, their earlier versions, and their daily totals."""

import datetime as dt
from decimal import Decimal
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from ..catalogue.models import FACTOR
from ..db import (
    AuditedBy,
    Model,
    NotAudited,
    OptimisticallyLocked,
    TenantScoped,
    Viewer,
    choice_constraint,
    is_any_of,
)

QUALITIES = MEASURED, ESTIMATED = "measured", "estimated"
DEFAULT_QUALITY = MEASURED


def _sum(factor: str, split: str) -> str:
    return f"amount_in_type_unit * {factor} + coalesce({split}, 0)"


class UsageColumns(TenantScoped):
    """The columns of a version of a usage: an amount of a usage type, used by a user at an instant.

    With `usage_until` it is an interval, such as a bill: the amount was used evenly within [usage_at, usage_until).
    `amount` and `unit` are those of the client; `amount_in_type_unit` is the same amount in the unit of the usage type.
    The valuation that was current at the time is frozen into the row, with its location-based and market-based factor.
    PostgreSQL generates `co2e_kg` and `market_co2e_kg` as the exact products. An interval over a change of factor may
    be split: then the factors are those of its first part, and `split_co2e_kg` and `split_market_co2e_kg` are what the
    other factors of its later parts add to the products. Of all other usages they are null. A usage is `provisional`
    if a factor had ended before its time.
    The version is current from `recorded_at` on; `reason` says why the usage was corrected to it.
    """

    user_id: Mapped[int]
    usage_type_id: Mapped[int]
    usage_at: Mapped[dt.datetime]
    usage_until: Mapped[dt.datetime | None]
    amount: Mapped[Decimal] = mapped_column(sa.Numeric(18, 6))
    unit: Mapped[str]
    amount_in_type_unit: Mapped[Decimal] = mapped_column(sa.Numeric(30, 12))
    valuation_id: Mapped[int]
    emission_factor_id: Mapped[int]
    factor: Mapped[Decimal] = mapped_column(FACTOR)
    market_factor: Mapped[Decimal] = mapped_column(FACTOR)
    split_co2e_kg: Mapped[Decimal | None] = mapped_column(sa.Numeric)
    split_market_co2e_kg: Mapped[Decimal | None] = mapped_column(sa.Numeric)
    provisional: Mapped[bool] = mapped_column(server_default=sa.false())
    region: Mapped[str | None]
    site_id: Mapped[int | None]
    meter_id: Mapped[int | None]
    quality: Mapped[str] = mapped_column(server_default=DEFAULT_QUALITY)
    note: Mapped[str | None]
    external_id: Mapped[str | None]
    import_id: Mapped[int | None]
    adjusts_closed_period_id: Mapped[int | None]
    restatement_id: Mapped[int | None]
    recorded_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    reason: Mapped[str | None]

    @declared_attr
    def co2e_kg(cls) -> Mapped[Decimal]:
        return mapped_column(sa.Numeric, sa.Computed(_sum("factor", "split_co2e_kg"), persisted=True))

    @declared_attr
    def market_co2e_kg(cls) -> Mapped[Decimal]:
        return mapped_column(sa.Numeric, sa.Computed(_sum("market_factor", "split_market_co2e_kg"), persisted=True))

    @declared_attr
    def recorded_by(cls) -> Mapped[int]:
        return mapped_column(sa.ForeignKey("users.id"))

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Members see their own usages, and all usages of their sites."""
        if viewer.role != "member" or not viewer.site_ids:
            return super().visible_to(viewer)
        own: Any = cls.user_id == viewer.id
        return cls.organization_id == viewer.organization_id, own | is_any_of(cls.site_id, viewer.site_ids)

    @staticmethod
    def references(**names: str) -> tuple[sa.ForeignKeyConstraint, ...]:
        """Return the foreign keys of several columns. `names` replaces names that would be too long."""
        return (
            sa.ForeignKeyConstraint(["organization_id", "site_id"], ["sites.organization_id", "sites.id"]),
            sa.ForeignKeyConstraint(
                ["organization_id", "usage_type_id", "meter_id"],
                ["meters.organization_id", "meters.usage_type_id", "meters.id"],
                name=names["meter_id"],
            ),
            sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),
            sa.ForeignKeyConstraint(
                ["organization_id", "usage_type_id", "valuation_id"],
                ["valuations.organization_id", "valuations.usage_type_id", "valuations.id"],
                name=names.get("valuation_id"),
                info={
                    "message": "The emission factor was corrected at the same time. Repeat the request.",
                    "is_transient": True,
                },
            ),
            sa.ForeignKeyConstraint(["organization_id", "import_id"], ["imports.organization_id", "imports.id"]),
            sa.ForeignKeyConstraint(
                ["organization_id", "adjusts_closed_period_id"],
                ["closed_periods.organization_id", "closed_periods.id"],
                name=names.get("adjusts_closed_period_id"),
            ),
            sa.ForeignKeyConstraint(
                ["organization_id", "restatement_id"], ["restatements.organization_id", "restatements.id"]
            ),
        )


class Usage(UsageColumns, OptimisticallyLocked, Model):
    """The current version of a usage."""

    __tablename__ = "usages"
    AUDIT = AuditedBy.STATEMENT
    __table_args__ = (
        *UsageColumns.references(valuation_id="fk_usages_valuation_id", meter_id="fk_usages_meter_id"),
        sa.UniqueConstraint(
            "organization_id",
            "external_id",
            name="uq_usages_external_id",
            info={"message": "A usage of your organization already has this external_id.", "field": "external_id"},
        ),
        sa.Index(
            "uq_usages_meter",
            "organization_id",
            "meter_id",
            "usage_at",
            unique=True,
            postgresql_where=sa.text("meter_id IS NOT NULL"),
            info={
                "message": "This meter already has a usage at this time. Correct that usage, or choose another time.",
                "field": "usage_at",
            },
        ),
        # Only an adjustment may be negative: it corrects a closed period that has too much.
        sa.CheckConstraint(
            "(amount >= 0 OR adjusts_closed_period_id IS NOT NULL) AND abs(amount) < 1e12", name="amount"
        ),
        sa.CheckConstraint("abs(amount_in_type_unit) < 1e18", name="amount_in_type_unit"),
        sa.CheckConstraint("usage_at >= '1900-01-01+00' AND usage_at < '2201-01-01+00'", name="usage_at"),
        sa.CheckConstraint("usage_until > usage_at AND usage_until < '2201-01-01+00'", name="usage_until"),
        # Bounds the number of daily totals that one write updates.
        sa.CheckConstraint("usage_until - usage_at <= interval '3653 days'", name="length"),
        choice_constraint("quality", QUALITIES),
        sa.Index("ix_usages_by_recording", "organization_id", "recorded_at", "id"),
        sa.Index("ix_usages_by_time", "organization_id", "usage_at", "id"),
        sa.Index("ix_usages_by_user", "organization_id", "user_id", "usage_at", "id"),
        sa.Index(
            "ix_usages_by_site",
            "organization_id",
            "site_id",
            "usage_at",
            "id",
            postgresql_where=sa.text("site_id IS NOT NULL"),
        ),
        sa.Index("ix_usages_provisional", "organization_id", "usage_at", "id", postgresql_where=sa.text("provisional")),
        sa.Index("ix_usages_by_type", "organization_id", "usage_type_id", "usage_at", "id"),
        sa.Index(
            "ix_usages_by_end", "organization_id", "usage_until", postgresql_where=sa.text("usage_until IS NOT NULL")
        ),
        sa.Index(
            "ix_usages_by_import", "organization_id", "import_id", postgresql_where=sa.text("import_id IS NOT NULL")
        ),
    )


class UsageVersion(UsageColumns, Model):
    """A superseded version of a usage, which was current within [recorded_at, superseded_at).

    Rows are never deleted. `id` is the usage's. The last version of a deleted usage says who deleted it and why.
    """

    __tablename__ = "usage_versions"
    AUDIT = NotAudited("the change of the usage is audited")
    __table_args__ = (
        *UsageColumns.references(
            valuation_id="fk_usage_versions_valuation_id",
            meter_id="fk_usage_versions_meter_id",
            adjusts_closed_period_id="fk_usage_versions_adjusts_closed_period_id",
        ),
        sa.CheckConstraint("superseded_at > recorded_at", name="superseded_at"),
        sa.Index("ix_usage_versions_by_time", "organization_id", "usage_at", "id"),
        sa.Index("ix_usage_versions_by_recording", "organization_id", "recorded_at", "id"),
        # The feed of changes reads deletions by the first, and all that a member has lost by the second.
        sa.Index(
            "ix_usage_versions_by_deletion",
            "organization_id",
            "superseded_at",
            "id",
            postgresql_where=sa.text("deleted"),
        ),
        sa.Index("ix_usage_versions_by_user", "organization_id", "user_id", "superseded_at", "id"),
        sa.Index(
            "ix_usage_versions_by_site",
            "organization_id",
            "site_id",
            "superseded_at",
            "id",
            postgresql_where=sa.text("site_id IS NOT NULL"),
        ),
        sa.Index(
            "ix_usage_versions_by_meter",
            "organization_id",
            "meter_id",
            postgresql_where=sa.text("meter_id IS NOT NULL"),
        ),
    )

    @declared_attr
    def id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, primary_key=True, autoincrement=False, sort_order=-2)

    version: Mapped[int] = mapped_column(sa.Integer, primary_key=True, sort_order=-1)
    superseded_at: Mapped[dt.datetime]
    superseded_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    superseded_reason: Mapped[str | None]
    deleted: Mapped[bool]


class DailyTotal(Model):
    """The sums of the usages of a type on a local day of their organization, by valuation and restatement.

    A usage at an instant is on the day of the instant. An interval has a prorated part on each day that it touches, by
    the valuation of the day if it is split.
    `usage_count` counts the usages that begin on the day, `carried_count` the intervals that began on an earlier day.
    `amount` is in the unit of the type, `estimated_amount` the part of it that was estimated. The kg CO2e are its exact
    products with the factors of the valuation. The bits of `reading_hours` are the hours of the local clock with a
    usage at an instant, those of `period_hours` the hours that an interval touches; neither includes adjustments. A day
    without usages may have a row of zeros.
    """

    __tablename__ = "daily_totals"
    AUDIT = NotAudited("it is derived from usages")
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["organization_id", "timezone"],
            ["organizations.id", "organizations.timezone"],
            info={
                "message": "The organization's time zone changed at the same time. Retry the request.",
                "is_transient": True,
            },
        ),
        sa.Index("ix_daily_totals_stale", "organization_id", postgresql_where=sa.text("hours_stale")),
    )
    KEY: ClassVar = ("organization_id", "usage_type_id", "day", "valuation_id", "restatement_id")

    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    usage_type_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    valuation_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    # 0: without a restatement.
    restatement_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    timezone: Mapped[str]
    usage_count: Mapped[int]
    carried_count: Mapped[int]
    amount: Mapped[Decimal] = mapped_column(sa.Numeric)
    estimated_amount: Mapped[Decimal] = mapped_column(sa.Numeric)
    reading_hours: Mapped[int] = mapped_column(sa.Integer)
    period_hours: Mapped[int] = mapped_column(sa.Integer)
    # Only within a transaction: a usage has left the day, so its hours must be read again.
    hours_stale: Mapped[bool]


def split_id(usage: Any) -> sa.ColumnElement[int | None]:
    """Return the valuation of a usage if it is split, or null. usage: the columns of a table."""
    return sa.case((usage.split_co2e_kg.is_not(None), usage.valuation_id))


def ledger_columns(table: Any) -> list[Any]:
    """Return the columns of a model that both models have, in the order of Usage."""
    return [table.__table__.c[column.name] for column in Usage.__table__.columns]
