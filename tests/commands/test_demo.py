"""`carbonapi demo`."""

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
    """Return a function that runs the command on a new database, and returns its exit code and output."""
    environ = {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}

    def run():
        result = CliRunner().invoke(main, ["demo"], env=environ)
        return result.exit_code, result.output

    return run


def fetch(url, token=None, body=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read(), parse_float=str)


def test_demo_user_sees_the_emissions_of_the_household(demo, fresh_database_url):
    with serving(fresh_database_url, SECRET_KEY) as url:
        code, output = demo()  # While the service runs.
        assert (code, output.splitlines()[0]) == (
            0,
            "Demo household: 47016 hourly readings of electricity and gas, 2020 to 2022.",
        )
        (password,) = re.findall(r"Password: +(\S+)", output)
        credentials = {"email": "demo@example.org", "password": password}
        token = fetch(f"{url}/api/v1/auth/login", body=credentials)["access_token"]
        years = fetch(f"{url}/api/v1/emissions/trend?bucket=year&group_by=usage_type", token)
        organization = fetch(f"{url}/api/v1/organizations", token)[0]
        usage = fetch(f"{url}/api/v1/usages?page_size=1", token)[0]

    names = ("name", "timezone", "region")
    assert [organization[name] for name in names] == ["Demo household", "Europe/London", "GB"]
    assert usage["note"] == "Demo data: a reading of a real British household."
    electricity = [
        next(group["co2e_kg"] for group in year["groups"] if group["name"] == "grid electricity") for year in years
    ]
    assert electricity == ["263.45589362", "297.94336697", "242.95953792"]


def test_second_demo_changes_nothing(demo, fresh_database_url):
    assert demo()[0] == 0
    assert demo() == (0, "The demo exists already: log in as demo@example.org.\n")

    engine = sa.create_engine(fresh_database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM usages")) == 47_016
        assert connection.scalar(sa.text("SELECT count(*) FROM organizations")) == 1


def test_demo_files_are_small():
    series = sorted((PROJECT / "carbonapi/commands/demo").glob("*.csv.gz"))

    assert len(series) == 2
    assert sum(path.stat().st_size for path in series) < 300_000
