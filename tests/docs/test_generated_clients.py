"""The OpenAPI document as other tools read it: schemathesis and generators of clients."""

import datetime as dt
import importlib
import json
import os
import shutil
import subprocess
import sys
import typing
import urllib.request
from pathlib import Path

import pytest

from carbonapi.settings import DEFAULTS
from tests.attack import fuzzing
from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.servers import serving

PROJECT = Path(__file__).resolve().parents[2]
# These change or end the session of the user who calls them.
CHANGES_OWN_SESSION = ("change_password", "change_yourself", "end_session", "log_out", "refresh_tokens")
thorough = pytest.mark.thorough  # `make schemathesis` runs these.


@pytest.fixture
def service(fresh_database_url):
    # schemathesis sends more requests than the rate limits allow.
    unlimited = {name: 0 for name in DEFAULTS if name.startswith("RATE_LIMIT_")}
    with serving(fresh_database_url, SECRET_KEY, **unlimited) as url:
        yield url


def run(folder, *command, **environ):
    """Run a Python module as a program, which must succeed, and return its output."""
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1", **environ}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=folder, env=environ, text=True, capture_output=True, timeout=900
    )
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"
    return done.stdout


def count_operations(service):
    with urllib.request.urlopen(f"{service}/openapi.json") as answer:
        return sum(len(methods.keys() - {"parameters"}) for methods in json.load(answer)["paths"].values())


@thorough
@pytest.mark.parametrize("role", ["admin", "manager"])
def test_responses_conform_to_the_document(service, fresh_database_url, tmp_path, role):
    examples = 50  # Random requests for each operation, besides those that its schema requires.
    phases = fuzzing.phases(examples)
    report = run(
        tmp_path,
        *fuzzing.command(service, examples, phases),
        **fuzzing.environ(fresh_database_url, SECRET_KEY, role),
    )

    assert f"Tested: {count_operations(service)}\n" in report
    for phase in phases:
        assert f"✅ {phase}\n" in report


