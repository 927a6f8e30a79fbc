"""Row-level security: PostgreSQL protects organizations even from errors of the application."""

from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from carbonapi import create_app
from carbonapi.db import Base, db, roles, row_security
from carbonapi.serving.database_check import BYPASSES_POLICIES
from carbonapi.serving.supervisor import serve
from tests.support import factories
from tests.support.apps import SECRET_KEY, operator_context, settings_for
from tests.support.databases import (
    REFERENCE_TABLES,
    ROLE,
    SHARED_TABLES,
    TABLES_WITHOUT_POLICIES,
    as_owner,
    cloned_database,
    fetch_all,
)

COUNT = sa.text("SELECT count(*) FROM usages")


def visible_count():
    return db.session.scalar(COUNT)


@pytest.fixture
def two_ledgers(app):
    """Two users, of different organizations: the first has one usage, the second two."""
    first, second = (factories.user(factories.organization(), "manager") for _ in range(2))
    for user in (first, second, second):
        factories.usage(user)
    return first, second


def test_every_tenant_table_has_a_forced_policy(app):
    policies = fetch_all(
        """
        SELECT relname, polname, polcmd::text, relrowsecurity AND relforcerowsecurity, polpermissive,
               polwithcheck IS NULL
        FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
        """
    )
    owned = set(Base.metadata.tables) - TABLES_WITHOUT_POLICIES
    assert owned >= REFERENCE_TABLES - TABLES_WITHOUT_POLICIES
    assert sorted(policies) == sorted(
        [(table, policy, "*", True, True, True) for table in owned for policy in ("tenant", "all_organizations")]
        + [(table, "shared", "r", True, True, True) for table in SHARED_TABLES | {"audit_entries"}]
    )


def test_scope_limits_visible_rows(two_ledgers):
    first, second = two_ledgers
    for user, count in ((first, 1), (second, 2)):
        with row_security.for_organization(user.organization_id):
            assert visible_count() == count
    with row_security.for_all_organizations():
        assert visible_count() == 3
    token = row_security._SCOPE.set("")
    assert visible_count() == 0
    row_security._SCOPE.reset(token)


