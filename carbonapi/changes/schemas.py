"""Wire format of the feed of changes."""

import marshmallow as ma

from ..rest import QuerySchema, Schema
from ..rest.fields import StrictInteger, Text, UtcDateTime, returned
from ..usages.schemas import UsageSchema
from .service import KINDS, MAX_WAIT_SECONDS


class ChangeSchema(Schema):
    """A change of a usage: the version that it produced, or a deletion."""

    kind = returned(
        ma.fields.String,
        "deleted",
        "`recorded`, `corrected` (by a user, an import or a restatement), or `deleted`. For members, a usage that now "
        "belongs to another user, or is at a site that is not theirs, is `deleted`.",
        enum=list(KINDS),
    )
    changed_at = returned(UtcDateTime, "2026-01-31T12:00:01Z", "Time of recording. Changes are in this order.")
    usage_id = returned(ma.fields.Integer, 1, "Id of the usage.")
    version = returned(ma.fields.Integer, 1, "Version of the usage; of a deletion, the last one.")
    usage = ma.fields.Nested(
        UsageSchema,
        required=True,
        allow_none=True,
        metadata={"description": "The version. `null` after a deletion.", "example": None},
    )


class ChangeQuery(QuerySchema):
    """The position in the feed."""

    cursor = Text(
        load_default="",
        metadata={"description": "Position after which to continue, from `next` of `Link`. Empty: from the beginning."},
    )
    page_size = StrictInteger(
        1, 1000, load_default=100, metadata={"description": "Maximum number of changes, up to 1000."}
    )
    wait = StrictInteger(
        0,
        MAX_WAIT_SECONDS,
        load_default=0,
        metadata={"description": "Maximum number of seconds to wait for the next change."},
    )
