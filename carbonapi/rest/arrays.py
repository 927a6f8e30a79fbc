"""POST of several elements at once: a JSON array in place of the object. All are written, or none."""

from functools import lru_cache
from typing import Any

import marshmallow as ma

from .query import Schema

MAX_ELEMENTS = 1000
MAX_SCHEMAS = 100  # Of different sets of fields, for each operation.


class ObjectOrArray(Schema):
    """Loads an object with a schema, or each object of an array. Errors of elements are by index, then by field."""

    def __init__(self, element: ma.Schema) -> None:
        super().__init__()
        self.element = element
        self._with_fields = lru_cache(MAX_SCHEMAS)(self._without_other_fields)

    def load(self, data: Any, **options: Any) -> Any:
        """Return the fields of the object, or a list of those of each element. Raise ma.ValidationError."""
        if not isinstance(data, list):
            return self.element.load(data, **options)
        if not 1 <= len(data) <= MAX_ELEMENTS:
            message = f"An array must have 1 to {MAX_ELEMENTS} elements, not {len(data)}."
            raise ma.ValidationError({"_schema": [message]})
        first = data[0] if isinstance(data[0], dict) else {}
        names = frozenset(name for name in first if name in self.element.load_fields)
        schema, defaults = self._with_fields(names)
        loaded, errors = [], {}
        for index, each in enumerate(data):
            has_others = isinstance(each, dict) and not each.keys() <= names
            # One by one: `many` would skip the checks of a whole element if any other element has an error.
            try:
                fields = self.element.load(each, **options) if has_others else defaults | schema.load(each, **options)
                loaded.append(fields)
            except ma.ValidationError as error:
                errors[index] = error.messages
        if errors:
            raise ma.ValidationError(errors)
        return loaded

    def _without_other_fields(self, names: frozenset[str]) -> tuple[ma.Schema, dict[str, Any]]:
        """Return a schema with these fields and the required ones, and the defaults of all others.

        The elements of an array usually have the same few fields. To load the others would take most of the time.
        """
        fields = self.element.load_fields
        loaded = {name for name, field in fields.items() if name in names or field.required}
        others = {name: field.load_default for name, field in fields.items() if name not in loaded}
        defaults = {name: default for name, default in others.items() if default is not ma.missing}
        return type(self.element)(only=loaded), defaults


def request_doc(element: ma.Schema) -> dict[str, Any]:
    """Return the OpenAPI description of a body that is an object or an array."""
    array = {"type": "array", "items": element, "minItems": 1, "maxItems": MAX_ELEMENTS}
    return {"content": {"application/json": {"schema": {"oneOf": [element, array]}}}}


def response_doc(element: type[ma.Schema], array: type[ma.Schema]) -> dict[str, Any]:
    """Return the OpenAPI description of the response to either."""
    return {"content": {"application/json": {"schema": {"oneOf": [element, array]}}}}
