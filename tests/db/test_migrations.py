"""The schema of the database: its constraints, its keys for a cluster, and its migrations."""

import random
import re
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.auth import Actor, acting_as, display_name
from carbonapi.db import Base, constraint_message, db, is_transient, revisions, roles, row_security
from carbonapi.usages.ledger import daily_totals
from carbonapi.usages.models import DailyTotal, Usage
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client
from tests.support.databases import REFERENCE_TABLES, ROLE, as_owner, fetch_all
from tests.support.random_ledger import record_at_random

# Tables without an organization, whose rows expire soon.
COUNTS = {"rate_limit_counters"}
PROJECT = Path(__file__).parents[2]


def tables():
    query = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    found = fetch_all(query)
    return {name for (name,) in found} - {"alembic_version"}


def test_models_and_migrations_have_the_same_tables(app):
    assert tables() == set(Base.metadata.tables)


def test_keys_of_tenant_tables_start_with_the_organization(app):
    keys = fetch_all(
        """
        SELECT t.relname, i.relname, array_agg(a.attname ORDER BY k.place)
        FROM pg_index x
        JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
        CROSS JOIN unnest(x.indkey::int[]) WITH ORDINALITY k (number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number
        WHERE t.relnamespace = 'public'::regnamespace GROUP BY 1, 2
        """
    )
    tenants = tables() - REFERENCE_TABLES - COUNTS
    assert tenants == {
        "api_keys",
        "audit_entries",
        "password_tokens",
        "sessions",
        "usages",
        "daily_totals",
        "usage_versions",
        "imports",
        "import_row_errors",
        "import_uploads",
        "import_chunks",
        "idempotency_records",
        "closed_periods",
        "restatements",
        "valuations",
        "valuation_lines",
        "valuation_segments",
        "sites",
        "site_shares",
        "meters",
        "user_sites",
    }
    # A factor that is deleted is looked for in the lines of all organizations.
    of_factors = {"ix_valuation_lines_by_factor"}
    checked = [(index, columns) for table, index, columns in keys if table in tenants and index not in of_factors]
    assert len(checked) >= 9
    for index, columns in checked:
        assert columns[0] == "organization_id", index
    # Other tables reference users by organization and ID.
    assert ["organization_id", "id"] in [columns for table, _, columns in keys if table == "users"]


def test_foreign_keys_of_tenant_tables_have_the_organization(app):
    keys = fetch_all(
        """
        SELECT conrelid::regclass::text, confrelid::regclass::text, conname, confdeltype,
               (SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey))
        FROM pg_constraint WHERE contype = 'f'
        """
    )
    assert len(keys) >= 8
    for table, target, name, on_delete, columns in keys:
        assert on_delete in ("a", "r", "c"), f"{name} would set a column to NULL"
        if table not in REFERENCE_TABLES and target not in REFERENCE_TABLES:
            assert "organization_id" in columns, name


