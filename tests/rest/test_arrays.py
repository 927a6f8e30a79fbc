"""A body that is an object or an array of objects."""

import marshmallow as ma
import pytest

from carbonapi.rest import Schema
from carbonapi.rest.arrays import MAX_SCHEMAS, ObjectOrArray


class PartSchema(Schema):
    """A schema with a field of each kind."""

    name = ma.fields.String(required=True)
    size = ma.fields.Integer(load_default=1)
    unit = ma.fields.String(load_default=None, allow_none=True)
    note = ma.fields.String()

    @ma.validates_schema
    def size_is_positive(self, fields, **kwargs):
        if fields.get("size", 1) < 1:
            raise ma.ValidationError("Must be positive.", "size")


PARTS = [
    {"name": "a"},
    {"name": "b", "size": 2},
    {"name": "c", "unit": None, "note": "x"},
    {"name": "d", "size": 3, "unit": "m", "note": "y"},
]


@pytest.fixture
def loader():
    return ObjectOrArray(PartSchema())


@pytest.mark.parametrize("first", range(len(PARTS)))
def test_array_loads_each_element_like_an_object(loader, first):
    parts = PARTS[first:] + PARTS[:first]

    assert loader.load(parts) == [PartSchema().load(part) for part in parts] == [loader.load(part) for part in parts]


@pytest.mark.parametrize("first", [{"name": "a"}, {}, {"size": 0, "colour": 1}, None, [], "name"])
def test_every_invalid_element_has_its_errors(loader, first):
    parts = [first, {"name": "b", "size": 0}, {"size": 1}, {"name": "c", "colour": 1}, 7, {"name": "d"}, {"name": None}]
    expected = {}
    for index, part in enumerate(parts):
        try:
            PartSchema().load(part)
        except ma.ValidationError as error:
            expected[index] = error.messages

    with pytest.raises(ma.ValidationError) as raised:
        loader.load(parts)

    assert raised.value.messages == expected
    assert {1, 2, 3, 4, 6} <= expected.keys()


def test_field_of_a_later_element_is_not_lost(loader):
    assert loader.load([{"name": "a"}, {"name": "b", "note": "x"}])[1]["note"] == "x"


def test_number_of_cached_schemas_is_limited(loader):
    loader.load([{"name": "a"}])

    assert loader._with_fields.cache_info().maxsize == MAX_SCHEMAS
