"""Rename tables, columns and states to the terms of the API."""

import sqlalchemy as sa
from alembic import op

revision = "standard_names"
down_revision = "api_keys"
branch_labels = None
depends_on = None

TABLES = {
    "import_faults": "import_row_errors",
    "kept_answers": "idempotency_records",
    "periods": "closed_periods",
    "throttle_counts": "rate_limit_counters",
    "usage_days": "daily_totals",
}
COLUMNS = (
    ("daily_totals", "hours_are_doubtful", "hours_stale"),
    ("imports", "fault_count", "error_count"),
    ("imports", "faults", "errors"),
    ("imports", "same_count", "unchanged_count"),
    ("usage_versions", "adjusts_period_id", "adjusts_closed_period_id"),
    ("usage_versions", "believed_until", "superseded_at"),
    ("usage_versions", "end_reason", "superseded_reason"),
    ("usage_versions", "ended_by", "superseded_by"),
    ("usages", "adjusts_period_id", "adjusts_closed_period_id"),
)
CONSTRAINTS = (("usage_versions", "ck_usage_versions_belief", "ck_usage_versions_superseded_at"),)
INDEXES = (("ix_daily_totals_doubtful", "ix_daily_totals_stale"),)
ACTIONS = {"signed_in": "logged_in", "sign_in_refused": "login_failed", "signed_out": "logged_out"}
OTHER_ACTIONS = (
    "created", "changed", "deleted", "recorded", "corrected", "imported", "reverted", "restated", "closed", "reopened",
    "session_ended", "password_changed", "invited", "reset", "accepted",
)  # fmt: skip
GAP_KEYS = {"gap_from": "gap_start", "gap_until": "gap_end"}
SUBJECTS = {"period": "closed period"}


def upgrade() -> None:
    for table, name in TABLES.items():
        op.rename_table(table, name)
        rename_dependents(table, name)
    for table, column, name in COLUMNS:
        op.alter_column(table, column, new_column_name=name)
        rename_constraints_of_column(column, name)
    for table, constraint, name in CONSTRAINTS:
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {constraint} TO {name}")
    for index, name in INDEXES:
        op.execute(f"ALTER INDEX {index} RENAME TO {name}")
    change_status("booked", "completed")
    change_gap_keys(GAP_KEYS)
    change_audit_entries(ACTIONS, SUBJECTS)


def downgrade() -> None:
    change_audit_entries({new: old for old, new in ACTIONS.items()}, {new: old for old, new in SUBJECTS.items()})
    change_gap_keys({new: old for old, new in GAP_KEYS.items()})
    change_status("completed", "booked")
    for index, name in INDEXES:
        op.execute(f"ALTER INDEX {name} RENAME TO {index}")
    for table, constraint, name in CONSTRAINTS:
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {constraint}")
    for table, column, name in reversed(COLUMNS):
        op.alter_column(table, name, new_column_name=column)
        rename_constraints_of_column(name, column)
    for table, name in TABLES.items():
        op.rename_table(name, table)
        rename_dependents(name, table)


def rename_dependents(old: str, new: str) -> None:
    """Rename the constraints, indexes and sequences whose names contain the name of their table."""
    connection = op.get_bind()
    of_table = {"table": new, "old": f"(^|_){old}_"}
    constraints = "SELECT conname FROM pg_constraint WHERE conrelid = CAST(:table AS regclass) AND conname ~ :old"
    for name in connection.scalars(sa.text(constraints), of_table).all():
        op.execute(f'ALTER TABLE {new} RENAME CONSTRAINT "{name}" TO "{name.replace(old, new)}"')
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = :table AND indexname ~ :old"
    for name in connection.scalars(sa.text(indexes), of_table).all():
        op.execute(f'ALTER INDEX "{name}" RENAME TO "{name.replace(old, new)}"')
    sequences = """
        SELECT relname FROM pg_class JOIN pg_depend ON objid = pg_class.oid
        WHERE relkind = 'S' AND refobjid = CAST(:table AS regclass) AND relname ~ :old
    """
    for name in connection.scalars(sa.text(sequences), of_table).all():
        op.execute(f'ALTER SEQUENCE "{name}" RENAME TO "{name.replace(old, new)}"')


def rename_constraints_of_column(old: str, new: str) -> None:
    """Rename the constraints that contain the name of a column."""
    constraints = """
        SELECT CAST(conrelid AS regclass), conname FROM pg_constraint
        WHERE conrelid = ANY ('{usages, usage_versions, imports, daily_totals}'::regclass[])
        AND conname ~ :old
    """
    for table, name in op.get_bind().execute(sa.text(constraints), {"old": f"_{old}(_|$)"}).all():
        op.execute(f'ALTER TABLE {table} RENAME CONSTRAINT "{name}" TO "{name.replace(old, new)}"')


def change_status(old: str, new: str) -> None:
    op.drop_constraint(op.f("ck_imports_status"), "imports", type_="check")
    op.execute(f"UPDATE imports SET status = '{new}' WHERE status = '{old}'")
    op.alter_column("imports", "status", server_default=new)
    statuses = f"status IN ('queued', 'running', '{new}', 'failed')"
    op.create_check_constraint(op.f("ck_imports_status"), "imports", statuses)


def change_audit_entries(actions: dict[str, str], subjects: dict[str, str]) -> None:
    """Rename actions and subjects in the audit log, which even its owner cannot update otherwise."""
    op.execute("GRANT UPDATE ON audit_entries TO CURRENT_USER")
    op.drop_constraint(op.f("ck_audit_entries_action"), "audit_entries", type_="check")
    for column, labels in (("action", actions), ("subject", subjects)):
        for old, new in labels.items():
            op.execute(f"UPDATE audit_entries SET {column} = '{new}' WHERE {column} = '{old}'")
    listed = ", ".join(f"'{action}'" for action in (*OTHER_ACTIONS, *actions.values()))
    op.create_check_constraint(op.f("ck_audit_entries_action"), "audit_entries", f"action IN ({listed})")
    op.execute("REVOKE UPDATE ON audit_entries FROM CURRENT_USER")


def change_gap_keys(keys: dict[str, str]) -> None:
    for old, new in keys.items():
        op.execute(
            f"UPDATE imports SET warnings = replace(warnings::text, '\"{old}\":', '\"{new}\":')::jsonb "
            f"WHERE warnings::text LIKE '%\"{old}\"%'"
        )
