"""What a Postman request checks of its answer, and what it keeps of it: a script in JavaScript."""

import json
from collections.abc import Iterator
from typing import Any

from ..rest.errors import STATUS
from .requests import Request


def script_of(step: Request, operation: dict[str, Any], document: dict[str, Any]) -> tuple[str, ...]:
    """The lines of the script: by the OpenAPI document its status, media type, headers and fields; then by the step."""
    status = str(STATUS[step.fails] if step.fails else step.status or _usual_status(operation))
    return tuple(_lines(step, status, _resolved(operation["responses"][status], document), document))


def _usual_status(operation: dict[str, Any]) -> int:
    """That of an answer which does what was asked; 202 is only for who prefers it."""
    return max(int(status) for status in operation["responses"] if status.startswith("2") and status != "202")


def _lines(step: Request, status: str, response: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    yield _test(f"It is {status}", f"pm.response.to.have.status({status})")
    headers = {name for name, header in response.get("headers", {}).items() if header["required"]}
    for name in sorted(headers):
        yield _test(f"It has the header {name}", f"pm.response.to.have.header({json.dumps(name)})")
    content = response.get("content", {})
    if not content:
        yield _test("It has no body", 'pm.expect(pm.response.text()).to.eql("")')
    else:
        media_type = next(iter(content))
        header = 'pm.response.headers.get("Content-Type")'
        yield _test(f"It is {media_type}", f"pm.expect({header}).to.include({json.dumps(media_type)})")
        if media_type.endswith("json"):
            yield "const answer = pm.response.json();"
            yield from _fields(content[media_type]["schema"], document)
    for expression, value in step.expects.items():
        shown = json.dumps(value, ensure_ascii=False)
        yield _test(f"{expression} is {shown}", f"pm.expect({expression}).to.eql({shown})")
    for variable, expression in step.keeps.items():
        yield f"pm.collectionVariables.set({json.dumps(variable)}, {expression});"


def _fields(schema: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """Checks that the answer has the fields that its schema requires; of a list, each of its rows."""
    if schema.get("type") == "array":
        yield _test("It is a list", 'pm.expect(answer).to.be.an("array")')
        names, answers = _required(schema["items"], document), "answer.forEach(row => pm.expect(row)"
        closing = ")"
    else:
        names, answers, closing = _required(schema, document), "pm.expect(answer)", ""
    if names:
        yield _test("It has its fields", f"{answers}.to.include.all.keys({json.dumps(names)}){closing}")


def _required(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    return sorted(_resolved(schema, document).get("required", []))


def _resolved(part: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """A part of the document, or that to which it refers."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    found: dict[str, Any] = document["components"][kind][name]
    return found


def _test(name: str, expectation: str) -> str:
    return f"pm.test({json.dumps(name, ensure_ascii=False)}, () => {{ {expectation}; }});"
