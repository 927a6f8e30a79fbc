"""Restatements: each a booking anew of usages whose emission factors have changed."""

import datetime as dt
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Model, TenantScoped


class Restatement(TenantScoped, Model):
    """What was booked anew as one act, why, and what it changed by month. Nothing changes it afterwards."""

    __tablename__ = "restatements"
    __table_args__ = (sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),)
    OWNER_COLUMN = "recorded_by"

    usage_type_id: Mapped[int] = mapped_column(sa.ForeignKey("usage_types.id"))
    start: Mapped[dt.datetime | None]
    end: Mapped[dt.datetime | None]
    region: Mapped[str | None]
    reason: Mapped[str]
    usage_count: Mapped[int]
    before_kg: Mapped[Decimal] = mapped_column(sa.Numeric)
    after_kg: Mapped[Decimal] = mapped_column(sa.Numeric)
    significance_threshold: Mapped[Decimal] = mapped_column(sa.Numeric(5, 2))
    months: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    recorded_at: Mapped[dt.datetime]
    recorded_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))

    @property
    def difference_kg(self) -> Decimal:
        return self.after_kg - self.before_kg

    @property
    def difference_percent(self) -> Decimal | None:
        """The difference in per cent of what was believed before, to four digits; None of nothing."""
        return (100 * self.difference_kg / self.before_kg).quantize(Decimal("0.0001")) if self.before_kg else None

    @property
    def significant(self) -> bool:
        """Whether the difference reaches the organization's threshold, as it was then."""
        if self.difference_percent is None:
            return self.difference_kg != 0
        return abs(self.difference_percent) >= self.significance_threshold
