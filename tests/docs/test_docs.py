"""What the README and the docs say is so: their commands answer what they show, the table has every setting."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from carbonapi.settings import SETTINGS
from tests.support.apps import SECRET_KEY
from tests.support.servers import serving

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()
TOUR = README.partition("\n## A tour\n")[2].partition("\n## ")[0]
AFTERNOON = (PROJECT / "docs/an-auditors-afternoon.md").read_text()
JOBS = (PROJECT / "docs/clients.md").read_text()


def steps(text):
    """The commands of a text with the answers that stand below them."""
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for step in re.split(r"^\$ ", block, flags=re.M)[1:]:
            lines = step.splitlines()
            length = next(
                number
                for number, line in enumerate(lines, 1)
                if not line.endswith(("\\", "|")) and not (number < len(lines) and lines[number].startswith("    "))
            )
            yield "\n".join(lines[:length]), "\n".join(lines[length:])


@pytest.fixture
def shell(fresh_database_url, tmp_path):
    """A function that runs commands in one shell, against a service that has just been started."""
    (tmp_path / "curl").symlink_to(PROJECT / "tests/curl.py")
    (tmp_path / "python3").symlink_to(sys.executable)
    (tmp_path / "tests").symlink_to(PROJECT / "tests")
    with serving(fresh_database_url, SECRET_KEY) as url:

        def run(commands):
            script = "\n".join(f"{command}\nprintf '\\0'" for command in commands)
            environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
            script = script.replace("http://127.0.0.1:8000", url)
            done = subprocess.run(
                ["bash", "-c", script], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
            )
            return done.stdout.split("\0")[:-1]

        yield run


@pytest.mark.parametrize(
    ("text", "least"), [(TOUR, 15), (AFTERNOON, 40), (JOBS, 20)], ids=["tour", "afternoon", "jobs"]
)
def test_commands_answer_what_is_shown(shell, text, least):
    commands, expected = zip(*steps(text), strict=True)
    assert len(commands) >= least

    for command, shown, answered in zip(commands, expected, shell(commands), strict=True):
        pattern = ".+".join(re.escape(part) for part in shown.strip().split("…"))
        assert re.fullmatch(pattern, answered.strip(), re.S), f"{command}\n{answered}"


def test_every_setting_stands_in_the_table():
    rows = re.findall(r"^\| `(CARBONAPI_\w+)` \| (.*) \| (.*) \|$", README, re.M)

    assert rows == [
        (setting.variable, setting.description, "none" if setting.default is None else f"`{setting.default}`")
        for setting in SETTINGS
    ]


def test_every_room_is_named():
    rooms = {path.name for path in (PROJECT / "carbonapi").iterdir() if path.is_dir() and path.name[0] != "_"}

    assert all(f"`{room}/`" in README for room in rooms)


def test_both_commands_are_make_targets():
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.M))

    assert set(re.findall(r"^make ([a-z]+)", README, re.M)) <= targets
    assert {"run", "test", "check"} <= targets


def test_files_that_the_readme_names_are_there():
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_.-]+\.\w+)`", README)) | {
        "LICENSE",
        ".env.example",
        "requirements.lock",
    }

    assert [name for name in named if not (PROJECT / name).exists()] == []
