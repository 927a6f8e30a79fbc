"""`carbonapi demo`: something to look at."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from carbonapi.commands import main
from tests.support.apps import SECRET_KEY
from tests.support.databases import ALL_ORGANIZATIONS
from tests.support.servers import serving

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def demo(fresh_database_url):
    """A function that runs the command on a fresh database and returns its exit code and what it printed."""
    environ = {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}

    def run():
        outcome = CliRunner().invoke(main, ["demo"], env=environ)
        return outcome.exit_code, outcome.output

    return run


def asked(url, token=None, body=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read(), parse_float=str)


def test_whoever_signs_in_sees_what_the_household_caused(demo, fresh_database_url):
    with serving(fresh_database_url, SECRET_KEY) as url:
        code, told = demo()  # Beside a service that runs.
        assert (code, told.splitlines()[0]) == (
            0,
            "Demo household: 47016 hourly readings of electricity and gas, 2020 to 2022.",
        )
        (password,) = re.findall(r"Password: +(\S+)", told)
        credentials = {"email": "demo@example.org", "password": password}
        token = asked(f"{url}/api/v1/auth/login", body=credentials)["access_token"]
        years = asked(f"{url}/api/v1/emissions/trend?bucket=year&group_by=usage_type", token)
        organization = asked(f"{url}/api/v1/organizations", token)[0]
        usage = asked(f"{url}/api/v1/usages?page_size=1", token)[0]

    names = ("name", "timezone", "region")
    assert [organization[name] for name in names] == ["Demo household", "Europe/London", "GB"]
    assert usage["note"] == "Demo data: a reading of a real British household."
    electricity = [
        next(group["co2e_kg"] for group in year["groups"] if group["name"] == "grid electricity") for year in years
    ]
    assert electricity == ["263.45589362", "297.94336697", "242.95953792"]


def test_a_second_time_changes_nothing(demo, fresh_database_url):
    assert demo()[0] == 0
    assert demo() == (0, "The demo is there already: sign in as demo@example.org.\n")

    engine = sa.create_engine(fresh_database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM usages")) == 47_016
        assert connection.scalar(sa.text("SELECT count(*) FROM organizations")) == 1


def test_what_the_demo_needs_is_in_the_package_and_small():
    series = sorted((PROJECT / "carbonapi/commands/demo").glob("*.csv.gz"))

    assert [path.read_bytes() for path in series] == [
        (PROJECT / "tests/data" / path.name).read_bytes() for path in series
    ]
    assert len(series) == 2
    assert sum(path.stat().st_size for path in series) < 300_000
