"""schemathesis: generated requests with all its checks, and sequences of requests that follow from each other."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .report import Part

PROJECT = Path(__file__).resolve().parents[2]
CONFIGURATION = PROJECT / "tests" / "schemathesis.toml"
PHASES = ("Examples", "Coverage", "Fuzzing", "Stateful")
# Coverage sends thousands of requests, however few examples are wanted.
SHORT_PHASES = ("Examples", "Fuzzing", "Stateful")
SHORT_EXAMPLES = 10
ROLE = "manager"
SECONDS = 7200


def phases(examples):
    """Return the phases to run with this number of examples for each operation."""
    return PHASES if examples > SHORT_EXAMPLES else SHORT_PHASES


def command(url, examples, phases=PHASES):
    """Return the arguments of Python for a run with this number of generated requests for each operation."""
    options = ["--checks", "all", "--max-examples", str(examples), "--continue-on-failure"]
    options += ["--phases", ",".join(phases).lower()]
    return ["schemathesis.cli", "--config-file", str(CONFIGURATION), "run", f"{url}/openapi.json", *options]


def environ(service_database_url, secret_key, role):
    """Return the environment that tests/support/schemathesis_hooks.py needs."""
    return {
        "CARBONAPI_DATABASE_URL": service_database_url,
        "CARBONAPI_SECRET_KEY": secret_key,
        "CARBONAPI_TEST_ROLE": role,
        "PYTHONPATH": str(PROJECT),
        "NO_COLOR": "1",
    }


def run(service, operations, examples):
    part = Part("schemathesis")
    variables = environ(service.database_url, service.secret_key, ROLE)
    with tempfile.TemporaryDirectory(prefix="carbonapi-attack-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", *command(service.url, examples)],
            cwd=folder,
            env=os.environ | variables,
            text=True,
            capture_output=True,
            timeout=SECONDS,
        )
    report = done.stdout
    if done.returncode != 0:
        part.failures.append(report[report.find("FAILURES") :][:20_000] + done.stderr[-2_000:])
    for phase in PHASES:
        part.expect(f"✅ {phase}\n" in report, f"the phase {phase} has not succeeded")
    if f"Tested: {len(operations)}\n" in report:
        part.reached |= {operation.id for operation in operations}
    part.figures["examples each"] = examples
    part.reaches({operation.id for operation in operations})
    return part
