"""Requests for organizations, users, API keys, the audit log and health, and those that delete what others created."""

from .. import errors
from .requests import CREDENTIALS, ETAG, IF_MATCH, Request

GRACE = {"email": "{{colleague_email}}", "name": "Grace Hopper", "role": "member"}
ORGANIZATION = {"name": "Analytical Engines", "timezone": "Europe/London", "region": "GB", "significance_threshold": 5}
REFRIGERANT = {"factor": 19253, "valid_from": "2026-01-01T00:00:00Z", "source": "IPCC AR5"}
ORGANIZATIONS = (
    Request("list_organizations", expects={"answer.length": 1}),
    Request("get_organization", saves=ETAG),
    Request("change_organization", headers=IF_MATCH, body={"timezone": "Europe/London"}, saves=ETAG),
    Request("replace_organization", headers=IF_MATCH, body=ORGANIZATION, expects={"answer.region": "GB"}),
)
USERS = (
    Request("add_user", body=GRACE | {"password": "{{password}}"}, saves={"user_id": "answer.id"} | ETAG),
    Request(
        "add_user",
        "Invite a user, who sets the password",
        body=GRACE | {"email": "invited.{{colleague_email}}"},
        saves={"invited_id": "answer.id", "password_token": "answer.invitation_token"},
    ),
    Request("accept_invitation", body={"token": "{{password_token}}", "password": "{{password}}"}),
    Request("list_users", query="role=member", expects={"answer.length": 2}),
    Request("get_user", saves=ETAG),
    Request("change_user", headers=IF_MATCH, body={"role": "auditor"}, saves=ETAG, expects={"answer.role": "auditor"}),
    Request("replace_user", headers=IF_MATCH, body=GRACE | {"active": True}, expects={"answer.role": "member"}),
    Request("reset_password", saves={"password_token": "answer.token"}),
)
API_KEYS = (
    Request(
        "make_api_key",
        body={"name": "Display in the hall", "scope": "read"},
        saves={"api_key": "answer.key", "api_key_id": "answer.id"},
    ),
    Request("list_api_keys", expects={"answer.length": 1}),
    Request("get_api_key", expects={"answer.scope": "read"}),
    Request("get_summary", "Get the summary with the key", query="by=scope", bearer="api_key"),
    Request("record_usage", "Record a usage with a read-only key: forbidden", bearer="api_key", error=errors.Forbidden),
)
AUDIT = (
    Request(
        "list_audit_entries",
        query="subject=usage&action=corrected&sort=id",
        expects={"answer[0].old.amount": 12.5, "answer[0].new.amount": 12.75},
    ),
    Request("export_audit_entries"),
)
HEALTH = (Request("check_liveness", expects={"answer.status": "ok"}), Request("check_readiness"))
DELETION = (
    Request("delete_upstream_line"),
    Request(
        "create_usage_type",
        "Create a usage type of your organization",
        body={"name": "R-410A", "unit": "kg", "scope": 1, "category": "fugitive_emissions"},
        saves={"usage_type_id": "answer.id"},
    ),
    Request("enter_emission_factor", body=REFRIGERANT, saves={"factor_id": "answer.id"} | ETAG),
    Request("change_emission_factor", headers=IF_MATCH, body={"factor": 19235}, saves=ETAG),
    Request(
        "supersede_emission_factor",
        body={"factor": 1923.5, "source": "IPCC AR5", "reason": "A typing error: 19235 for 1923.5."},
        saves={"factor_id": "answer.id"},
        expects={"answer.factor": 1923.5, "answer.superseded_at": None},
    ),
    Request("delete_emission_factor"),
    Request("delete_factor_set"),
    Request("delete_api_key"),
    Request("delete_usage", query="reason=It belongs to another building."),
    Request("get_usage", "Get a deleted usage: not found", error=errors.NotFound),
    Request(
        "record_usage",
        "Record several usages by mistake: all of them or none",
        body=[
            {"usage_type_id": 101, "usage_at": "2026-06-01T00:00:00Z", "amount": 3},
            {"usage_type_id": 101, "usage_at": "2026-07-01T00:00:00Z", "amount": 4},
        ],
        saves={"first_id": "answer.ids[0]", "second_id": "answer.ids[1]"},
        expects={"answer.ids.length": 2},
    ),
    Request("delete_usages", query="id={{bill_id}}&id={{adjustment_id}}&id={{first_id}}&id={{second_id}}"),
    Request(
        "create_meter",
        "Create a meter by mistake",
        body={"site_id": "{{country_id}}", "usage_type_id": 100, "name": "Wrong meter"},
        saves={"meter_id": "answer.id"},
    ),
    Request("delete_meter"),
    Request("create_site", "Create a site by mistake", body={"name": "Wrong site"}, saves={"site_id": "answer.id"}),
    Request("delete_site"),
    Request("delete_user"),
    Request("delete_users", query="id={{invited_id}}"),
    Request("log_in", "Log in elsewhere", body=CREDENTIALS, saves={"elsewhere": "answer.access_token"}),
    Request(
        "list_sessions",
        "List sessions: one is elsewhere",
        saves={"session_id": "answer.find(session => !session.current).id"},
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
        saves={"admin_token": "answer.access_token"},
    ),
    Request(
        "create_usage_type",
        body={"name": "district cooling {{email}}", "unit": "kwh", "scope": 2},
        saves={"usage_type_id": "answer.id"} | ETAG,
    ),
    Request("change_usage_type", headers=IF_MATCH, body={"category": "purchased_heat_steam_cooling"}, saves=ETAG),
    Request(
        "replace_usage_type", headers=IF_MATCH, body={"name": "district heating {{email}}", "unit": "kwh"}, saves=ETAG
    ),
    Request("delete_usage_type", headers=IF_MATCH),
    Request("create_organization", body=ORGANIZATION, saves={"organization_id": "answer.id"} | ETAG),
    Request("delete_organization", headers=IF_MATCH),
)