@thorough
def test_other_organizations_stay_hidden_from_schemathesis(service, tmp_path):
    people = []
    for name in ("alice", "bob"):
        credentials = {"email": f"{name}@example.org", "password": factories.PASSWORD}
        post(f"{service}/api/v1/auth/register", {**credentials, "name": name})
        token = post(f"{service}/api/v1/auth/login", credentials)["access_token"]
        people.append({"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]})
    (tmp_path / "people.json").write_text(json.dumps({"auth": people}))
    (tmp_path / "peers.toml").write_text(
        'hooks = "tests.support.schemathesis_files"\ncache.enabled = false\ngeneration.database = "none"\n'
        '[auth.wfc]\npath = "people.json"\npeers = ["alice", "bob"]\n'
    )
    excluded = [option for name in CHANGES_OWN_SESSION for option in ("--exclude-operation-id", name)]

    report = run(
        tmp_path,
        *("schemathesis.cli", "--config-file", "peers.toml", "run", f"{service}/openapi.json"),
        *("--checks", "object_level_authorization", "--max-examples", 50, *excluded),
    )

    assert f"Tested: {count_operations(service) - len(excluded) // 2}\n" in report


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def client(shared_app, tmp_path_factory):
    """Yield a function that returns a module of a generated client, such as client("api.auth.log_in")."""
    tmp_path = tmp_path_factory.mktemp("client")
    (tmp_path / "openapi.json").write_bytes(shared_app.test_client().get("/openapi.json").data)
    # The generator does not know files by their media types. Post hooks would run tools of this machine.
    kinds = ", ".join(f"{kind}: application/octet-stream" for kind in ("text/csv", "application/x-ndjson"))
    (tmp_path / "config.yml").write_text(f"content_type_overrides: {{{kinds}}}\npost_hooks: []\n")
    output = run(
        tmp_path,
        *("openapi_python_client", "generate", "--path", "openapi.json", "--config", "config.yml"),
        *("--meta", "none", "--output-path", "generated_client"),
    )
    assert output.strip() == "Generating generated_client"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        yield lambda name: importlib.import_module(f"generated_client.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "generated_client"]:
        del sys.modules[name]


def test_python_client_records_reads_and_corrects(service, client):
    models = client("models")
    credentials = {"email": "ada@example.org", "password": factories.PASSWORD}
    january = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    file = client("types").File(payload=b"usage_at,amount\n2026-02-01T00:00:00Z,3\n")

    with client("client").Client(base_url=service) as anonymous:
        ada = client("api.auth.register_organization").sync(
            client=anonymous, body=models.Registration(**credentials, name="Ada")
        )
        tokens = client("api.auth.log_in").sync(client=anonymous, body=models.Credentials(**credentials))
    with client("client").AuthenticatedClient(base_url=service, token=tokens.access_token) as logged_in:
        recorded = client("api.usages.record_usage").sync(
            client=logged_in, body=models.NewUsage(usage_type_id=100, usage_at=january, amount="12.5")
        )
        several = client("api.usages.record_usage").sync(
            client=logged_in,
            body=[
                models.NewUsage(usage_type_id=101, usage_at=january, amount="1"),
                models.NewUsage(usage_type_id=101, usage_at=january, amount="2"),
            ],
        )
        invalid = client("api.usages.record_usage").sync(
            client=logged_in, body=[models.NewUsage(usage_type_id=101, usage_at=january, amount="-1")]
        )
        several_deleted = client("api.usages.delete_usages").sync_detailed(client=logged_in, id=several.ids)
        imported = client("api.imports.import_usages").sync(client=logged_in, body=file, usage_type_id=100)
        listed = client("api.usages.list_usages").sync(
            client=logged_in, start=dt.date(2026, 1, 1), quality=[models.ListUsagesQualityItem.MEASURED]
        )
        months = client("api.emissions.get_trend").sync(client=logged_in, bucket=models.GetTrendBucket.MONTH)
        corrected = client("api.usages.correct_usage").sync(
            recorded.id, client=logged_in, body=models.UsageChanges(amount="12.75"), if_match='"1"'
        )
        rejected = client("api.usages.correct_usage").sync(
            recorded.id, client=logged_in, body=models.UsageChanges(amount="13"), if_match='"1"'
        )
        explained = client("api.usages.explain_usage").sync(recorded.id, client=logged_in)
        exported = client("api.exports.export_usages").sync_detailed(client=logged_in, usage_type_id=[100])
        deleted = client("api.usages.delete_usage").sync_detailed(recorded.id, client=logged_in)
        missing = client("api.usages.get_usage").sync(client=logged_in, usage_id=recorded.id)

    assert (ada.role, ada.name) == (models.UserRole.MANAGER, "Ada")
    assert (recorded.amount, recorded.co2e_kg, recorded.usage_at) == (12.5, 18.75, january)
    assert (recorded.user_id, recorded.region) == (ada.id, None)
    assert len(several.ids) == 2
    assert several_deleted.status_code == 204
    assert invalid.errors["json"]["0"].to_dict() == {"amount": ["Must not be negative."]}
    assert imported.usage_count == 1
    assert [usage.amount for usage in listed] == [3, 12.5]
    assert listed[1] == recorded
    assert [(month.bucket_start.month, month.co2e_kg, month.unit) for month in months] == [
        (1, 18.75, "kwh"),
        (2, 4.5, "kwh"),
    ]
    assert (corrected.version, corrected.co2e_kg, corrected.note) == (2, 19.125, None)
    assert (rejected.status, rejected.title) == (412, "Precondition failed")
    assert explained.calculation == "12.75 kwh × 1.5 kg CO2e/kwh = 19.125 kg CO2e"
    assert len(exported.content.splitlines()) == 3
    assert deleted.status_code == 204
    assert isinstance(missing, models.Problem)
    assert (missing.status, missing.type_) == (404, "urn:carbonapi:problem:not-found")


def test_python_client_has_precise_types(client):
    unset = client("types").Unset
    new = typing.get_type_hints(client("models").NewUsage)
    usage = typing.get_type_hints(client("models").Usage)
    group = client("models.group").Group
    parts = {"Group": group, "PreviousBucket": client("models.previous_bucket").PreviousBucket}
    bucket = typing.get_type_hints(client("models").Bucket, localns=parts)
    answer = typing.get_type_hints(client("api.usages.list_usages").sync)["return"]

    assert (new["amount"], new["usage_at"], new["user_id"]) == (float | str, dt.datetime, int | unset)
    assert (usage["co2e_kg"], usage["recorded_at"], usage["region"]) == (float, dt.datetime, None | str)
    assert (bucket["bucket_start"], bucket["usage_count"], bucket["groups"]) == (dt.datetime, int, list[group] | unset)
    assert answer == client("models").Problem | list[client("models").Usage] | None


def test_python_client_passes_mypy(client):
    assert client("client")
    folder = Path(client("client").__file__).parents[1]

    output = run(folder, "mypy", "--strict", "generated_client", MYPYPATH=folder)

    assert output.startswith("Success: no issues found")


@pytest.mark.typescript
def test_typescript_client_records_reads_and_corrects(service, tmp_path):
    with urllib.request.urlopen(f"{service}/openapi.json") as answer:
        (tmp_path / "openapi.json").write_bytes(answer.read())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(PROJECT / ".venv/node/node_modules")
    shutil.copy(PROJECT / "tests/node/tour.ts", tmp_path)

    # Otherwise fields with a default would be required.
    run_node(tmp_path, "openapi-typescript", "openapi.json", "--default-non-nullable=false", "--output=api.ts")
    run_node(tmp_path, "tsc", "--strict", "--module", "nodenext", "--target", "es2022", "tour.ts")
    results = json.loads(run_node(tmp_path, "node", "tour.js", service))

    assert results == {
        "role": "manager",
        "recorded": 18.75,
        "several": 1,
        "listed": [12.5],
        "months": [["2026-01-01T00:00:00Z", 18.75]],
        "corrected": [2, 19.125],
        "late": 412,
        "explained": "12.75 kwh × 1.5 kg CO2e/kwh = 19.125 kg CO2e",
        "exported": 2,
        "deleted": 204,
        "mistyped": "boolean",
        "misspelt": ["strat"],
    }


def run_node(folder, program, *arguments):
    """Run Node.js or a program from npm, which must succeed, and return its output."""
    environ = {**os.environ, "PATH": f"{folder}/node_modules/.bin:{os.environ['PATH']}"}
    done = subprocess.run([program, *arguments], cwd=folder, env=environ, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
