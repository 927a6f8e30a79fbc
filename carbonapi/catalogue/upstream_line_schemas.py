"""Request and response schemas of upstream lines."""

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort
from ..rest.fields import StrictInteger, Text, returned
from .models import UpstreamLine


class NewUpstreamLineSchema(Schema):
    """A line that usages of a type get beside their own number, from the factors of another type."""

    line = Text(
        required=True,
        validate=ma.validate.Regexp("(?!(location|market)$)[a-z][a-z0-9_]{0,49}\\Z"),
        metadata={
            "example": "t_and_d",
            "description": "Name of the line, in lower case: such as `t_and_d`, `wtt_generation` or `wtt_t_and_d`.",
        },
    )
    factor_type_id = StrictInteger(
        required=True,
        metadata={
            "example": 102,
            "description": "Usage type whose factors apply to the same amount. Its unit must be the same. The line has "
            "its scope and category.",
        },
    )


class UpstreamLineSchema(NewUpstreamLineSchema):
    """An upstream line of a usage type."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(
        ma.fields.Integer, None, "The organization that owns the line. `null` if it is shared.", nullable=True
    )
    usage_type_id = returned(ma.fields.Integer, 100)


class UpstreamLineQuery(ListQuerySchema):
    sort = Sort(UpstreamLine.line, UpstreamLine.id, default="line")
