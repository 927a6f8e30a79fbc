"""Add the results of an import, its row errors, and the reversal of imports."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "import_outcomes"
down_revision = "audit_entries"
branch_labels = None
depends_on = None

ACTIONS = (
    "'created', 'changed', 'deleted', 'recorded', 'corrected', 'imported', {reverted}'restated', 'closed', "
    "'reopened', 'signed_in', 'sign_in_refused', 'signed_out', 'session_ended', 'password_changed'"
)
REVERTED = "'reverted', "
COUNTS = (
    "new_count", "changed_count", "same_count", "skipped_count", "rejected_count", "blank_count", "rounded_count",
    "fault_count",
)  # fmt: skip


def upgrade() -> None:
    op.alter_column("imports", "usage_count", server_default="0")
    op.add_column("imports", sa.Column("mode", sa.Text(), server_default="atomic", nullable=False))
    op.add_column("imports", sa.Column("on_conflict", sa.Text(), server_default="reject", nullable=False))
    for count in COUNTS:
        op.add_column("imports", sa.Column(count, sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("imports", sa.Column("co2e_kg", sa.Numeric(), nullable=True))
    op.add_column("imports", sa.Column("amount", sa.Numeric(), nullable=True))
    op.add_column("imports", sa.Column("faults", postgresql.JSONB(), server_default="[]", nullable=False))
    op.add_column("imports", sa.Column("reverted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("imports", sa.Column("reverted_by", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("fk_imports_reverted_by"), "imports", "users", ["reverted_by"], ["id"])
    op.create_check_constraint(op.f("ck_imports_reverted"), "imports", "num_nulls(reverted_at, reverted_by) IN (0, 2)")
    # Imports before this migration had no errors, and all their lines were new.
    op.execute("UPDATE imports SET new_count = usage_count")
    op.create_table(
        "import_faults",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("column", sa.Text(), nullable=True),
        sa.Column("found", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("cells", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "import_id"],
            ["imports.organization_id", "imports.id"],
            name=op.f("fk_import_faults_organization_id_import_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_import_faults")),
    )
    op.create_index("ix_import_faults_by_line", "import_faults", ["organization_id", "import_id", "line", "id"])
    op.drop_constraint(op.f("ck_audit_entries_action"), "audit_entries")
    op.create_check_constraint(
        op.f("ck_audit_entries_action"), "audit_entries", f"action IN ({ACTIONS.format(reverted=REVERTED)})"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_audit_entries_action"), "audit_entries")
    # Existing entries keep their actions. The constraint applies to new entries.
    op.execute(
        f"ALTER TABLE audit_entries ADD CONSTRAINT ck_audit_entries_action "
        f"CHECK (action IN ({ACTIONS.format(reverted='')})) NOT VALID"
    )
    op.drop_index("ix_import_faults_by_line", table_name="import_faults")
    op.drop_table("import_faults")
    op.drop_constraint(op.f("ck_imports_reverted"), "imports")
    op.drop_constraint(op.f("fk_imports_reverted_by"), "imports", type_="foreignkey")
    for column in (
        "reverted_by",
        "reverted_at",
        "faults",
        "amount",
        "co2e_kg",
        *reversed(COUNTS),
        "on_conflict",
        "mode",
    ):
        op.drop_column("imports", column)
    op.alter_column("imports", "usage_count", server_default=None)
