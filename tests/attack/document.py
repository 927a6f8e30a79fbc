"""The operations of the OpenAPI document, and valid requests for each."""

import itertools
import json
import re
from dataclasses import dataclass

from tests.support.documents import examples_of, object_schema, takes_array

METHODS = ("get", "post", "put", "patch", "delete")
UNKNOWN_ID = 2**62
numbers = itertools.count(1)


@dataclass(frozen=True)
class Operation:
    """A method of a path, as the document describes it."""

    id: str
    method: str
    template: str
    parameters: list
    media: dict
    properties: dict  # The schemas of the JSON body by field.
    statuses: list
    is_open: bool
    takes_refresh_token: bool
    takes_array: bool

    @property
    def path_ids(self):
        return re.findall(r"\{(\w+)\}", self.template)

    @property
    def query(self):
        """Return the schemas of the query parameters by name."""
        return {found["name"]: found["schema"] for found in self.parameters if found["in"] == "query"}

    @property
    def required(self):
        """Return the examples of the required query parameters by name."""
        required = [found for found in self.parameters if found["in"] == "query" and found.get("required")]
        return {found["name"]: found["schema"].get("example", found.get("example")) for found in required}

    def path(self, ids):
        return re.sub(r"\{(\w+)\}", lambda name: str(ids[name[1]]), self.template)

    def body(self, **changes):
        """Return the documented example of a JSON body, with unique names and e-mail addresses."""
        example = dict(examples_of(self.media["application/json"])[0])
        number = next(numbers)
        if "email" in example:
            example["email"] = f"user{number}@example.org"
        if "name" in example:
            example["name"] = f"Name {number}"
        return example | changes

    def sending(self, **changes):
        """Return the arguments of `Service.ask` for a valid body, if the operation takes one."""
        if "application/json" in self.media:
            return {"json_body": self.body(**changes)}
        if "text/csv" in self.media:
            return {"content": self.media["text/csv"]["example"].encode(), "content_type": "text/csv"}
        return {}


def operations_of(service):
    """Return the operations of the service's document."""
    document = json.loads(service.ask("GET", "/openapi.json").content)
    found = []
    for template, methods in document["paths"].items():
        shared = methods.get("parameters", [])
        for method in METHODS:
            if method not in methods:
                continue
            described = methods[method]
            media = described.get("requestBody", {}).get("content", {})
            body = media.get("application/json", {}).get("schema", {})
            schema = _resolve(document, object_schema(body))
            parameters = [_resolve(document, part) for part in shared + described.get("parameters", [])]
            security = [kind for scheme in described["security"] for kind in scheme]
            found.append(
                Operation(
                    described["operationId"],
                    method.upper(),
                    template,
                    parameters,
                    media,
                    schema.get("properties", {}),
                    list(described["responses"]),
                    is_open=not security,
                    takes_refresh_token="refresh_token" in security,
                    takes_array=takes_array(body),
                )
            )
    return found


def _resolve(document, part):
    """Return the target of a reference, or the part itself."""
    if "$ref" in part:
        names = part["$ref"].removeprefix("#/").split("/")
        part = document
        for name in names:
            part = part[name]
    return part
