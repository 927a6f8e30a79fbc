"""The Postman collection (format 2.1), made from the OpenAPI document and the course through it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import flask

from ..auth import state
from .chapters import CHAPTERS
from .requests import Chapter, Request
from .scripts import script_of

pages = flask.Blueprint("postman", __name__)

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
DESCRIPTION = """\

This collection is a course: run it whole, from the first request to the last, against a service with nothing in it, or
do it request by request. Set `base_url` to where the service runs. The first request makes up e-mail addresses, so that
it can be run again. Signing in keeps the tokens in variables, and what is made keeps its id in one, for later requests.
The last folder is for who runs the service: set `admin_email` and `admin_password`, or it is passed over.
"""
VARIABLES = {
    "base_url": "http://127.0.0.1:8000",
    "password": "unrelated words make good ones",
    "new_password": "quite other words for a change",
    "admin_email": "",
    "admin_password": "",
}
BEARERS = {"access_token": "token", "refresh_token": "refresh_token"}


@pages.get("/postman.json")
def postman() -> Any:
    return flask.jsonify(build_collection(state().api.document))


def build_collection(document: dict[str, Any]) -> dict[str, Any]:
    """The collection for this OpenAPI document."""
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    operations = {
        operation["operationId"]: operation | {"path": path, "method": method.upper()}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }
    return {
        "info": {
            "name": document["info"]["title"],
            "description": document["info"]["description"] + DESCRIPTION,
            "schema": SCHEMA,
        },
        "auth": _bearer("token"),
        "variable": [{"key": name, "value": value} for name, value in VARIABLES.items()],
        "item": [_folder(chapter, tags, operations, document) for chapter in CHAPTERS],
    }


def _folder(
    chapter: Chapter, tags: dict[str, str], operations: dict[str, Any], document: dict[str, Any]
) -> dict[str, Any]:
    requests = [_request(step, operations[step.operation], document) for step in chapter.steps]
    folder: dict[str, Any] = {
        "name": chapter.name,
        "description": chapter.description or tags[chapter.name],
        "item": requests,
    }
    folder |= {"auth": _bearer(chapter.bearer)} if chapter.bearer else {}
    return folder | ({"event": [_event("prerequest", chapter.first)]} if chapter.first else {})


def _request(step: Request, operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """A request with the scripts that go before and after it."""
    request: dict[str, Any] = {
        "method": operation["method"],
        "description": operation["description"],
        "header": [{"key": name, "value": value} for name, value in step.headers.items()],
        "url": _url(step, operation),
    }
    security = [name for kinds in operation["security"] for name in kinds]
    if not security:
        request["auth"] = {"type": "noauth"}
    elif step.bearer or security != ["access_token"]:
        request["auth"] = _bearer(step.bearer or BEARERS[security[0]])
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        body = content["example"] if step.body is None else step.body
        request["header"].insert(0, {"key": "Content-Type", "value": media_type})
        request["body"] = _body(body)
        break
    events = [_event("prerequest", step.first)] if step.first else []
    events.append(_event("test", script_of(step, operation, document)))
    return {"name": step.name or operation["summary"], "event": events, "request": request}


def _body(body: Any) -> dict[str, Any]:
    if isinstance(body, str):
        return {"mode": "raw", "raw": body}
    # An id is a number, and so are variables that hold one.
    raw = re.sub(r'"(\{\{\w+_id\}\})"', r"\1", json.dumps(body, indent=2, ensure_ascii=False))
    return {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}


def _url(step: Request, operation: dict[str, Any]) -> dict[str, Any]:
    """The address. What else the query could ask for is there to be switched on."""
    path = re.sub(r"\{(\w+)\}", r"{{\1}}", operation["path"])
    asked = [{"key": name, "value": value} for name, value in step.query]
    raw = "&".join(f"{argument['key']}={argument['value']}" for argument in asked)
    url: dict[str, Any] = {
        "raw": f"{{{{base_url}}}}{path}" + (f"?{raw}" if raw else ""),
        "host": ["{{base_url}}"],
        "path": path.strip("/").split("/"),
    }
    query = [*asked, *_further_arguments(step, operation)]
    return url | ({"query": query} if query else {})


def _further_arguments(step: Request, operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query" and parameter["name"] not in dict(step.query):
            yield {"key": parameter["name"], "value": "", "description": parameter["description"], "disabled": True}


def _bearer(variable: str) -> dict[str, Any]:
    return {"type": "bearer", "bearer": [{"key": "token", "value": f"{{{{{variable}}}}}", "type": "string"}]}


def _event(moment: str, lines: tuple[str, ...]) -> dict[str, Any]:
    return {"listen": moment, "script": {"type": "text/javascript", "exec": list(lines)}}
