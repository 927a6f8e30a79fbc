"""An organization whose texts all hold a canary, and requests for every operation of the service on its rows."""

from carbonapi.accounts.models import Session
from carbonapi.catalogue.models import EmissionFactor
from carbonapi.db import db

from . import factories
from .documents import examples_of

CANARY = "canary-5d1f"
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
# Operations without a token. Pages are public, too: they are documents, and hold no rows.
PUBLIC = {
    "/postman.json",
    "/health/live",
    "/health/ready",
    "/api/v1/auth/register",
    "/api/v1/auth/login",
    "/api/v1/auth/accept",
}


def plant(sign_in):
    """Create the organization, and return the ids of its rows by the names that paths have for them."""
    organization = factories.organization(f"{CANARY} ltd")
    manager = sign_in(factories.user(organization, "manager", f"{CANARY}@example.org", f"{CANARY} person"))
    member = factories.user(organization, name=f"{CANARY} member")
    usage = factories.usage(manager.user, note=f"{CANARY} note", external_id=f"{CANARY} id")
    file = f"usage_at,amount,note\n2024-01-01T00:00:00Z,1,{CANARY}\n"
    imported = manager.post("/imports?usage_type_id=100", data=file, content_type="text/csv").json
    own_type = factories.usage_type(factor=1)
    factories.usage(manager.user, usage_type_id=own_type.id)
    factories.emission_factor(own_type, 2, organization_id=organization.id)
    line = {"line": "t_and_d", "factor_type_id": own_type.id}
    restatement = {"usage_type_ids": [own_type.id], "reason": CANARY, "mode": "apply"}
    restated = manager.post("/restatements", json=restatement).json
    closed_period = {"until": "2020-01-01T00:00:00Z", "note": CANARY}
    site = manager.post("/sites", json={"name": CANARY, "external_id": CANARY}).json
    meter = {"site_id": site["id"], "usage_type_id": 100, "name": CANARY, "external_id": CANARY}
    return {
        "site_id": site["id"],
        "meter_id": manager.post("/meters", json=meter).json["id"],
        "usage_id": usage.id,
        "user_id": member.id,
        "session_id": db.session.scalar(db.select(Session.id).where(Session.user_id == manager.user.id)),
        "api_key_id": manager.post("/api-keys", json={"name": CANARY, "scope": "read"}).json["id"],
        "organization_id": organization.id,
        "import_id": imported["id"],
        "restatement_id": restated["id"],
        "closed_period_id": manager.post("/closed-periods", json=closed_period).json["id"],
        "usage_type_id": 100,
        "factor_set_id": manager.post("/factor-sets", json={"publisher": CANARY, "edition": "1"}).json["id"],
        "line_id": manager.post("/usage-types/100/upstream-lines", json=line).json["id"],
        "factor_id": db.session.scalar(db.select(EmissionFactor.id).where(EmissionFactor.usage_type_id == 100)),
    }


def requests_for_all_operations(app, ids):
    """Yield the rule, method, path and body of a valid request for each operation: from the URL map and the document.

    So no new route can be forgotten.
    """
    document = app.extensions["carbonapi"].api.document
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(("pages.", "dashboard.")):
            continue
        _, path = rule.build({name: ids[name] for name in rule.arguments})
        template = rule.rule.replace("<int:", "{").replace("<", "{").replace(">", "}")
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            operation = document["paths"].get(template, {}).get(method.lower(), {})
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            yield rule.rule, method, path, {"json": examples_of(content)[0]} if content else {}


def path_arguments(app, rule):
    return next(found.arguments for found in app.url_map.iter_rules() if found.rule == rule)