def test_connection_without_scope_sees_no_rows(fresh_database_url, committing):
    committing.post("/usages", json={"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1})
    for url in (fresh_database_url, as_owner(fresh_database_url)):
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            for table in set(Base.metadata.tables) - TABLES_WITHOUT_POLICIES - SHARED_TABLES:
                assert connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 0, table
            with pytest.raises(sa.exc.ProgrammingError, match="violates row-level security"):
                connection.execute(sa.text("INSERT INTO organizations (name, version) VALUES ('Nobody', 1)"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usages SET note = 'mine' WHERE organization_id = {other}",
        "DELETE FROM sessions WHERE organization_id = {other}",
    ],
)
def test_rows_of_others_cannot_be_changed_or_deleted(two_ledgers, statement):
    first, second = two_ledgers
    with row_security.for_organization(first.organization_id):
        changed = db.session.execute(sa.text(statement.format(other=second.organization_id)))
    assert changed.rowcount == 0


def test_rows_cannot_be_moved_or_added_to_others(two_ledgers):
    first, second = two_ledgers
    with row_security.for_organization(first.organization_id):
        for statement in (
            f"UPDATE usages SET organization_id = {second.organization_id}",
            f"INSERT INTO idempotency_records (organization_id, user_id, key, fingerprint, claimed_at) "
            f"VALUES ({second.organization_id}, 1, 'key', '', now())",
            "INSERT INTO emission_factors (usage_type_id, factor, valid_from, source) VALUES (100, 1, now(), 'nobody')",
        ):
            with pytest.raises(sa.exc.ProgrammingError, match="row-level security"), db.session.begin_nested():
                db.session.execute(sa.text(statement))


def test_service_role_cannot_disable_row_security(fresh_database_url, server_url):
    connection = psycopg2.connect(make_url(fresh_database_url).set(drivername="postgresql").render_as_string(False))
    connection.autocommit = True
    for statement in (
        "ALTER TABLE usages DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON usages",
        "UPDATE audit_entries SET actor_id = 1",
        "DELETE FROM audit_entries",
        "UPDATE alembic_version SET version_num = 'none'",
        "SET row_security = off; SELECT * FROM usages",
    ):
        with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)
    connection.close()


@pytest.mark.parametrize("is_autocommit", [True, False])
def test_scope_is_sent_again_after_a_rollback(committing, is_autocommit):
    """PostgreSQL reverts the setting with the statement, or the transaction, that set it."""
    user, app = committing.user, committing.http.application
    committing.post("/usages", json={"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1})
    isolation = {"isolation_level": "AUTOCOMMIT"} if is_autocommit else {}
    with app.app_context():
        db.engine.dispose()  # Otherwise a connection might return to the same scope, set before.
    with app.app_context(), db.engine.connect().execution_options(**isolation) as connection:
        with row_security.for_organization(user.organization_id):
            with pytest.raises(sa.exc.DataError):
                connection.execute(sa.text("SELECT 1 / 0"))
            connection.rollback()
            assert connection.scalar(COUNT) == 1
            connection.rollback()
            assert connection.scalar(COUNT) == 1
            if not is_autocommit:
                connection.rollback()
                with connection.begin(), pytest.raises(sa.exc.DataError), connection.begin_nested():
                    connection.execute(sa.text("SELECT 1 / 0"))
                assert connection.scalar(COUNT) == 1
        assert connection.scalar(COUNT) == 0
    with app.app_context(), row_security.for_organization(user.organization_id):
        for _ in range(2):  # On the same connection, which was returned to the pool within a transaction.
            with db.engine.connect() as connection:
                assert connection.scalar(COUNT) == 1
        db.engine.dispose()


def test_scope_is_set_in_each_transaction(committing):
    app, sent = committing.http.application, []

    def record(connection, cursor, statement, parameters, context, executemany):
        sent.append(statement.removesuffix("SELECT count(*) FROM usages"))

    with operator_context(app):
        sa.event.listen(db.engine, "before_cursor_execute", record)
        with db.engine.connect() as connection:
            for _ in range(2):
                connection.execute(COUNT)
                connection.execute(COUNT)
                with row_security.for_organization(7):
                    connection.execute(COUNT)
                connection.execute(COUNT)
                connection.commit()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for _ in range(2):
                connection.execute(COUNT)
        sa.event.remove(db.engine, "before_cursor_execute", record)
    everywhere, seventh = (f"SELECT carbonapi_use_organization('{scope}'); " for scope in ("*", "7"))
    assert sent == [everywhere, "", seventh, everywhere] * 2 + [everywhere] * 2


def test_setting_ends_with_the_transaction(committing):
    with operator_context(committing.http.application), db.engine.connect() as connection:
        for _ in range(2):
            connection.execute(COUNT)
            connection.rollback()
            driver = connection.connection.driver_connection
            with driver.cursor() as cursor:  # Beside SQLAlchemy, so that no scope is sent.
                cursor.execute("SELECT current_setting('carbonapi.organization_id', true)")
                assert cursor.fetchone()[0] in ("", None)
            driver.rollback()


def test_superuser_role_is_rejected_and_never_ready(server_url, fresh_database_url, capsys):
    environ = {"CARBONAPI_DATABASE_URL": server_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}
    assert serve("127.0.0.1", 0, 1, 1, 0, environ) == 1
    assert capsys.readouterr().err.strip() == BYPASSES_POLICIES
    superuser_url = make_url(server_url).set(database=make_url(fresh_database_url).database)
    app = create_app(settings_for(superuser_url.render_as_string(False)))
    answer = app.test_client().get("/health/ready")
    assert (answer.status_code, "bypasses row-level security" in answer.json["detail"]) == (503, True)
    with app.app_context():
        db.engine.dispose()


def test_concurrent_starts_grant_the_service_role(server_url):
    """Two servers can start on one new database at the same time."""
    with cloned_database(server_url, "granting") as url:
        superuser = sa.create_engine(make_url(server_url).set(database=make_url(url).database))

        def grant(_):
            with superuser.begin() as connection:
                roles.grant_privileges(connection, ROLE)
            return True

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(grant, range(80))) == [True] * 80
        superuser.dispose()
