"""How PostgreSQL's own programs are told of the database."""

import pytest

from carbonapi import create_app
from carbonapi.postgres import client_tools
from tests.support.apps import settings_for

EVERYBODY = "-c carbonapi.organization_id=*"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (
            "postgresql://ada:p%40ss word@db.example.org:5433/carbon?sslmode=require",
            f"user=ada port=5433 sslmode=require options='{EVERYBODY}' dbname=carbon host=db.example.org",
        ),
        ("postgresql://ada:p%40ss word@/carbon?host=/run", f"user=ada host=/run options='{EVERYBODY}' dbname=carbon"),
        (
            "postgresql://ada:p%40ss word@/carbon?options=-c%20work_mem%3D64MB",
            f"user=ada options='-c work_mem=64MB {EVERYBODY}' dbname=carbon",
        ),
    ],
    ids=["tcp", "socket", "options"],
)
def test_the_password_is_not_for_others_to_read(url, target):
    with create_app(settings_for(url.replace("postgresql:", "postgresql+psycopg2:"))).app_context():
        assert sorted(client_tools.dsn()) == sorted(target)
        assert client_tools.client_environment()["PGPASSWORD"] == "p@ss word"
