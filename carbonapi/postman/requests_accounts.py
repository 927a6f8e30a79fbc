"""The course, at last: people, machines, what they did, and how what was made is removed."""

from .. import errors
from .requests import CREDENTIALS, ETAG, IF_MATCH, Request

GRACE = {"email": "{{colleague_email}}", "name": "Grace Hopper", "role": "member"}
ORGANIZATION = {"name": "Analytical Engines", "timezone": "Europe/London", "region": "GB", "significance_threshold": 5}
ORGANIZATIONS = (
    Request("list_organizations", expects={"answer.length": 1}),
    Request("get_organization", keeps=ETAG),
    Request("change_organization", headers=IF_MATCH, body={"timezone": "Europe/London"}, keeps=ETAG),
    Request("replace_organization", headers=IF_MATCH, body=ORGANIZATION, expects={"answer.region": "GB"}),
)
USERS = (
    Request("add_user", body=GRACE | {"password": "{{password}}"}, keeps={"user_id": "answer.id"} | ETAG),
    Request(
        "add_user",
        "Invite a user, who sets the password",
        body=GRACE | {"email": "invited.{{colleague_email}}"},
        keeps={"invited_id": "answer.id", "password_token": "answer.invitation_token"},
    ),
    Request("accept_invitation", body={"token": "{{password_token}}", "password": "{{password}}"}),
    Request("list_users", query=(("role", "member"),), expects={"answer.length": 2}),
    Request("get_user", keeps=ETAG),
    Request("change_user", headers=IF_MATCH, body={"role": "auditor"}, keeps=ETAG, expects={"answer.role": "auditor"}),
    Request("replace_user", headers=IF_MATCH, body=GRACE | {"active": True}, expects={"answer.role": "member"}),
    Request("reset_password", keeps={"password_token": "answer.token"}),
)
API_KEYS = (
    Request(
        "make_api_key",
        body={"name": "Display in the hall", "scope": "read"},
        keeps={"api_key": "answer.key", "api_key_id": "answer.id"},
    ),
    Request("list_api_keys", expects={"answer.length": 1}),
    Request("get_api_key", expects={"answer.scope": "read"}),
    Request("get_summary", "Get the summary with the key", query=(("by", "scope"),), bearer="api_key"),
    Request("record_usage", "Record a usage with a key that reads: refused", bearer="api_key", fails=errors.Forbidden),
)
AUDIT = (
    Request(
        "list_audit_entries",
        query=(("subject", "usage"), ("action", "corrected"), ("sort", "id")),
        expects={"answer[0].old.amount": 12.5, "answer[0].new.amount": 12.75},
    ),
    Request("export_audit_entries"),
)
HEALTH = (Request("check_liveness", expects={"answer.status": "ok"}), Request("check_readiness"))
REMOVING = (
    Request("delete_api_key"),
    Request("delete_usage", query=(("reason", "It was another house's."),)),
    Request("get_usage", "Get what is deleted: it is not there", fails=errors.NotFound),
    Request("delete_usages", query=(("id", "{{bill_id}}"), ("id", "{{adjustment_id}}"))),
    Request("delete_user"),
    Request("delete_users", query=(("id", "{{invited_id}}"),)),
    Request("log_in", "Log in elsewhere", body=CREDENTIALS, keeps={"elsewhere": "answer.access_token"}),
    Request(
        "list_sessions",
        "List sessions, of which one is elsewhere",
        keeps={"session_id": "answer.find(session => !session.is_current).id"},
    ),
    Request("end_session"),
    Request("change_password", body={"current_password": "{{password}}", "new_password": "{{new_password}}"}),
    Request("log_out"),
)
ADMINISTRATION = (
    Request(
        "log_in",
        "Log in as the admin",
        body={"email": "{{admin_email}}", "password": "{{admin_password}}"},
        keeps={"admin_token": "answer.access_token"},
    ),
    Request(
        "create_usage_type",
        body={"name": "district cooling {{email}}", "unit": "kwh", "scope": 2},
        keeps={"usage_type_id": "answer.id"} | ETAG,
    ),
    Request("change_usage_type", headers=IF_MATCH, body={"category": "energy"}, keeps=ETAG),
    Request(
        "replace_usage_type", headers=IF_MATCH, body={"name": "district heating {{email}}", "unit": "kwh"}, keeps=ETAG
    ),
    Request("delete_usage_type", headers=IF_MATCH),
    Request("create_organization", body=ORGANIZATION, keeps={"organization_id": "answer.id"} | ETAG),
    Request("delete_organization", headers=IF_MATCH),
)
