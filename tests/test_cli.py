"""The operators' door."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from carbonapi.cli import main
from tests import factories
from tests.conftest import SECRET_KEY

FACTORS = Path(__file__).parents[1] / "carbonapi/catalogue/factors/gb-government-conversion-factors.csv"
ADA = ("--email", "ada@example.org", "--name", "Ada", "--organization", "Operators", "--password", factories.PASSWORD)


@pytest.fixture
def carbonapi(fresh_database_url):
    """A function that runs a command on a fresh database and returns its exit code and what it printed."""
    environ = {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}

    def run(*arguments):
        outcome = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environ)
        return outcome.exit_code, outcome.output

    return run


def test_the_first_admin_comes_from_here(carbonapi):
    assert carbonapi("users", "add", "--role", "admin", *ADA) == (
        0,
        "Added admin ada@example.org, user 1 of organization 1.\n",
    )
    code, told = carbonapi("users", "add", "--role", "admin", *ADA)
    assert (code, told) == (1, "Error: This e-mail address is taken.\n")
    code, told = carbonapi("users", "add", "--role", "member", *ADA[:-1], "password1234")
    assert (code, told.startswith("Error: Too easy to guess")) == (1, True)


def test_factors_and_usages_are_imported_from_files(carbonapi, tmp_path):
    assert carbonapi("factors", "import", FACTORS) == (0, "32 factors added, 0 there already.\n")
    assert carbonapi("factors", "import", FACTORS) == (0, "0 factors added, 32 there already.\n")
    carbonapi("users", "add", "--role", "manager", *ADA)
    file = tmp_path / "usages.csv"
    file.write_text("usage_at,amount\n2021-01-01T00:00:00Z,1\n2021-01-01T01:00:00Z,2\n")
    usages = ("usages", "import", file, "--user", "ADA@example.org")

    assert carbonapi(*usages, "--usage-type", "grid electricity", "--region", "GB") == (
        0,
        "Recorded 2 usages as import 1.\n",
    )
    assert carbonapi(*usages, "--usage-type", "100") == (0, "Recorded 2 usages as import 2.\n")
    code, told = carbonapi(*usages, "--usage-type", "heating")
    assert (code, told) == (
        1,
        "Error: heating is ambiguous: 102 (kwh), 103 (l), 104 (m3). Give the id of one, or its unit.\n",
    )
    code, told = carbonapi(*usages, "--usage-type", "steam")
    assert (code, told) == (1, "Error: There is no usage type steam; GET /usage-types lists them.\n")
    file.write_text("usage_at,amount\n2021-01-01T00:00:00Z,-1\n")
    assert carbonapi(*usages, "--usage-type", "100") == (
        1,
        "Error: 1 line is not good, so nothing was recorded. The first: line 2.\n"
        "  line 2: amount: Must not be negative.\n",
    )
    code, told = carbonapi("usages", "import", file, "--user", "nobody@example.org")
    assert (code, told) == (1, "Error: There is no user nobody@example.org.\n")


def test_migrating_twice_changes_nothing(carbonapi):
    assert carbonapi("migrate")[0] == 0
    assert carbonapi("migrate")[0] == 0


def test_the_document_can_be_printed(carbonapi):
    code, text = carbonapi("openapi")

    assert (code, json.loads(text)["openapi"]) == (0, "3.1.0")


def test_a_setting_at_fault_is_told_in_a_sentence(fresh_database_url):
    environ = {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": "short"}

    outcome = CliRunner().invoke(main, ["openapi"], env=environ)

    assert outcome.exit_code == 1
    assert outcome.output.startswith("Error: CARBONAPI_SECRET_KEY must be 32 bytes or longer")
