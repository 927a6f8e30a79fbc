"""The Python and JavaScript examples of use-a-client.md print what they show; test_docs.py runs those of curl."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.apps import SECRET_KEY
from tests.support.servers import serving

TEXT = (Path(__file__).parents[2] / "docs/how-to/use-a-client.md").read_text()
PRINTED = re.compile(r"^ *(?:print|console\.log)\(.*\);? +(?:#|//) (.*)$", re.M)


@pytest.fixture
def run_examples(fresh_database_url, tmp_path):
    """Return a function that runs the examples of a language, and returns what they print and what the page shows."""

    def run(language, program, suffix):
        code = "\n".join(re.findall(rf"```{language}\n(.*?)```", TEXT, re.S))
        with serving(fresh_database_url, SECRET_KEY) as url:
            file = tmp_path / f"examples.{suffix}"
            file.write_text(code.replace("http://127.0.0.1:8000", url))
            done = subprocess.run([program, file], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), PRINTED.findall(code)

    return run


def test_every_job_has_every_language():
    jobs = re.split(r"^## ", TEXT, flags=re.M)[1:]

    assert len(jobs) == 10
    for job in jobs:
        assert all(f"```{language}\n" in job for language in ("console", "python", "javascript")), job


def test_python_examples_print_what_they_show(run_examples):
    printed, shown = run_examples("python", sys.executable, "py")

    assert printed == shown
    assert len(printed) == 13


@pytest.mark.typescript
def test_javascript_examples_print_what_they_show(run_examples):
    printed, shown = run_examples("javascript", "node", "mjs")

    assert printed == shown
    assert len(printed) == 12
