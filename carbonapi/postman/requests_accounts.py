"""The course, at last: people, machines, what they did, and how what was made is removed."""

from .. import errors
from .requests import CREDENTIALS, ETAG, IF_MATCH, Step

GRACE = {"email": "{{colleague_email}}", "name": "Grace Hopper", "role": "member"}
ORGANIZATION = {"name": "Analytical Engines", "timezone": "Europe/London", "region": "GB", "significance_threshold": 5}
ORGANIZATIONS = (
    Step("list_organizations", expects={"answer.length": 1}),
    Step("get_organization", keeps=ETAG),
    Step("change_organization", headers=IF_MATCH, body={"timezone": "Europe/London"}, keeps=ETAG),
    Step("replace_organization", headers=IF_MATCH, body=ORGANIZATION, expects={"answer.region": "GB"}),
)
USERS = (
    Step("add_user", body=GRACE | {"password": "{{password}}"}, keeps={"user_id": "answer.id"} | ETAG),
    Step(
        "add_user",
        "Invite a user, who sets the password",
        body=GRACE | {"email": "invited.{{colleague_email}}"},
        keeps={"invited_id": "answer.id", "password_token": "answer.invitation_token"},
    ),
    Step("accept_invitation", body={"token": "{{password_token}}", "password": "{{password}}"}),
    Step("list_users", query=(("role", "member"),), expects={"answer.length": 2}),
    Step("get_user", keeps=ETAG),
    Step("change_user", headers=IF_MATCH, body={"role": "auditor"}, keeps=ETAG, expects={"answer.role": "auditor"}),
    Step("replace_user", headers=IF_MATCH, body=GRACE | {"active": True}, expects={"answer.role": "member"}),
    Step("reset_password", keeps={"password_token": "answer.token"}),
)
API_KEYS = (
    Step(
        "make_api_key",
        body={"name": "Display in the hall", "scope": "read"},
        keeps={"api_key": "answer.key", "api_key_id": "answer.id"},
    ),
    Step("list_api_keys", expects={"answer.length": 1}),
    Step("get_api_key", expects={"answer.scope": "read"}),
    Step("get_summary", "Get the summary with the key", query=(("by", "scope"),), bearer="api_key"),
    Step("record_usage", "Record a usage with a key that reads: refused", bearer="api_key", fails=errors.NotAllowed),
)
AUDIT = (
    Step(
        "list_audit_entries",
        query=(("subject", "usage"), ("action", "corrected"), ("sort", "id")),
        expects={"answer[0].old.amount": 12.5, "answer[0].new.amount": 12.75},
    ),
    Step("export_audit_entries"),
)
HEALTH = (Step("check_liveness", expects={"answer.status": "ok"}), Step("check_readiness"))
REMOVING = (
    Step("delete_api_key"),
    Step("delete_usage", query=(("reason", "It was another house's."),)),
    Step("get_usage", "Get what is deleted: it is not there", fails=errors.NotFound),
    Step("delete_usages", query=(("id", "{{bill_id}}"), ("id", "{{adjustment_id}}"))),
    Step("delete_user"),
    Step("delete_users", query=(("id", "{{invited_id}}"),)),
    Step("log_in", "Log in elsewhere", body=CREDENTIALS, keeps={"elsewhere": "answer.access_token"}),
    Step(
        "list_sessions",
        "List sessions, of which one is elsewhere",
        keeps={"session_id": "answer.find(session => !session.is_current).id"},
    ),
    Step("end_session"),
    Step("change_password", body={"current_password": "{{password}}", "new_password": "{{new_password}}"}),
    Step("log_out"),
)
ADMINISTRATION = (
    Step(
        "log_in",
        "Log in as the admin",
        body={"email": "{{admin_email}}", "password": "{{admin_password}}"},
        keeps={"admin_token": "answer.access_token"},
    ),
    Step(
        "create_usage_type",
        body={"name": "district cooling {{email}}", "unit": "kwh", "scope": 2},
        keeps={"usage_type_id": "answer.id"} | ETAG,
    ),
    Step("change_usage_type", headers=IF_MATCH, body={"category": "energy"}, keeps=ETAG),
    Step(
        "replace_usage_type", headers=IF_MATCH, body={"name": "district heating {{email}}", "unit": "kwh"}, keeps=ETAG
    ),
    Step("delete_usage_type", headers=IF_MATCH),
    Step("create_organization", body=ORGANIZATION, keeps={"organization_id": "answer.id"} | ETAG),
    Step("delete_organization", headers=IF_MATCH),
)
