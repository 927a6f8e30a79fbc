"""The commands of the docs return what the docs show, and the files and links that they name exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.apps import SECRET_KEY
from tests.support.databases import as_owner
from tests.support.pgbouncer import pgbouncer
from tests.support.servers import serving

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
README = (PROJECT / "README.md").read_text()
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text()
PAGES = sorted([*DOCS.rglob("*.md"), *PROJECT.glob("*.md")])
FIRST_USAGE = (DOCS / "tutorials/first-usage.md").read_text()
AUDITORS_AFTERNOON = (DOCS / "tutorials/auditors-afternoon.md").read_text()
CLIENTS = (DOCS / "how-to/use-a-client.md").read_text()
# These begin where the first tutorial has logged in and imported a file.
BEGINNING = FIRST_USAGE.partition("\n## List usages\n")[0]
CORRECTIONS = BEGINNING + (DOCS / "how-to/correct-a-factor.md").read_text()
GREEN_BUTTON = BEGINNING + (DOCS / "how-to/import-green-button.md").read_text()
SCOPE_2 = BEGINNING + (DOCS / "how-to/both-scope-2-methods.md").read_text()
SECR = BEGINNING + (DOCS / "how-to/from-bills-to-secr.md").read_text()
SITES = BEGINNING + (DOCS / "how-to/sites-and-meters.md").read_text()
IMPORTS = BEGINNING + (DOCS / "how-to/import-a-csv.md").read_text()
EXPORTS = BEGINNING + (DOCS / "how-to/export-and-verify.md").read_text()


def steps(text):
    """Yield each command of a text, and the answer that is shown below it."""
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for step in re.split(r"^\$ ", block, flags=re.M)[1:]:
            lines = step.splitlines()
            length = next(
                number
                for number, line in enumerate(lines, 1)
                if not line.endswith(("\\", "|")) and not (number < len(lines) and lines[number].startswith("    "))
            )
            yield "\n".join(lines[:length]), "\n".join(lines[length:])


@pytest.fixture(params=["direct", pytest.param("pgbouncer", marks=pytest.mark.pgbouncer)])
def service_database_url(request, fresh_database_url):
    """The URL with which the service connects."""
    if request.param == "direct":
        yield fresh_database_url
    else:
        with pgbouncer(fresh_database_url) as url:
            yield url


@pytest.fixture
def run_commands(service_database_url, tmp_path):
    """Return a function that runs commands in one shell, against a service on a port of its own."""
    (tmp_path / "curl").symlink_to(shutil.which("curl") or PROJECT / "tests/support/curl.py")
    (tmp_path / "python3").symlink_to(sys.executable)
    (tmp_path / "carbonapi").symlink_to(PROJECT / "carbonapi")
    with serving(service_database_url, SECRET_KEY) as url:

        def run(commands):
            script = "\n".join(f"{command}\nprintf '\\0'" for command in commands)
            path = f"{tmp_path}:{os.environ['PATH']}"
            environ = {**os.environ, "PATH": path, "API": f"{url}/api/v1"}
            done = subprocess.run(
                ["bash", "-c", script], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
            )
            return done.stdout.split("\0")[:-1]

        yield run


@pytest.fixture
def demo_data(service_database_url, fresh_database_url):
    """Fill the database as `make demo` does."""
    environ = {
        **os.environ,
        "CARBONAPI_DATABASE_URL": service_database_url,
        "CARBONAPI_MIGRATION_DATABASE_URL": as_owner(fresh_database_url),
        "CARBONAPI_SECRET_KEY": SECRET_KEY,
    }
    command = [sys.executable, "-m", "carbonapi.commands", "demo"]
    done = subprocess.run(command, env=environ, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def assert_answers(run_commands, text, least):
    commands, expected = zip(*steps(text), strict=True)
    assert len(commands) >= least
    different = [
        f"$ {command}\n{answered}"
        for command, shown, answered in zip(commands, expected, run_commands(commands), strict=True)
        if not re.fullmatch(".+".join(re.escape(part) for part in shown.strip().split("…")), answered.strip(), re.S)
    ]
    assert not different, "\n".join(["The answers differ from those shown:", *different])


@pytest.mark.parametrize(
    ("text", "least"),
    [
        # The next test has the same commands, after `make demo`.
        pytest.param(FIRST_USAGE, 35, marks=pytest.mark.thorough, id="first-usage"),
        pytest.param(CLIENTS, 20, id="use-a-client"),
        pytest.param(IMPORTS, 20, id="import-a-csv"),
        pytest.param(EXPORTS, 15, id="export-and-verify"),
        pytest.param(GREEN_BUTTON, 20, id="import-green-button"),
        pytest.param(CORRECTIONS, 25, id="corrections"),
        pytest.param(SCOPE_2, 45, id="both-scope-2-methods"),
        pytest.param(SITES, 25, id="sites-and-meters"),
        pytest.param(SECR, 25, id="from-bills-to-secr"),
    ],
)
def test_commands_answer_as_shown(run_commands, text, least):
    assert_answers(run_commands, text, least)


def test_tutorials_work_in_order_after_make_demo(demo_data, run_commands):
    assert_answers(run_commands, FIRST_USAGE, 35)
    assert_answers(run_commands, AUDITORS_AFTERNOON, 40)


def test_readme_fits_in_eight_kilobytes():
    assert len(README.encode()) <= 8 * 1024


def test_readme_shows_a_real_answer():
    (request, shown), *_ = steps(README)
    recorded = next(shown for command, shown in steps(FIRST_USAGE) if command == "cat usage.json")

    assert "/api/v1/usages" in request
    fields = json.loads(shown.replace("\n", "").replace(", …", ""))
    tutorial = json.loads(re.sub(r"(?<=:)…", "1", recorded))
    assert fields == {name: tutorial[name] for name in fields}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(PROJECT)) for page in PAGES])
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        if not path.startswith("http"):
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            assert not heading or heading in anchors_of(file), target


def anchors_of(file):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_index_has_every_page():
    index = (DOCS / "README.md").read_text()
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}

    assert set(re.findall(r"\]\(([a-z-]+/[a-z0-9-]+\.md)\)", index)) == pages


def test_architecture_names_every_room():
    text = (DOCS / "explanation/architecture.md").read_text()
    rooms = {path.name for path in (PROJECT / "carbonapi").iterdir() if path.is_dir() and path.name[0] != "_"}

    assert [room for room in rooms if f"`{room}/`" not in text] == []


def test_make_targets_of_docs_exist():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.M))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.M)}

    assert named <= targets
    assert {"run", "test", "check", "docs"} <= named


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(PROJECT)) for page in PAGES])
def test_paths_of_docs_exist(page):
    named = set(re.findall(r"`((?:carbonapi|tests|docs|migrations|docker|tools)/[\w/.-]+\.\w+)`", page.read_text()))

    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_map_answers_twenty_questions():
    section = CONTRIBUTING.partition("\n## Where is …?\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+\?) \| `([^`]+)` \|$", section, re.M)

    assert len(rows) >= 20
    assert [path for _, path in rows if not (PROJECT / path).exists()] == []


def test_changelog_names_no_setting_that_is_gone():
    settings = (DOCS / "reference/settings.md").read_text()
    changes = (PROJECT / "CHANGELOG.md").read_text().partition("### Changed")[2]

    assert set(re.findall(r"CARBONAPI_[A-Z_]+[A-Z]", changes)) <= set(re.findall(r"CARBONAPI_\w+", settings))


def test_commands_are_named_carbonapi():
    for page in {*PAGES} - {PROJECT / "CHANGELOG.md"}:
        assert "-m carbonapi" not in page.read_text(), page
