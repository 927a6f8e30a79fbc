"""API keys, with which machines sign in."""

from typing import Any

from flask.views import MethodView

from ...auth import EVERYONE, get_visible, visible
from ...rest import Blueprint, now
from .models import ApiKey
from .schemas import ApiKeyQuery, ApiKeySchema, CreatedApiKeySchema, NewApiKeySchema
from .service import create_api_key, delete_api_key

api_keys = Blueprint(
    "API keys",
    __name__,
    description="What machines sign in with, as the user for whom they act: to read alone, or to write as well.",
)


@api_keys.route("/api-keys")
class ApiKeys(MethodView):
    @api_keys.listing(ApiKeySchema, ApiKeyQuery)
    def get(self, narrow: Any) -> Any:
        """List API keys

        Your own; a manager sees the organization's, an admin all. By its `prefix` you know one again.
        """
        return narrow(visible(ApiKey))

    @api_keys.writing(
        NewApiKeySchema, CreatedApiKeySchema, 201, roles=EVERYONE, tagged=False, in_person=True, secret="key"
    )
    def post(self, fields: dict[str, Any]) -> ApiKey:
        """Make an API key

        Sent as `Authorization: Bearer <key>`, it acts as you, with the role you have then. With the scope `read` it
        changes nothing. It is shown this once. Whatever its scope, it changes neither users nor what they sign in with.
        """
        return create_api_key(now(), **fields)


@api_keys.route("/api-keys/<int:api_key_id>")
class ApiKeyById(MethodView):
    @api_keys.reading(ApiKeySchema)
    def get(self, api_key_id: int) -> ApiKey:
        """Get an API key

        What it may do, until when, and when it was used last, to a minute or so.
        """
        return get_visible(ApiKey, api_key_id)

    @api_keys.removing(roles=EVERYONE, tagged=False, in_person=True)
    def delete(self, api_key_id: int) -> None:
        """Delete an API key

        It is worthless within 5 seconds. A manager may delete those of the organization.
        """
        delete_api_key(get_visible(ApiKey, api_key_id, lock=True))
