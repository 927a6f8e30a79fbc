"""Create API keys, and tokens with which users set a password."""

import sqlalchemy as sa
from alembic import op

revision = "api_keys"
down_revision = "throttle_counts"
branch_labels = None
depends_on = None

ACTIONS = (
    "'created', 'changed', 'deleted', 'recorded', 'corrected', 'imported', 'reverted', 'restated', 'closed', "
    "'reopened', 'signed_in', 'sign_in_refused', 'signed_out', 'session_ended', 'password_changed'"
)
INVITED = ", 'invited', 'reset', 'accepted'"
# The policy of every table with rows of an organization.
SETTING = "current_setting('carbonapi.organization_id', true)"
TENANT = f"(organization_id = (SELECT nullif(nullif({SETTING}, ''), '*')::bigint) OR (SELECT {SETTING} = '*'))"
# An argon2id hash of zeros, which matches no password, for users without a password.
NO_PASSWORD = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("beginning", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("scope IN ('read', 'write')", name=op.f("ck_api_keys_scope")),
        sa.ForeignKeyConstraint(
            ["organization_id", "user_id"],
            ["users.organization_id", "users.id"],
            name=op.f("fk_api_keys_organization_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_api_keys")),
    )
    op.create_index("ix_api_keys_by_user", "api_keys", ["organization_id", "user_id"])
    op.create_table(
        "password_tokens",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "user_id"],
            ["users.organization_id", "users.id"],
            name=op.f("fk_password_tokens_organization_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "user_id", name=op.f("pk_password_tokens")),
    )
    for table in ("api_keys", "password_tokens"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING {TENANT}")
    op.add_column("audit_entries", sa.Column("api_key_id", sa.BigInteger(), nullable=True))
    op.drop_constraint(op.f("ck_users_erased"), "users")
    op.create_check_constraint(
        op.f("ck_users_erased"),
        "users",
        "num_nulls(email, name) = CASE WHEN erased_at IS NULL THEN 0 ELSE 2 END "
        "AND (erased_at IS NULL OR password_hash IS NULL)",
    )
    op.drop_constraint(op.f("ck_audit_entries_action"), "audit_entries")
    op.create_check_constraint(op.f("ck_audit_entries_action"), "audit_entries", f"action IN ({ACTIONS}{INVITED})")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_audit_entries_action"), "audit_entries")
    # Existing entries keep their actions. The constraint applies to new entries.
    op.execute(
        f"ALTER TABLE audit_entries ADD CONSTRAINT ck_audit_entries_action CHECK (action IN ({ACTIONS})) NOT VALID"
    )
    op.drop_constraint(op.f("ck_users_erased"), "users")
    op.execute(f"UPDATE users SET password_hash = '{NO_PASSWORD}' WHERE password_hash IS NULL AND erased_at IS NULL")
    op.create_check_constraint(
        op.f("ck_users_erased"),
        "users",
        "num_nulls(email, name, password_hash) = CASE WHEN erased_at IS NULL THEN 0 ELSE 3 END",
    )
    op.drop_column("audit_entries", "api_key_id")
    op.drop_table("password_tokens")
    op.drop_index("ix_api_keys_by_user", table_name="api_keys")
    op.drop_table("api_keys")
