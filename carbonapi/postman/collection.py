"""The Postman collection (format 2.1), built from the OpenAPI document and the chapters."""

import json
import re
from collections.abc import Iterable
from typing import Any

import flask

from ..auth import state
from ..rest import url_of
from .chapters import CHAPTERS
from .requests import Chapter, Request
from .scripts import test_script

pages = flask.Blueprint("postman", __name__)

DESCRIPTION = """\

This collection is a tutorial. Run it as a whole, from the first request to the last, or request by request. Set
`base_url` to the address of the service. The first request creates new e-mail addresses, so you can run the collection
again. Variables keep the tokens and the ids of created resources for later requests. The last folder is for admins: set
`admin_email` and `admin_password`, or Postman skips it.
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
    return flask.jsonify(build_collection(state().api.document, url_of("")))


def build_collection(document: dict[str, Any], base_path: str = "") -> dict[str, Any]:
    """Return the collection for an OpenAPI document, for a service below a base path."""
    variables = VARIABLES | {"base_url": f"{VARIABLES['base_url']}{base_path}"}
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
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": _bearer("token"),
        "variable": [{"key": name, "value": value} for name, value in variables.items()],
        "item": [_folder(chapter, tags, operations, document) for chapter in CHAPTERS],
    }


def _folder(
    chapter: Chapter, tags: dict[str, str], operations: dict[str, Any], document: dict[str, Any]
) -> dict[str, Any]:
    folder: dict[str, Any] = {
        "name": chapter.name,
        "description": chapter.description or tags[chapter.name],
        "item": [_request(request, operations[request.operation], document) for request in chapter.requests],
    }
    folder |= {"auth": _bearer(chapter.bearer)} if chapter.bearer else {}
    return folder | ({"event": [_event("prerequest", chapter.prerequest)]} if chapter.prerequest else {})


def _request(request: Request, operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return a request with the scripts that run before and after it."""
    sent: dict[str, Any] = {
        "method": operation["method"],
        "description": operation["description"],
        "header": [{"key": name, "value": value} for name, value in request.headers.items()],
        "url": _url(request, operation),
    }
    security = [name for schemes in operation["security"] for name in schemes]
    if not security:
        sent["auth"] = {"type": "noauth"}
    elif request.bearer or security != ["access_token"]:
        sent["auth"] = _bearer(request.bearer or BEARERS[security[0]])
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        sent["header"].insert(0, {"key": "Content-Type", "value": media_type})
        sent["body"] = _body(_example(content) if request.body is None else request.body)
        break
    events = [_event("prerequest", request.prerequest)] if request.prerequest else []
    events.append(_event("test", test_script(request, operation, document)))
    return {"name": request.name or operation["summary"], "event": events, "request": sent}


def _example(content: dict[str, Any]) -> Any:
    """Return the example of a body; of an object, if it can also be an array."""
    return content["example"] if "example" in content else content["examples"]["one"]["value"]


def _body(body: Any) -> dict[str, Any]:
    if isinstance(body, str):
        return {"mode": "raw", "raw": body}
    # Variables with an id become numbers.
    raw = re.sub(r'"(\{\{\w+_id\}\})"', r"\1", json.dumps(body, indent=2, ensure_ascii=False))
    return {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}


def _url(request: Request, operation: dict[str, Any]) -> dict[str, Any]:
    """Return the URL. The query parameters that the request does not use are present, but disabled."""
    path = re.sub(r"\{(\w+)\}", r"{{\1}}", operation["path"])
    used = [part.split("=", 1) for part in request.query.split("&") if part]
    url: dict[str, Any] = {
        "raw": f"{{{{base_url}}}}{path}" + (f"?{request.query}" if request.query else ""),
        "host": ["{{base_url}}"],
        "path": path.strip("/").split("/"),
    }
    query: list[dict[str, Any]] = [{"key": name, "value": value} for name, value in used]
    query += [
        {"key": parameter["name"], "value": "", "description": parameter["description"], "disabled": True}
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query" and parameter["name"] not in dict(used)
    ]
    return url | ({"query": query} if query else {})


def _bearer(variable: str) -> dict[str, Any]:
    return {"type": "bearer", "bearer": [{"key": "token", "value": f"{{{{{variable}}}}}", "type": "string"}]}


def _event(name: str, lines: Iterable[str]) -> dict[str, Any]:
    return {"listen": name, "script": {"type": "text/javascript", "exec": list(lines)}}
