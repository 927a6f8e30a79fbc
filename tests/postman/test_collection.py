"""The Postman collection: it is complete, current in docs/, and newman runs it without a failure."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from carbonapi.commands import main
from carbonapi.postman.chapters import CHAPTERS
from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.servers import serving

PROJECT = Path(__file__).resolve().parents[2]
FILE = PROJECT / "docs/carbonapi.postman_collection.json"
NEWMAN = PROJECT / ".venv/node/node_modules/.bin/newman"


@pytest.fixture
def carbonapi(fresh_database_url):
    """Return a function that runs a command on a new database, and returns its output."""
    environ = {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}

    def run(*arguments):
        result = CliRunner().invoke(main, arguments, env=environ)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def document(stranger):
    return stranger.get("/openapi.json").json


@pytest.fixture
def newman(fresh_database_url, tmp_path):
    """Return a function that runs the collection against a new service, and returns the statistics of newman."""
    with serving(fresh_database_url, SECRET_KEY) as url:

        def run(**variables):
            options = [f"--env-var={name}={value}" for name, value in {"base_url": url, **variables}.items()]
            report = tmp_path / "report.json"
            command = [NEWMAN, "run", FILE, "--reporters=json", f"--reporter-json-export={report}", *options]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            run = json.loads(report.read_text())["run"]
            assert (run["failures"], done.returncode) == ([], 0), json.dumps(run["failures"], indent=1)[:5000]
            return run["stats"]

        yield run


def test_file_in_docs_is_current(carbonapi):
    assert FILE.read_text() == carbonapi("postman")


def test_service_publishes_the_collection(stranger):
    response = stranger.http.get("/postman.json")

    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.json == json.loads(FILE.read_text())


def test_every_operation_is_in_the_collection(document):
    operations = {
        operation["operationId"]
        for methods in document["paths"].values()
        for method, operation in methods.items()
        if method != "parameters"
    }

    assert {request.operation for chapter in CHAPTERS for request in chapter.requests} == operations


def test_folders_are_the_tags_in_their_order(document):
    folders = [folder["name"] for folder in json.loads(FILE.read_text())["item"]]

    assert folders == [*(tag["name"] for tag in document["tags"]), "Deletion", "Administration"]


def test_deletions_come_last():
    for folder in json.loads(FILE.read_text())["item"][:-2]:
        assert "DELETE" not in {request["request"]["method"] for request in folder["item"]}, folder["name"]


def test_requests_use_only_variables_that_are_set():
    collection = json.loads(FILE.read_text())
    known = {variable["key"] for variable in collection["variable"]}
    for folder in collection["item"]:
        for request in folder["item"]:
            scripts = {event["listen"]: "\n".join(event["script"]["exec"]) for event in request["event"]}
            known |= set(variables_set(scripts.get("prerequest", "")))
            used = set(variables_in(json.dumps(request["request"])))
            assert used <= known, request["name"]
            known |= set(variables_set(scripts["test"]))


def variables_in(text):
    return [part.partition("}}")[0] for part in text.split("{{")[1:]]


def variables_set(script):
    return [part.partition('"')[0] for part in script.split('pm.collectionVariables.set("')[1:]]


@pytest.mark.newman
def test_newman_runs_the_collection_twice(newman):
    first, second = newman(), newman()

    assert first["assertions"]["total"] > 300
    assert (first["requests"], first["assertions"]) == (second["requests"], second["assertions"])


@pytest.mark.newman
def test_newman_runs_the_admin_chapter(newman, carbonapi):
    without = newman()
    account = {"email": "root@example.org", "password": factories.PASSWORD}
    options = [f"--{name}={value}" for name, value in account.items()]
    carbonapi("users", "add", "--role=admin", "--name=Root", "--organization=Operators", *options)

    with_admin = newman(**{f"admin_{name}": value for name, value in account.items()})

    assert with_admin["requests"]["total"] - without["requests"]["total"] == len(CHAPTERS[-1].requests)
