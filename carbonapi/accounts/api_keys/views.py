"""API keys, with which machines authenticate."""

from typing import Any

from flask.views import MethodView

from ...auth import EVERYONE, get_visible, visible
from ...rest import Blueprint, now, requires, shown_once
from .models import ApiKey
from .schemas import ApiKeyQuery, ApiKeySchema, CreatedApiKeySchema, NewApiKeySchema
from .service import create_api_key, delete_api_key

api_keys = Blueprint(
    "API keys",
    __name__,
    description="Keys with which machines act as the user who created them, to read only or also to write.",
)


@api_keys.route("/api-keys")
class ApiKeys(MethodView):
    @api_keys.list(ApiKeySchema, ApiKeyQuery)
    def get(self, narrow: Any) -> Any:
        """List API keys

        Returns your own keys. Managers see those of their organization, admins all keys. Recognize a key by its
        `prefix`.
        """
        return narrow(visible(ApiKey))

    @api_keys.post(NewApiKeySchema, CreatedApiKeySchema)
    @requires(EVERYONE, api_key=False)
    @shown_once("key")
    def post(self, fields: dict[str, Any]) -> ApiKey:
        """Make an API key

        Send it as `Authorization: Bearer <key>` to act as you, with the role you have at that time. With the scope
        `read` it can only read. No key can manage users or credentials. The key is shown only once.
        """
        return create_api_key(now(), **fields)


@api_keys.route("/api-keys/<int:api_key_id>")
class ApiKeyById(MethodView):
    @api_keys.get(ApiKeySchema)
    def get(self, api_key_id: int) -> ApiKey:
        """Get an API key

        Returns its scope, its expiry and when it was last used.
        """
        return get_visible(ApiKey, api_key_id)

    @api_keys.delete(ApiKey)
    @requires(EVERYONE, api_key=False)
    def delete(self, api_key_id: int) -> None:
        """Delete an API key

        The key stops working at once in the worker process that handles this request, and within 5 seconds in the
        others. Managers may delete any key of their organization.
        """
        delete_api_key(get_visible(ApiKey, api_key_id, lock=True))
