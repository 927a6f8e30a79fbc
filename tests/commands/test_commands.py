"""The commands of `carbonapi`, except backups and the demo."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from carbonapi.commands import main
from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.databases import ALL_ORGANIZATIONS

FACTORS = Path(__file__).parents[2] / "carbonapi/catalogue/factors/gb-government-conversion-factors.csv"
GREEN_BUTTON = Path(__file__).parents[1] / "data/greenbutton-electricity-and-gas.xml"
ADA = ("--email", "ada@example.org", "--name", "Ada", "--organization", "Operators", "--password", factories.PASSWORD)


@pytest.fixture
def carbonapi(fresh_database_url):
    """Return a function that runs a command on a new database, and returns its exit code and output."""
    environ = {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}

    def run(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environ)
        return result.exit_code, result.output

    return run


def test_users_add_creates_the_first_admin(carbonapi):
    assert carbonapi("users", "add", "--role", "admin", *ADA) == (
        0,
        "Added admin ada@example.org, user 1 of organization 1.\n",
    )
    code, output = carbonapi("users", "add", "--role", "admin", *ADA)
    assert (code, output) == (1, "Error: This e-mail address is taken.\n")
    code, output = carbonapi("users", "add", "--role", "member", *ADA[:-1], "password1234")
    assert (code, output.startswith("Error: Too easy to guess")) == (1, True)


def test_factors_and_usages_are_imported(carbonapi, tmp_path):
    edition = "carbonapi, 2026 (as factor set 1).\n"
    rest = "Skipped 0 lines. Rounded 0 figures.\n"
    added = "Added 32 factors; superseded 0; 0 existed already. "
    assert carbonapi("factors", "import", FACTORS) == (0, edition + added + rest)
    unchanged = "Added 0 factors; superseded 0; 32 existed already. "
    assert carbonapi("factors", "import", FACTORS) == (0, edition + unchanged + rest)
    carbonapi("users", "add", "--role", "manager", *ADA)
    file = tmp_path / "usages.csv"
    file.write_text("usage_at,amount\n2021-01-01T00:00:00Z,1\n2021-01-01T01:00:00Z,2\n")
    usages = ("usages", "import", file, "--user", "ADA@example.org")

    assert carbonapi(*usages, "--usage-type", "grid electricity", "--region", "GB") == (
        0,
        "Recorded 2 usages as import 1.\n",
    )
    assert carbonapi(*usages, "--usage-type", "100", "--again") == (0, "Recorded 2 usages as import 2.\n")
    ambiguous = "usage_type: heating is ambiguous: 102 (kwh), 103 (l), 104 (m3). Give the id of one, or its unit."
    assert carbonapi(*usages, "--usage-type", "heating", "--again") == (
        1,
        "Error: 2 invalid rows; nothing was recorded. First error: line 2.\n"
        f"  line 2: {ambiguous}\n  line 3: {ambiguous}\n",
    )
    heating = ("--usage-type", "heating", "--unit", "m3")
    assert carbonapi(*usages, *heating, "--again") == (0, "Recorded 2 usages as import 3.\n")
    code, output = carbonapi(*usages, "--usage-type", "steam")
    assert (code, output) == (1, "Error: There is no usage type steam; GET /usage-types lists them.\n")
    file.write_text("usage_at,amount\n2021-01-01T00:00:00Z,-1\n")
    assert carbonapi(*usages, "--usage-type", "100") == (
        1,
        "Error: 1 invalid row; nothing was recorded. First error: line 2.\n  line 2: amount: Must not be negative.\n",
    )
    code, output = carbonapi("usages", "import", file, "--user", "unknown@example.org")
    assert (code, output) == (1, "Error: There is no user unknown@example.org.\n")


def test_published_factor_table_is_imported_by_format(carbonapi):
    table = Path(__file__).parents[1] / "data/egrid-2023-subregions.csv"

    counts = "Added 2 factors; superseded 0; 0 existed already. Skipped 1 lines. Rounded 0 figures.\n"
    skipped = "Skipped 1: It has no figure.\n"
    dry_run = "US EPA eGRID, 2023 (Dry run: nothing was recorded).\n"
    assert carbonapi("factors", "import", table, "--dry-run") == (0, dry_run + counts + skipped)
    applied = "US EPA eGRID, 2023 (as factor set 2).\n"  # The dry run took the first number.
    assert carbonapi("factors", "import", table, "--format", "egrid") == (0, applied + counts + skipped)
    code, output = carbonapi("factors", "import", table, "--format", "own")
    assert (code, "lacks the columns kg_co2e_per_unit, source" in output) == (1, True)
    reverted = "Deleted 2 factors and 1 usage types.\n0 factors are in force again.\n"
    assert carbonapi("factors", "revert", "2") == (0, reverted)


def test_any_factor_table_is_imported_with_a_mapping(carbonapi, tmp_path):
    table, mapping = tmp_path / "table.csv", tmp_path / "mapping.json"
    table.write_text("Fuel;Gramm\nWarm;183,5\n")
    constants = {"unit": "kWh", "valid_from": "2025", "source": "Supplier"}
    columns = {"usage_type": "Fuel", "kg_co2e_per_unit": "Gramm"}
    mapping.write_text(json.dumps({"columns": columns, "constants": constants, "scale": 0.001}))

    code, output = carbonapi("factors", "import", table, "--mapping", mapping, "--publisher", "Supplier")
    assert (code, output.startswith("Supplier, table.csv (as factor set 1).\nAdded 1 factors")) == (0, True), output
    mapping.write_text("[")
    code, output = carbonapi("factors", "import", table, "--mapping", mapping)
    assert (code, "The file must contain a JSON object." in output) == (2, True)


def test_import_has_the_options_of_the_api(carbonapi, tmp_path):
    carbonapi("users", "add", "--role", "manager", *ADA)
    file = tmp_path / "usages.csv"
    file.write_text("start;value;note\n01/07/2024 12:00;1,25;x\n01/07/2024 13:00;;x\nlater;;x\nlater;2;x\n")
    usages = ("usages", "import", file, "--user", "ada@example.org", "--usage-type", "101")
    options = (
        *("--columns", "usage_at:start,amount:value", "--delimiter", ";", "--decimal", ",", "--round", "1"),
        *("--timezone", "Europe/London", "--date-order", "dmy", "--blank", "skip", "--ignore", "note"),
    )
    errors = "First error: line 5.\n  line 5: usage_at: Not an RFC 3339 date-time with an offset"

    code, output = carbonapi(*usages, *options, "--mode", "dry-run")
    assert (code, output.startswith("Would record 1 usages; nothing was recorded.\nError: 1 invalid row")) == (
        1,
        True,
    )
    code, output = carbonapi(*usages, *options)
    assert (code, output.startswith(f"Error: 1 invalid row; nothing was recorded. {errors}")) == (1, True)
    code, output = carbonapi(*usages, *options, "--mode", "partial")
    recorded = "Recorded 1 usages as import 2.\nError: 1 invalid row; not recorded. "
    assert (code, output.startswith(recorded + errors)) == (1, True), output
    file.write_text("start;value\n01/07/2024 12:00;1,35\n")
    assert carbonapi(*usages, *options, "--on-conflict", "skip") == (0, "Recorded 0 usages as import 3.\n")
    assert carbonapi(*usages, *options, "--on-conflict", "replace", "--again") == (
        0,
        "Recorded 1 usages as import 4.\n",
    )


def test_green_button_file_is_imported(carbonapi):
    carbonapi("users", "add", "--role", "manager", *ADA)
    usages = ("usages", "import", GREEN_BUTTON, "--user", "ada@example.org", "--usage-type", "electricity")

    electricity = (*usages, "--format", "greenbutton", "--commodity", "electricity")
    assert carbonapi(*electricity) == (0, "Recorded 6 usages as import 1.\n")
    assert carbonapi(*electricity, "--on-conflict", "skip", "--again") == (0, "Recorded 0 usages as import 2.\n")


def test_import_profile_has_options_of_a_file(carbonapi, tmp_path):
    carbonapi("users", "add", "--role", "manager", *ADA)
    file, profile = tmp_path / "usages.csv", tmp_path / "ours.toml"
    file.write_text("Wann;Wert\n01.07.2024 12:00;1,25\n")
    profile.write_text(
        'usage_type = "water"\ndelimiter = ";"\ndecimal = ","\ndate_order = "dmy"\ntimezone = "Europe/Berlin"\n'
        '[columns]\nusage_at = "Wann"\namount = "Wert"\n'
    )
    usages = ("usages", "import", file, "--user", "ada@example.org", "--profile", profile)

    assert carbonapi(*usages) == (0, "Recorded 1 usages as import 1.\n")
    assert carbonapi(*usages, "--mode", "dry-run", "--again", "--on-conflict", "skip") == (
        0,
        "Would record 0 usages; nothing was recorded.\n",
    )
    profile.write_text("mood = 1\n")
    code, output = carbonapi(*usages)
    assert (code, output.startswith("Error: ours.toml has unknown options: mood. Options: mode, ")) == (1, True)


def test_invalid_option_is_reported_before_reading(carbonapi, tmp_path):
    carbonapi("users", "add", "--role", "manager", *ADA)
    usages = ("usages", "import", "setup.cfg", "--user", "ada@example.org")

    for option, value, message in (
        ("--round", "7", "Error: Invalid value for --round: Must be greater than or equal to 0"),
        ("--columns", "usage_at", "Error: Invalid value for --columns: Must be pairs such as usage_at:start, with"),
        ("--ignore", "mood", "Error: Invalid value for '--ignore': 'mood' is not one of 'user_id'"),
        ("--usage-type", "0", "Error: Invalid value for --usage-type: Must be greater than or equal to 1"),
    ):
        code, output = carbonapi(*usages, option, value)
        assert (code, message in output) == (2, True), output


def test_warnings_are_printed_by_line(carbonapi, tmp_path):
    carbonapi("users", "add", "--role", "manager", *ADA)
    file = tmp_path / "bills.ndjson"
    bill = '{{"usage_at": "2024-01-0{}T00:00:00Z", "usage_until": "2024-02-01T00:00:00Z", "amount": 1}}\n'
    file.write_text(bill.format(1) + bill.format(2))

    assert carbonapi("usages", "import", file, "--user", "ada@example.org", "--usage-type", "100") == (
        0,
        "Recorded 2 usages as import 1.\nLine 2: Its interval overlaps line 1.\n",
    )


def test_rebuild_totals_corrects_wrong_daily_totals(carbonapi, fresh_database_url, tmp_path):
    carbonapi("users", "add", "--role", "manager", *ADA)
    others = ("--email", "b@example.org", "--organization", "Others", *ADA[2:4], *ADA[6:])
    carbonapi("users", "add", "--role", "manager", *others)
    file = tmp_path / "usages.csv"
    file.write_text("usage_at,amount\n2024-01-01T00:00:00Z,1\n2024-01-02T00:00:00Z,2\n2024-01-03T00:00:00Z,3\n")
    carbonapi("usages", "import", file, "--user", "ada@example.org", "--usage-type", "100")
    days = "SELECT day, usage_count, amount, reading_hours FROM daily_totals ORDER BY day"
    engine = sa.create_engine(fresh_database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    with engine.begin() as connection:
        before = connection.execute(sa.text(days)).all()
        connection.execute(sa.text("UPDATE daily_totals SET amount = 7 WHERE day = '2024-01-01'"))
        connection.execute(sa.text("DELETE FROM daily_totals WHERE day = '2024-01-02'"))

    assert carbonapi("usages", "rebuild-totals", "--organization", "2") == (
        0,
        "Organization 2: 0 daily totals, 0 corrected.\n",
    )
    totals = "Organization 1: 3 daily totals, 2 corrected.\nOrganization 2: 0 daily totals, 0 corrected.\n"
    assert carbonapi("usages", "rebuild-totals") == (0, totals)
    with engine.connect() as connection:
        assert connection.execute(sa.text(days)).all() == before
    assert carbonapi("usages", "rebuild-totals", "--organization", "1") == (
        0,
        "Organization 1: 3 daily totals, 0 corrected.\n",
    )
    assert carbonapi("usages", "rebuild-totals", "--organization", "3") == (1, "Error: There is no organization 3.\n")


def test_unreachable_database_is_reported_in_a_sentence():
    environ = {
        "CARBONAPI_DATABASE_URL": "postgresql://carbonapi@127.0.0.1:1/carbonapi",
        "CARBONAPI_SECRET_KEY": SECRET_KEY,
    }

    result = CliRunner().invoke(main, ["usages", "rebuild-totals"], env=environ)

    assert (result.exit_code, result.output) == (1, "Error: The database is unavailable. Try again shortly.\n")


def test_terminal_shows_the_progress_of_an_import(carbonapi, fresh_database_url, tmp_path):
    carbonapi("users", "add", "--role", "manager", *ADA)
    file = tmp_path / "usages.csv"
    # Few steps: the buffer of a terminal holds 4 KiB.
    file.write_text("usage_at,amount\n" + "".join(f"2024-01-01T00:00:00.{n:06}Z,1\n" for n in range(5000)))
    environ = os.environ | {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}
    command = ("usages", "import", str(file), "--user", "ada@example.org", "--usage-type", "100")
    ours, theirs = pty.openpty()

    done = subprocess.run(
        [sys.executable, "-m", "carbonapi.commands", *command],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )

    shown = os.read(ours, 65_536).decode()
    os.close(ours), os.close(theirs)
    assert (done.returncode, done.stdout) == (0, "Recorded 5000 usages as import 1.\n")
    steps = [int(percent) for percent in re.findall(r" ([0-9]+)%", shown)]
    assert len(set(steps)) > 2
    assert steps == sorted(steps) and steps[-1] == 100


def test_second_migration_changes_nothing(carbonapi):
    assert carbonapi("migrate")[0] == 0
    assert carbonapi("migrate")[0] == 0


def test_openapi_document_can_be_printed(carbonapi):
    code, text = carbonapi("openapi")

    assert (code, json.loads(text)["openapi"]) == (0, "3.1.0")


def test_invalid_setting_is_reported_in_a_sentence(fresh_database_url):
    environ = {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": "short"}

    result = CliRunner().invoke(main, ["openapi"], env=environ)

    assert result.exit_code == 1
    assert result.output.startswith("Error: CARBONAPI_SECRET_KEY must be 32 bytes or longer")
