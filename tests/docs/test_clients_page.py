"""The ten jobs of docs/clients.md do what they say, in Python and JavaScript; test_readme.py does those of curl."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.apps import SECRET_KEY
from tests.support.servers import serving

TEXT = (Path(__file__).parents[2] / "docs/clients.md").read_text()
PRINTED = re.compile(r"^ *(?:print|console\.log)\(.*\);? +(?:#|//) (.*)$", re.M)


@pytest.fixture
def told(fresh_database_url, tmp_path):
    """A function that runs the text's blocks of a language, and gives what they print and what they say that is."""

    def run(language, program, ending):
        code = "\n".join(re.findall(rf"```{language}\n(.*?)```", TEXT, re.S))
        with serving(fresh_database_url, SECRET_KEY) as url:
            file = tmp_path / f"jobs.{ending}"
            file.write_text(code.replace("http://127.0.0.1:8000", url))
            done = subprocess.run([program, file], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), PRINTED.findall(code)

    return run


def test_every_job_is_there_in_every_language():
    jobs = re.split(r"^## ", TEXT, flags=re.M)[1:]

    assert len(jobs) == 10
    for job in jobs:
        assert all(f"```{language}\n" in job for language in ("console", "python", "javascript")), job


def test_python_does_them(told):
    printed, expected = told("python", sys.executable, "py")

    assert printed == expected
    assert len(printed) == 12


@pytest.mark.typescript
def test_javascript_does_them(told):
    printed, expected = told("javascript", "node", "mjs")

    assert printed == expected
    assert len(printed) == 11
