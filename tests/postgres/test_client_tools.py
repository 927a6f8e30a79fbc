"""The connection string and environment of PostgreSQL's client programs."""

import pytest

from carbonapi import create_app
from carbonapi.postgres import client_tools
from tests.support.apps import settings_for


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (
            "postgresql://ada:p%40ss word@db.example.org:5433/carbon?sslmode=require",
            "user=ada port=5433 sslmode=require dbname=carbon host=db.example.org",
        ),
        (
            "postgresql://ada:p%40ss word@/carbon?host=/run",
            "user=ada host=/run dbname=carbon",
        ),
        (
            "postgresql://ada:p%40ss word@/carbon?options=-c%20work_mem%3D64MB",
            "user=ada options='-c work_mem=64MB' dbname=carbon",
        ),
    ],
    ids=["tcp", "socket", "options"],
)
def test_password_is_in_the_environment_only(url, target):
    with create_app(settings_for(url.replace("postgresql:", "postgresql+psycopg2:"))).app_context():
        assert sorted(client_tools.dsn()) == sorted(target)
        assert client_tools.client_environment()["PGPASSWORD"] == "p@ss word"