def test_schema_has_no_triggers_or_rules(app):
    assert fetch_all("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == []
    assert fetch_all("SELECT rulename FROM pg_rules WHERE schemaname = 'public'") == []


def test_constraint_names_are_short_and_end_in_no_digit(app):
    names = fetch_all(
        """
        SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
        UNION SELECT relname FROM pg_class WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace
        """
    )
    assert len(names) > 25
    for (name,) in names:
        assert len(name) <= 50 and not name[-1].isdigit(), name
        assert re.match(r"(pk|fk|uq|ck|ix|ex)_|alembic_", name), name


def test_ids_are_bigints_generated_by_the_database(app):
    identities = fetch_all(
        """
        SELECT table_name, data_type, identity_generation FROM information_schema.columns
        WHERE column_name = 'id' AND table_schema = 'public'
        """
    )
    made_here = {name: (kind, made) for name, kind, made in identities}
    assert made_here.pop("usage_versions") == ("bigint", None)  # The ID of the usage.
    without = {
        "usage_versions", "valuation_lines", "valuation_segments", "daily_totals", "idempotency_records",
        "password_tokens", "site_shares", "user_sites", *COUNTS,
    }  # fmt: skip
    assert made_here == dict.fromkeys(tables() - without, ("bigint", "ALWAYS"))


def test_times_have_a_zone_and_numbers_are_exact(app):
    kinds = {
        kind
        for (kind,) in fetch_all(
            "SELECT DISTINCT data_type FROM information_schema.columns WHERE table_schema = 'public'"
        )
    }
    assert kinds == {
        "ARRAY",  # Of bigint.
        "bigint",
        "boolean",
        "bytea",
        "character varying",  # Alembic's own.
        "date",  # Local days.
        "integer",
        "jsonb",
        "numeric",
        "smallint",
        "text",
        "timestamp with time zone",
    }


USAGE = """
INSERT INTO usages (organization_id, user_id, usage_type_id, usage_at, usage_until, amount, unit,
                    amount_in_type_unit, valuation_id, emission_factor_id, factor, market_factor,
                    quality, external_id, import_id, site_id, meter_id, recorded_by, version, note)
SELECT {organization_id}, {user_id}, {usage_type_id}, {usage_at}, {usage_until}, {amount}, 'kwh',
       1, {valuation_id}, {emission_factor_id}, f.factor, f.factor, {quality}, {external_id}, {import_id},
       {site_id}, {meter_id}, u.id, 1, {note}
FROM users u CROSS JOIN emission_factors f JOIN valuations v ON v.emission_factor_id = f.id
WHERE u.id = :user AND f.usage_type_id = 100 AND v.organization_id = u.organization_id
"""
GOOD = {
    "organization_id": "u.organization_id",
    "user_id": "u.id",
    "usage_type_id": "100",
    "usage_at": "'2024-01-01+00'",
    "usage_until": "NULL",
    "amount": "1",
    "valuation_id": "v.id",
    "emission_factor_id": "f.id",
    "quality": "'measured'",
    "external_id": "'known'",
    "import_id": "NULL",
    "site_id": "NULL",
    "meter_id": "NULL",
    "note": "NULL",
}


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"amount": "-0.000001"}, "ck_usages_amount"),
        ({"amount": "'NaN'"}, "ck_usages_amount"),
        ({"usage_at": "'1899-12-31 23:59:59+00'"}, "ck_usages_usage_at"),
        ({"usage_at": "'2201-01-01+00'"}, "ck_usages_usage_at"),
        ({"usage_at": "'infinity'"}, "ck_usages_usage_at"),
        ({"usage_at": "'2024-01-01+00'", "usage_until": "'2024-01-01+00'"}, "ck_usages_usage_until"),
        ({"usage_at": "'2200-01-01+00'", "usage_until": "'2201-01-01+00'"}, "ck_usages_usage_until"),
        ({"usage_until": "'2034-01-01 00:00:00.000001+00'"}, "ck_usages_length"),
        ({"quality": "'guessed'"}, "ck_usages_quality"),
        ({"organization_id": "u.organization_id + 1"}, "fk_usages_organization_id_user_id"),
        ({"user_id": "u.id + 1000"}, "fk_usages_organization_id_user_id"),
        ({"usage_type_id": "101"}, "fk_usages_valuation_id"),
        ({"valuation_id": "v.id + 1000"}, "fk_usages_valuation_id"),
        ({"import_id": "1"}, "fk_usages_organization_id_import_id"),
        ({"site_id": "1"}, "fk_usages_organization_id_site_id"),
        ({"meter_id": "1"}, "fk_usages_meter_id"),
        ({"external_id": "'taken'"}, "uq_usages_external_id"),
    ],
)
def test_invalid_usage_violates_its_constraint(app, organization, changes, constraint):
    user = factories.user(organization)
    factories.valuation(organization.id)
    for values in (GOOD, GOOD | {"external_id": "'taken'"}):
        rows_before = db.session.execute(sa.text(USAGE.format(**values)), {"user": user.id}).rowcount
        assert rows_before == 1

    with pytest.raises(sa.exc.IntegrityError) as error:
        db.session.execute(sa.text(USAGE.format(**(GOOD | {"external_id": "'new'"} | changes))), {"user": user.id})

    assert error.value.orig.diag.constraint_name == constraint


