"""The test script of a Postman request, in JavaScript: it checks the response and saves values of it in variables."""

import json
from collections.abc import Iterator
from typing import Any

from ..rest.errors import STATUS
from .requests import Request


def test_script(request: Request, operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the script: checks against the OpenAPI document, then those of the request."""
    # Only requests with `Prefer: respond-async` get 202.
    success = max(status for status in operation["responses"] if status.startswith("2") and status != "202")
    status = str(STATUS[request.error] if request.error else request.status or success)
    response = _resolved(operation["responses"][status], document)
    yield _test(f"Status {status}", f"pm.response.to.have.status({status})")
    for name in sorted(name for name, header in response.get("headers", {}).items() if header["required"]):
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
            yield from _fields(_chosen(content[media_type]["schema"], request), document)
    for expression, value in request.expects.items():
        expected = json.dumps(value, ensure_ascii=False)
        yield _test(f"{expression} is {expected}", f"pm.expect({expression}).to.eql({expected})")
    for variable, expression in request.saves.items():
        yield f"pm.collectionVariables.set({json.dumps(variable)}, {expression});"


def _chosen(schema: dict[str, Any], request: Request) -> dict[str, Any]:
    """Return the schema of the response, which can depend on whether an object or an array is sent."""
    choices = schema.get("oneOf", [schema, schema])
    return dict(choices[isinstance(request.body, list)])


def _fields(schema: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """Yield checks that the response, or each row of a list, has the fields that its schema requires."""
    is_list = schema.get("type") == "array"
    if is_list:
        yield _test("List", 'pm.expect(answer).to.be.an("array")')
    names = sorted(_resolved(schema["items"] if is_list else schema, document).get("required", []))
    has_fields = f"to.include.all.keys({json.dumps(names)})"
    if names:
        check = f"answer.forEach(row => pm.expect(row).{has_fields})" if is_list else f"pm.expect(answer).{has_fields}"
        yield _test("Required fields", check)


def _resolved(part: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return a part of the document, or the part that its reference names."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    return dict(document["components"][kind][name])


def _test(name: str, expectation: str) -> str:
    return f"pm.test({json.dumps(name, ensure_ascii=False)}, () => {{ {expectation}; }});"
