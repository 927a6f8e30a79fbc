"""Imports: each a file of usages that was booked as one act."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Model, Owned


class Import(Owned, Model):
    """A file of usages that was booked whole."""

    __tablename__ = "imports"
    MEMBERS_SEE_BY = "recorded_by"
    __table_args__ = (sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),)

    usage_count: Mapped[int]
    sha256: Mapped[str]
    warning_count: Mapped[int] = mapped_column(server_default="0")
    # The first of them, by line.
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    recorded_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    recorded_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