SITE = """
INSERT INTO sites (organization_id, name, version, parent_id, ancestor_ids)
SELECT id, 'x', 1, {parent}, '{ancestors}' FROM organizations
"""


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE usage_types SET scope = 4 WHERE id = 100", "ck_usage_types_scope"),
        ("UPDATE usage_types SET name = 'heating' WHERE id = 100", "uq_usage_types_name_unit"),
        ("UPDATE emission_factors SET factor = -1 WHERE usage_type_id = 100", "ck_emission_factors_factor"),
        ("UPDATE emission_factors SET factor = 'NaN' WHERE usage_type_id = 100", "ck_emission_factors_factor"),
        ("UPDATE emission_factors SET valid_until = valid_from", "ck_emission_factors_validity"),
        (
            "INSERT INTO emission_factors (usage_type_id, factor, valid_from, source, version) "
            "VALUES (100, 1, now(), 'x', 1)",
            "ex_emission_factors_validity",
        ),
        (
            "INSERT INTO emission_factors (usage_type_id, factor, valid_from, source, version) "
            "VALUES (1, 1, now(), 'x', 1)",
            "fk_emission_factors_usage_type_id",
        ),
        ("UPDATE usage_types SET category = 'waste', scope = 1 WHERE id = 100", "ck_usage_types_category"),
        ("UPDATE usage_types SET category = 'waste' WHERE id = 100", "ck_usage_types_category"),
        ("UPDATE usage_types SET category = 'energy', scope = 3 WHERE id = 100", "ck_usage_types_category"),
        (
            "UPDATE usage_types SET scope = 3, outside_of_scopes = true WHERE id = 100",
            "ck_usage_types_outside_of_scopes",
        ),
        ("UPDATE emission_factors SET gwp = 'AR1'", "ck_emission_factors_gwp"),
        ("UPDATE emission_factors SET ch4_kg = -1", "ck_emission_factors_gases"),
        ("UPDATE emission_factors SET superseded_at = now()", "ck_emission_factors_superseded"),
        ("UPDATE emission_factors SET factor_set_id = 1", "fk_emission_factors_factor_set_id"),
        ("UPDATE emission_factors SET supersedes_id = 1000000 WHERE id = 1", "fk_emission_factors_supersedes_id"),
        ("UPDATE emission_factors SET supersedes_id = 1", "uq_emission_factors_supersedes_id"),
        (
            "INSERT INTO factor_sets (publisher, edition, version) VALUES ('p', '1', 1), ('p', '1', 1)",
            "uq_factor_sets_edition",
        ),
        (
            "INSERT INTO factor_sets (publisher, edition, version, gwp) VALUES ('p', '1', 1, 'AR1')",
            "ck_factor_sets_gwp",
        ),
        (
            "INSERT INTO factor_sets (publisher, edition, version, sha256) VALUES ('p', '1', 1, 'x')",
            "ck_factor_sets_hash",
        ),
        ("UPDATE users SET role = 'king'", "ck_users_role"),
        ("UPDATE users SET email = NULL", "ck_users_erased"),
        ("UPDATE users SET erased_at = now()", "ck_users_erased"),
        ("UPDATE users SET erased_at = now(), email = NULL, name = NULL", "ck_users_erased"),
        ("UPDATE users SET name = NULL, password_hash = NULL", "ck_users_erased"),
        (
            "INSERT INTO api_keys (organization_id, user_id, name, scope, beginning, digest, created_at) "
            "SELECT organization_id, id, 'x', 'all', '', '', now() FROM users",
            "ck_api_keys_scope",
        ),
        (
            "INSERT INTO api_keys (organization_id, user_id, name, scope, beginning, digest, created_at) "
            "SELECT organization_id + 1000, id, 'x', 'read', '', '', now() FROM users",
            "fk_api_keys_organization_id_user_id",
        ),
        (
            "INSERT INTO password_tokens (organization_id, user_id, digest, expires_at) "
            "SELECT organization_id + 1000, id, '', now() FROM users",
            "fk_password_tokens_organization_id_user_id",
        ),
        ("UPDATE users SET email = 'same@example.org'", "uq_users_email"),
        ("UPDATE users SET organization_id = 0", "fk_users_organization_id"),
        (
            "INSERT INTO imports (organization_id, sha256, recorded_by, reverted_at) "
            "SELECT organization_id, 'x', id, now() FROM users",
            "ck_imports_reverted",
        ),
        (
            "INSERT INTO imports (organization_id, sha256, recorded_by, status) "
            "SELECT organization_id, 'x', id, 'lost' FROM users",
            "ck_imports_status",
        ),
        (
            "INSERT INTO imports (organization_id, sha256, recorded_by, status) "
            "SELECT organization_id, 'x', id, 'failed' FROM users",
            "ck_imports_failure",
        ),
        (
            "INSERT INTO imports (organization_id, sha256, recorded_by, progress) "
            "SELECT organization_id, 'x', id, 1.001 FROM users",
            "ck_imports_progress",
        ),
        (
            "INSERT INTO import_uploads (organization_id, import_id, options) VALUES (1, 1, '{}')",
            "fk_import_uploads_organization_id_import_id",
        ),
        (
            "INSERT INTO import_chunks (organization_id, upload_id, content) VALUES (1, 1, '')",
            "fk_import_chunks_organization_id_upload_id",
        ),
        (
            "INSERT INTO import_row_errors (organization_id, import_id, line, message, cells) "
            "VALUES (1, 1, 1, 'x', '{}')",
            "fk_import_row_errors_organization_id_import_id",
        ),
        ("INSERT INTO sites (organization_id, name, version) VALUES (0, 'x', 1)", "fk_sites_organization_id"),
        (SITE.format(parent="id", ancestors="{}"), "ck_sites_parent_id"),
        (SITE.format(parent="1", ancestors="{1}"), "fk_sites_organization_id_parent_id"),
        (SITE.format(parent="-1", ancestors="{-10,-9,-8,-7,-6,-5,-4,-3,-2,-1}"), "ck_sites_levels"),
        (
            "INSERT INTO meters (organization_id, site_id, usage_type_id, name, version, valid_from, valid_until) "
            "VALUES (1, 1, 100, 'x', 1, now(), now())",
            "ck_meters_validity",
        ),
        (
            "INSERT INTO meters (organization_id, site_id, usage_type_id, name, version) VALUES (1, 1, 100, 'x', 1)",
            "fk_meters_organization_id_site_id",
        ),
        (
            "INSERT INTO site_shares (organization_id, site_id, valid_from, equity_share, financial_control, "
            "operational_control) VALUES (1, 1, now(), 1.000001, true, true)",
            "ck_site_shares_equity_share",
        ),
        (
            "INSERT INTO user_sites (organization_id, user_id, site_id) SELECT organization_id, id, 1 FROM users",
            "fk_user_sites_organization_id_site_id",
        ),
        (
            "INSERT INTO idempotency_records (organization_id, user_id, key, fingerprint, claimed_at, body) "
            "VALUES (1, 1, 'x', '', now(), convert_to(repeat('x', 1048577), 'UTF8'))",
            "ck_idempotency_records_body",
        ),
    ],
)
def test_invalid_row_violates_its_constraint(app, organization, statement, constraint):
    factories.user(organization), factories.user(organization)

    with pytest.raises(sa.exc.IntegrityError) as error:
        db.session.execute(sa.text(statement))

    assert error.value.orig.diag.constraint_name == constraint


