"""The Postman collection: complete, the one in docs/, and a course that newman runs to its end without a failure."""

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
    """A function that runs a command on a fresh database and returns what it printed."""
    environ = {"CARBONAPI_DATABASE_URL": fresh_database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}

    def run(*arguments):
        outcome = CliRunner().invoke(main, arguments, env=environ)
        assert outcome.exit_code == 0, outcome.output
        return outcome.output

    return run


@pytest.fixture
def document(stranger):
    return stranger.get("/openapi.json").json


@pytest.fixture
def newman(fresh_database_url, tmp_path):
    """A function that runs the collection against a service that has just been started, and gives newman's report."""
    with serving(fresh_database_url, SECRET_KEY) as url:

        def run(**variables):
            given = [f"--env-var={name}={value}" for name, value in {"base_url": url, **variables}.items()]
            report = tmp_path / "report.json"
            command = [NEWMAN, "run", FILE, "--reporters=json", f"--reporter-json-export={report}", *given]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            run = json.loads(report.read_text())["run"]
            assert (run["failures"], done.returncode) == ([], 0), json.dumps(run["failures"], indent=1)[:5000]
            return run["stats"]

        yield run


def test_the_file_in_docs_is_what_the_command_makes(carbonapi):
    assert FILE.read_text() == carbonapi("postman")


def test_the_service_gives_the_same_to_anybody(stranger):
    answer = stranger.http.get("/postman.json")

    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json == json.loads(FILE.read_text())


def test_every_operation_is_in_the_course(document):
    operations = {
        operation["operationId"]
        for methods in document["paths"].values()
        for method, operation in methods.items()
        if method != "parameters"
    }

    assert {step.operation for chapter in CHAPTERS for step in chapter.steps} == operations


def test_its_folders_are_the_tags_of_the_document_in_their_order(document):
    folders = [folder["name"] for folder in json.loads(FILE.read_text())["item"]]

    assert folders == [*(tag["name"] for tag in document["tags"]), "Removing", "Administration"]


def test_what_is_deleted_is_deleted_at_the_end():
    for folder in json.loads(FILE.read_text())["item"][:-2]:
        assert "DELETE" not in {request["request"]["method"] for request in folder["item"]}, folder["name"]


def test_every_request_asks_for_no_variable_before_it_is_set():
    collection = json.loads(FILE.read_text())
    known = {variable["key"] for variable in collection["variable"]}
    for folder in collection["item"]:
        for request in folder["item"]:
            scripts = {event["listen"]: "\n".join(event["script"]["exec"]) for event in request["event"]}
            known |= set(variables_set(scripts.get("prerequest", "")))
            asked = set(variables_in(json.dumps(request["request"])))
            assert asked <= known, request["name"]
            known |= set(variables_set(scripts["test"]))


def variables_in(text):
    return [part.partition("}}")[0] for part in text.split("{{")[1:]]


def variables_set(script):
    return [part.partition('"')[0] for part in script.split('pm.collectionVariables.set("')[1:]]


@pytest.mark.newman
def test_newman_runs_the_course_on_a_fresh_start_and_again(newman):
    first, second = newman(), newman()

    assert first["assertions"]["total"] > 300
    assert (first["requests"], first["assertions"]) == (second["requests"], second["assertions"])


@pytest.mark.newman
def test_newman_runs_the_last_chapter_for_an_admin(newman, carbonapi):
    without = newman()
    account = {"email": "root@example.org", "password": factories.PASSWORD}
    given = [f"--{name}={value}" for name, value in account.items()]
    carbonapi("users", "add", "--role=admin", "--name=Root", "--organization=Operators", *given)

    with_admin = newman(**{f"admin_{name}": value for name, value in account.items()})

    assert with_admin["requests"]["total"] - without["requests"]["total"] == len(CHAPTERS[-1].steps)
