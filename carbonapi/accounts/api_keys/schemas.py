"""What API keys look like on the wire."""

import marshmallow as ma

from ...rest import ListQuerySchema, Schema, Sort, equal_to
from ...rest.fields import Name, Text, UtcDateTime
from .models import ApiKey

SCOPES = ("read", "write")


class NewApiKeySchema(Schema):
    """What a key is for, what it may do, and until when."""

    name = Name(required=True, validate=ma.validate.Length(1, 100), metadata={"example": "Meter in the cellar"})
    scope = Text(
        required=True,
        validate=ma.validate.OneOf(SCOPES),
        metadata={"example": "write", "description": "`read`: it changes nothing. `write`: what your role may."},
    )
    expires_at = UtcDateTime(metadata={"description": "From when on it is worthless; never, if it is left out."})


class ApiKeySchema(Schema):
    """What a machine signs its requests with, but for the key itself."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    organization_id = ma.fields.Integer(required=True, metadata={"example": 1})
    user_id = ma.fields.Integer(required=True, metadata={"example": 1, "description": "As whom it acts."})
    name = ma.fields.String(required=True, metadata={"example": "Meter in the cellar"})
    scope = ma.fields.String(required=True, metadata={"enum": list(SCOPES), "example": "write"})
    prefix = ma.fields.String(
        required=True, metadata={"example": "carbonapi_1_1_q3nJ", "description": "What the key begins with."}
    )
    created_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:00Z"})
    expires_at = UtcDateTime(
        required=True, allow_none=True, metadata={"example": None, "description": "null: it does not expire."}
    )
    last_used_at = UtcDateTime(
        required=True, allow_none=True, metadata={"example": None, "description": "To a minute or so; null: never yet."}
    )


class CreatedApiKeySchema(ApiKeySchema):
    """A key that has just been made, with its text."""

    key = ma.fields.String(
        metadata={
            "example": "carbonapi_1_1_q3nJQk1v0WbZ7mJ8p2Yx5cT4rL6sD9fG0hA1eUoIiNwd60e2f5b",
            "description": "The key itself, shown this once: not in an answer that is given again.",
        }
    )


class ApiKeyQuery(ListQuerySchema):
    user_id = equal_to(ApiKey.user_id)
    scope = equal_to(ApiKey.scope, Text(validate=ma.validate.OneOf(SCOPES)))
    sort = Sort(ApiKey.id, ApiKey.name, ApiKey.created_at, default="id")
