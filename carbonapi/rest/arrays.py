"""POST of several elements at once: a JSON array in place of the object. All are written, or none."""

from typing import Any

import marshmallow as ma

from .query import Schema

MAX_ELEMENTS = 1000


class ObjectOrArray(Schema):
    """Loads an object with a schema, or each object of an array. Errors of elements are by index, then by field."""

    def __init__(self, element: ma.Schema) -> None:
        super().__init__()
        self.element = element

    def load(self, data: Any, **options: Any) -> Any:
        """Return the fields of the object, or a list of those of each element. Raise ma.ValidationError."""
        if not isinstance(data, list):
            return self.element.load(data, **options)
        if not 1 <= len(data) <= MAX_ELEMENTS:
            message = f"An array must have 1 to {MAX_ELEMENTS} elements, not {len(data)}."
            raise ma.ValidationError({"_schema": [message]})
        loaded, errors = [], {}
        for index, each in enumerate(data):
            # One by one: `many` would skip the checks of a whole element if any other element has an error.
            try:
                loaded.append(self.element.load(each, **options))
            except ma.ValidationError as error:
                errors[index] = error.messages
        if errors:
            raise ma.ValidationError(errors)
        return loaded


def request_doc(element: ma.Schema) -> dict[str, Any]:
    """Return the OpenAPI description of a body that is an object or an array."""
    array = {"type": "array", "items": element, "minItems": 1, "maxItems": MAX_ELEMENTS}
    return {"content": {"application/json": {"schema": {"oneOf": [element, array]}}}}


def response_doc(element: type[ma.Schema], array: type[ma.Schema]) -> dict[str, Any]:
    """Return the OpenAPI description of the response to either."""
    return {"content": {"application/json": {"schema": {"oneOf": [element, array]}}}}
