"""Restate several usage types, everything, or the usages of a factor set, by type and with market-based numbers.

Earlier restatements were of one usage type, when a usage had a single number for both methods.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "restatements_of_sets"
down_revision = "valuations"
branch_labels = None
depends_on = None

FILL = """
    UPDATE restatements r SET
        usage_type_ids = ARRAY[r.usage_type_id], market_before_kg = r.before_kg, market_after_kg = r.after_kg,
        by_usage_type = jsonb_build_array(jsonb_build_object(
            'id', t.id, 'name', t.name, 'unit', t.unit, 'usage_count', r.usage_count,
            'before_kg', r.before_kg, 'after_kg', r.after_kg, 'difference_kg', r.after_kg - r.before_kg,
            'market_before_kg', r.before_kg, 'market_after_kg', r.after_kg,
            'market_difference_kg', r.after_kg - r.before_kg)),
        months = (SELECT coalesce(jsonb_agg(month || jsonb_build_object(
                             'market_before_kg', month -> 'before_kg', 'market_after_kg', month -> 'after_kg',
                             'market_difference_kg', month -> 'difference_kg') ORDER BY place), '[]')
                  FROM jsonb_array_elements(r.months) WITH ORDINALITY AS each (month, place))
    FROM usage_types t WHERE t.id = r.usage_type_id
"""
# A restatement of no single type gets the first one.
UNDO = """
    UPDATE restatements SET
        usage_type_id = coalesce(usage_type_ids[1], (SELECT min(id) FROM usage_types)),
        months = (SELECT coalesce(jsonb_agg(
                      month - ARRAY['market_before_kg', 'market_after_kg', 'market_difference_kg']
                      ORDER BY place), '[]')
                  FROM jsonb_array_elements(months) WITH ORDINALITY AS each (month, place))
"""


def upgrade() -> None:
    _force("NO FORCE")
    op.add_column("restatements", sa.Column("usage_type_ids", postgresql.ARRAY(sa.BigInteger())))
    op.add_column("restatements", sa.Column("factor_set_id", sa.BigInteger(), sa.ForeignKey("factor_sets.id")))
    for name in ("market_before_kg", "market_after_kg"):
        op.add_column("restatements", sa.Column(name, sa.Numeric()))
    op.add_column("restatements", sa.Column("by_usage_type", postgresql.JSONB()))
    op.execute(FILL)
    for name in ("market_before_kg", "market_after_kg", "by_usage_type"):
        op.alter_column("restatements", name, nullable=False)
    op.drop_column("restatements", "usage_type_id")
    _force("FORCE")


def downgrade() -> None:
    _force("NO FORCE")
    op.add_column("restatements", sa.Column("usage_type_id", sa.BigInteger()))
    op.execute(UNDO)
    op.alter_column("restatements", "usage_type_id", nullable=False)
    op.create_foreign_key("fk_restatements_usage_type_id", "restatements", "usage_types", ["usage_type_id"], ["id"])
    for name in ("by_usage_type", "market_after_kg", "market_before_kg", "factor_set_id", "usage_type_ids"):
        op.drop_column("restatements", name)
    _force("FORCE")


def _force(how: str) -> None:
    """Let the owner of the tables see the rows of all organizations, or not."""
    for table in ("factor_sets", "restatements", "usage_types"):
        op.execute(f"ALTER TABLE {table} {how} ROW LEVEL SECURITY")