def test_constraints_that_clients_can_violate_have_messages():
    assert constraint_message("uq_users_email") == ("This e-mail address is taken.", "email")
    assert constraint_message("ex_emission_factors_validity")[1] == "valid_from"
    assert constraint_message("uq_usages_external_id")[1] == "external_id"
    for name in ("uq_sites_name", "uq_sites_external_id", "uq_meters_name", "uq_meters_external_id", "uq_usages_meter"):
        assert constraint_message(name), name
    assert constraint_message("pk_usages") is None
    assert is_transient("fk_daily_totals_organization_id_timezone")
    assert not is_transient("uq_users_email") and not is_transient("pk_usages")
    assert display_name(Usage) == "usage"


def test_revisions_are_read_in_the_order_of_migrations():
    scripts = ScriptDirectory(str(revisions.FOLDER)).walk_revisions()

    assert revisions.revisions() == [script.revision for script in scripts]


def test_migrations_go_down_and_up_to_the_models(fresh_database_url):
    app = create_app(settings_for(as_owner(fresh_database_url)), as_owner=True)
    with app.app_context(), row_security.without_scope():
        flask_migrate.downgrade(revision="base")
        assert sa.inspect(db.engine).get_table_names() == ["alembic_version"]
        flask_migrate.upgrade()
        flask_migrate.check()
        assert set(sa.inspect(db.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
        db.engine.dispose()


@pytest.mark.parametrize("timezone", ["Europe/London", "Australia/Lord_Howe"])
def test_migration_computes_daily_totals_of_existing_usages(fresh_database_url, timezone):
    app = create_app(settings_for(as_owner(fresh_database_url)), as_owner=True)
    with operator_context(app):
        with acting_as(Actor(id=0, organization_id=0, role="admin", timezone="UTC")):
            manager = factories.user(factories.organization(timezone=timezone), "manager")
            tokens = sessions.create(manager, factories.now())
            record_at_random(Client(app, tokens, manager), random.Random(timezone), 40)
        # The migration makes one valuation of those that have the same factor.
        table = DailyTotal.__table__.c
        key = [table[name] for name in DailyTotal.KEY if name != "valuation_id"]
        sums = [sa.func.sum(table[name]) for name in daily_totals.SUMS]
        hours = [sa.func.bit_or(table[name]) for name in daily_totals.HOURS]
        has_usages = DailyTotal.usage_count + DailyTotal.carried_count > 0
        days = sa.select(*key, *sums, *hours).where(has_usages).group_by(*key).order_by(*key)
        before = db.session.execute(days).all()
        db.session.commit()

        flask_migrate.downgrade(revision="import_outcomes")
        flask_migrate.upgrade()
        with row_security.for_no_organization(), db.engine.begin() as connection:
            roles.grant_privileges(connection, ROLE)

        assert len(before) > 1000
        assert db.session.execute(days).all() == before
        db.session.remove()
        db.engine.dispose()


def test_migration_moves_free_categories_to_the_description(fresh_database_url):
    app = create_app(settings_for(as_owner(fresh_database_url)), as_owner=True)
    with operator_context(app):
        flask_migrate.downgrade(revision="lock_of_open_periods")
        with db.engine.begin() as connection:
            connection.execute(
                sa.text(
                    """
                    INSERT INTO usage_types (name, unit, scope, category, description, version)
                    VALUES ('1 flights', 'km', 3, 'business_travel', NULL, 1),
                        ('2 steam', 'kg', 2, 'energy', 'Hot.', 1),
                        ('3 waste', 'kg', 1, 'waste', NULL, 1), ('4 pellets', 'kg', NULL, 'wood', NULL, 1)
                    """
                )
            )
        flask_migrate.upgrade()

        with row_security.for_no_organization(), db.engine.begin() as connection:
            rows = connection.execute(
                sa.text("SELECT category, description, version FROM usage_types WHERE id >= 1000 ORDER BY name")
            ).all()
        db.engine.dispose()
    assert rows == [
        ("business_travel", None, 1),
        (None, "Hot. Category: energy.", 2),
        (None, "Category: waste.", 2),
        (None, "Category: wood.", 2),
    ]


def test_migrations_have_one_head(app):
    versions = [path.read_text() for path in (PROJECT / "migrations/versions").glob("*.py")]
    down = [re.search(r"^down_revision = (.+)$", text, re.M)[1] for text in versions]
    assert len(down) == len(set(down))
