"""Usages: the ledger of what was used, when, and the kg CO2e that it caused."""

import datetime as dt
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..catalogue.models import FACTOR
from ..db import Model, Owned, Versioned

QUALITIES = ("measured", "estimated")


class Usage(Owned, Versioned, Model):
    """So much of a usage type, used by somebody at an instant, with the factor that was in force then.

    The factor is frozen into the row, and PostgreSQL generates `co2e_kg` from it: the exact product, never rounded.
    """

    __tablename__ = "usages"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),
        sa.ForeignKeyConstraint(
            ["usage_type_id", "emission_factor_id"], ["emission_factors.usage_type_id", "emission_factors.id"]
        ),
        sa.ForeignKeyConstraint(["organization_id", "import_id"], ["imports.organization_id", "imports.id"]),
        sa.UniqueConstraint(
            "organization_id",
            "external_id",
            name="uq_usages_external_id",
            info={"message": "A usage of your organization has this external_id already.", "field": "external_id"},
        ),
        sa.CheckConstraint("amount >= 0 AND amount < 1e12", name="amount"),
        sa.CheckConstraint("usage_at >= '1900-01-01+00' AND usage_at < '2201-01-01+00'", name="usage_at"),
        sa.CheckConstraint("quality IN ('measured', 'estimated')", name="quality"),
        sa.Index("ix_usages_by_time", "organization_id", "usage_at", "id"),
        sa.Index("ix_usages_by_user", "organization_id", "user_id", "usage_at", "id"),
        sa.Index("ix_usages_by_type", "organization_id", "usage_type_id", "usage_at", "id"),
        sa.Index(
            "ix_usages_by_import", "organization_id", "import_id", postgresql_where=sa.text("import_id IS NOT NULL")
        ),
    )

    user_id: Mapped[int]
    usage_type_id: Mapped[int]
    usage_at: Mapped[dt.datetime]
    amount: Mapped[Decimal] = mapped_column(sa.Numeric(18, 6))
    emission_factor_id: Mapped[int]
    factor: Mapped[Decimal] = mapped_column(FACTOR)
    co2e_kg: Mapped[Decimal] = mapped_column(sa.Numeric, sa.Computed("amount * factor", persisted=True))
    region: Mapped[str | None]
    quality: Mapped[str] = mapped_column(server_default="measured")
    note: Mapped[str | None]
    external_id: Mapped[str | None]
    import_id: Mapped[int | None]
    recorded_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    recorded_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
