"""The operations of the OpenAPI document, and right requests of each."""

import itertools
import json
import re
from dataclasses import dataclass

METHODS = ("get", "post", "put", "patch", "delete")
NOBODYS_ID = 2**62
numbers = itertools.count(1)


@dataclass(frozen=True)
class Operation:
    """A method of a path, as the document describes it."""

    id: str
    method: str
    template: str
    parameters: list
    media: dict
    properties: dict  # Of the JSON body, by name: their schemas.
    statuses: list
    is_open: bool
    takes_refresh_token: bool

    @property
    def path_ids(self):
        return re.findall(r"\{(\w+)\}", self.template)

    @property
    def query(self):
        """The schemas of the query arguments, by name."""
        return {found["name"]: found["schema"] for found in self.parameters if found["in"] == "query"}

    @property
    def required(self):
        """The query arguments that must be there, by name, with their examples."""
        needed = [found for found in self.parameters if found["in"] == "query" and found.get("required")]
        return {found["name"]: found["schema"].get("example", found.get("example")) for found in needed}

    def path(self, ids):
        return re.sub(r"\{(\w+)\}", lambda name: str(ids[name[1]]), self.template)

    def body(self, **changes):
        """The documented example of a JSON body, told apart from all others where rows must differ."""
        example = dict(self.media["application/json"]["example"])
        number = next(numbers)
        if "email" in example:
            example["email"] = f"somebody{number}@example.org"
        if "name" in example:
            example["name"] = f"Made {number}"
        return example | changes

    def sending(self, **changes):
        """What `Service.ask` needs to send a right body, if there must be one."""
        if "application/json" in self.media:
            return {"json_body": self.body(**changes)}
        if "text/csv" in self.media:
            return {"content": self.media["text/csv"]["example"].encode(), "content_type": "text/csv"}
        return {}


def operations_of(service):
    """The operations of the service's document."""
    document = json.loads(service.ask("GET", "/openapi.json").content)
    found = []
    for template, methods in document["paths"].items():
        shared = methods.get("parameters", [])
        for method in METHODS:
            if method not in methods:
                continue
            described = methods[method]
            media = described.get("requestBody", {}).get("content", {})
            schema = _followed(document, media.get("application/json", {}).get("schema", {}))
            parameters = [_followed(document, part) for part in shared + described.get("parameters", [])]
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
                )
            )
    return found


def _followed(document, part):
    """What a reference of the document refers to; anything else as it is."""
    if "$ref" in part:
        names = part["$ref"].removeprefix("#/").split("/")
        part = document
        for name in names:
            part = part[name]
    return part
