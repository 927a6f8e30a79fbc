"""API keys in requests and responses."""

import marshmallow as ma

from ...rest import ListQuerySchema, Schema, Sort, equal_to
from ...rest.fields import Name, Text, UtcDateTime, returned
from .models import SCOPES, ApiKey


class NewApiKeySchema(Schema):
    """A new API key: its purpose, its scope and its expiry."""

    name = Name(required=True, validate=ma.validate.Length(1, 100), metadata={"example": "Meter in the cellar"})
    scope = Text(
        required=True,
        validate=ma.validate.OneOf(SCOPES),
        metadata={"example": "write", "description": "`read`: read only. `write`: everything your role may do."},
    )
    expires_at = UtcDateTime(metadata={"description": "When the key expires. Default: never."})


class ApiKeySchema(Schema):
    """An API key, without the key itself."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(ma.fields.Integer, 1)
    user_id = returned(ma.fields.Integer, 1, "The user that the key acts as.")
    name = returned(ma.fields.String, "Meter in the cellar")
    scope = ma.fields.String(required=True, metadata={"enum": list(SCOPES), "example": "write"})
    prefix = returned(ma.fields.String, "carbonapi_1_1_q3nJ", "How the key begins.")
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")
    expires_at = returned(UtcDateTime, None, "`null` if the key does not expire.", nullable=True)
    last_used_at = returned(UtcDateTime, None, "To the minute. `null`: never used.", nullable=True)


class CreatedApiKeySchema(ApiKeySchema):
    """A key that was just created, with its text."""

    key = ma.fields.String(
        metadata={
            "example": "carbonapi_1_1_q3nJQk1v0WbZ7mJ8p2Yx5cT4rL6sD9fG0hA1eUoIiNwd60e2f5b",
            "description": "The key itself. It is shown only once, and not in a repeated response.",
        }
    )


class ApiKeyQuery(ListQuerySchema):
    user_id = equal_to(ApiKey.user_id)
    scope = equal_to(ApiKey.scope, Text(validate=ma.validate.OneOf(SCOPES)))
    sort = Sort(ApiKey.id, ApiKey.name, ApiKey.created_at, default="id")
