"""Restatements: recalculations of usages whose emission factors have changed."""

import datetime as dt
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ..db import AuditedBy, Model, TenantScoped


class Restatement(TenantScoped, Model):
    """One recalculation of usages, its reason, and the changes by month and usage type. Rows never change."""

    __tablename__ = "restatements"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),
        sa.ForeignKeyConstraint(["organization_id", "site_id"], ["sites.organization_id", "sites.id"]),
        sa.Index(
            "ix_restatements_by_site", "organization_id", "site_id", postgresql_where=sa.text("site_id IS NOT NULL")
        ),
    )
    AUDIT = AuditedBy.SERVICE
    OWNER_COLUMN = "recorded_by"

    usage_type_ids: Mapped[list[int] | None] = mapped_column(ARRAY(sa.BigInteger))  # None: all.
    factor_set_id: Mapped[int | None] = mapped_column(sa.ForeignKey("factor_sets.id"))
    start: Mapped[dt.datetime | None]
    end: Mapped[dt.datetime | None]
    region: Mapped[str | None]
    site_id: Mapped[int | None]
    reason: Mapped[str]
    usage_count: Mapped[int]
    before_kg: Mapped[Decimal] = mapped_column(sa.Numeric)
    after_kg: Mapped[Decimal] = mapped_column(sa.Numeric)
    market_before_kg: Mapped[Decimal] = mapped_column(sa.Numeric)
    market_after_kg: Mapped[Decimal] = mapped_column(sa.Numeric)
    significance_threshold: Mapped[Decimal] = mapped_column(sa.Numeric(5, 2))
    months: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    by_usage_type: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    recorded_at: Mapped[dt.datetime]
    recorded_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))

    @property
    def difference_kg(self) -> Decimal:
        return self.after_kg - self.before_kg

    @property
    def market_difference_kg(self) -> Decimal:
        return self.market_after_kg - self.market_before_kg

    @property
    def difference_percent(self) -> Decimal | None:
        """The difference as a percentage of `before_kg`, to four digits; None if that is zero."""
        return (100 * self.difference_kg / self.before_kg).quantize(Decimal("0.0001")) if self.before_kg else None

    @property
    def significant(self) -> bool:
        """Whether a difference, by either method, reaches the threshold that the organization had at that time."""
        differences = ((self.difference_kg, self.before_kg), (self.market_difference_kg, self.market_before_kg))
        return any(
            abs(100 * difference / before) >= self.significance_threshold if before else difference != 0
            for difference, before in differences
        )
