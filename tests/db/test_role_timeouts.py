"""The timeouts of the service's role, which `carbonapi migrate` sets."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from carbonapi.db.role_timeouts import ROLE_TIMEOUTS, missing_timeouts, set_missing_timeouts
from tests.support.databases import execute, url_of


@pytest.fixture
def connect(server_url, fresh_database_url):
    """A function that connects as a role without timeouts."""
    role = sa.make_url(fresh_database_url).database.replace("carbonapi", "carbonapi_role")
    execute(server_url, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    engine = sa.create_engine(url_of(server_url, sa.make_url(fresh_database_url).database, role), poolclass=sa.NullPool)
    yield engine.connect
    execute(server_url, f"DROP ROLE {role}")


def test_missing_timeouts_apply_to_later_connections(connect):
    with connect() as connection:
        assert set(missing_timeouts(connection)) == ROLE_TIMEOUTS.keys()
        set_missing_timeouts(connection)
        connection.commit()

    with connect() as connection:
        assert missing_timeouts(connection) == []
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "30s"


def test_servers_that_start_at_once_wait_for_each_other(connect):
    def set_in_another_server():
        with connect() as another, another.begin():
            set_missing_timeouts(another)

    with connect() as connection, ThreadPoolExecutor() as pool:
        set_missing_timeouts(connection)
        waiting = pool.submit(set_in_another_server)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        connection.commit()
        waiting.result()
