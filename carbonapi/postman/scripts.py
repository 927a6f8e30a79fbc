"""The test script of a Postman request, in JavaScript: it checks the response and saves values of it in variables."""

import json
from collections.abc import Iterator
from typing import Any

from ..rest.errors import STATUS
from .requests import Request


def test_script(request: Request, operation: dict[str, Any], document: dict[str, Any]) -> tuple[str, ...]:
    """Return the lines of the script: checks against the OpenAPI document, then those of the request."""
    status = str(STATUS[request.error] if request.error else request.status or _success_status(operation))
    return tuple(_lines(request, status, _resolved(operation["responses"][status], document), document))


def _success_status(operation: dict[str, Any]) -> int:
    """Return the usual status for success. Only requests with `Prefer: respond-async` get 202."""
    return max(int(status) for status in operation["responses"] if status.startswith("2") and status != "202")


def _lines(request: Request, status: str, response: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    yield _test(f"Status {status}", f"pm.response.to.have.status({status})")
    headers = {name for name, header in response.get("headers", {}).items() if header["required"]}
    for name in sorted(headers):
        yield _test(f"Header {name}", f"pm.response.to.have.header({json.dumps(name)})")
    content = response.get("content", {})
    if not content:
        yield _test("No body", 'pm.expect(pm.response.text()).to.eql("")')
    else:
        media_type = next(iter(content))
        header = 'pm.response.headers.get("Content-Type")'
        yield _test(f"Media type {media_type}", f"pm.expect({header}).to.include({json.dumps(media_type)})")
        if media_type.endswith("json"):
            yield "const answer = pm.response.json();"
            yield from _fields(content[media_type]["schema"], document)
    for expression, value in request.expects.items():
        expected = json.dumps(value, ensure_ascii=False)
        yield _test(f"{expression} is {expected}", f"pm.expect({expression}).to.eql({expected})")
    for variable, expression in request.saves.items():
        yield f"pm.collectionVariables.set({json.dumps(variable)}, {expression});"


def _fields(schema: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """Yield checks that the response, or each row of a list, has the fields that its schema requires."""
    if schema.get("type") == "array":
        yield _test("List", 'pm.expect(answer).to.be.an("array")')
        names, answers = _required(schema["items"], document), "answer.forEach(row => pm.expect(row)"
        closing = ")"
    else:
        names, answers, closing = _required(schema, document), "pm.expect(answer)", ""
    if names:
        yield _test("Required fields", f"{answers}.to.include.all.keys({json.dumps(names)}){closing}")


def _required(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    return sorted(_resolved(schema, document).get("required", []))


def _resolved(part: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return a part of the document, or the part that its reference names."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    target: dict[str, Any] = document["components"][kind][name]
    return target


def _test(name: str, expectation: str) -> str:
    return f"pm.test({json.dumps(name, ensure_ascii=False)}, () => {{ {expectation}; }});"
