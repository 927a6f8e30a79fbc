"""The attacked organization, whose texts hold canaries, and the attackers."""

import datetime as dt
import time
from dataclasses import dataclass

import jwt

from carbonapi.settings import DEFAULTS

from .service import PASSWORD

SHARED = "canary-shared-5d1f"  # In rows that the whole organization may read.
OWN = "canary-own-5d1f"  # In the manager's own rows.
EXTERNAL_ID = f"{OWN}-external"
EMAIL = f"{OWN}@example.org"


@dataclass
class Attacker:
    """A client that sends every request.

    `role` is None without valid credentials. `spares` are tokens for operations that end a session. Outsiders may see
    nothing of the attacked organization.
    """

    name: str
    token: str | None
    role: str | None
    spares: list
    is_outsider: bool = True
    is_key: bool = False
    user_id: int | None = None

    @property
    def may_change_nothing(self):
        return self.is_outsider or self.is_key


@dataclass
class Target:
    """The organization: its manager's token, and the IDs of its rows by the names of path parameters."""

    token: str
    ids: dict


def build(service):
    """Create the organization, with a canary in every text field."""
    manager, token = service.register(EMAIL, f"{OWN} person", f"{SHARED} ltd")

    def make(path, **body):
        return service.made(path, token, **body)

    def send(method, path, **body):
        answer = service.ask(method, path, token, body or None)
        assert answer.status in (200, 204), (path, answer.text)

    member = make("/users", email=f"{OWN}.member@example.org", name=f"{OWN} member", role="member", password=PASSWORD)
    usage_at = "2024-01-01T00:00:00Z"
    recorded = {"usage_type_id": 100, "usage_at": usage_at, "amount": 7, "note": f"{OWN} note"}
    usage = make("/usages", **recorded, external_id=EXTERNAL_ID)
    send("PATCH", f"/usages/{usage['id']}", amount=8, reason=f"{OWN} reason")
    deleted = make("/usages", **recorded)
    send("DELETE", f"/usages/{deleted['id']}?reason={OWN}")
    imports = [
        service.ask(
            "POST", f"/imports?mode={mode}&usage_type_id=102", token, content=file.encode(), content_type="text/csv"
        ).json
        for mode, file in (
            ("atomic", f"usage_at,amount,note\n{usage_at},1,{OWN}\n"),
            ("partial", f"usage_at,amount,note\n2024-01-02T00:00:00Z,1,{OWN}\n{OWN},x,{OWN}\n"),
        )
    ]
    send("POST", f"/imports/{imports[0]['id']}/revert", reason=OWN)
    factor = {"factor": 2, "valid_from": "2024-01-01T00:00:00Z", "source": f"{SHARED} source", "note": f"{SHARED} note"}
    own_type = make("/usage-types", name=f"{SHARED} type", unit="kwh", description=SHARED)
    make(f"/usage-types/{own_type['id']}/factors", **factor)
    factor_set = make("/factor-sets", publisher=SHARED, edition=SHARED, note=SHARED)
    line = make("/usage-types/100/upstream-lines", line="t_and_d", factor_type_id=own_type["id"])
    own_factor = make("/usage-types/100/factors", **factor)
    restatement = make("/restatements", usage_type_ids=[100], reason=f"{OWN} reason", mode="apply")
    period = make("/closed-periods", until="2020-01-01T00:00:00Z", note=SHARED)
    send("POST", f"/closed-periods/{period['id']}/reopen", reason=SHARED)
    period = make("/closed-periods", until="2021-01-01T00:00:00Z", note=SHARED)
    key = make("/api-keys", name=OWN, scope="write")
    sessions = service.ask("GET", "/auth/sessions", token).json
    site = make("/sites", name=SHARED, external_id=SHARED)
    meter = make("/meters", name=SHARED, external_id=f"{SHARED} meter", site_id=site["id"], usage_type_id=100)
    ids = {
        "usage_id": usage["id"],
        "user_id": manager["id"],
        "member_id": member["id"],
        "session_id": sessions[0]["id"],
        "api_key_id": key["id"],
        "organization_id": manager["organization_id"],
        "import_id": imports[1]["id"],
        "restatement_id": restatement["id"],
        "closed_period_id": period["id"],
        "usage_type_id": 100,
        "factor_id": own_factor["id"],
        "factor_set_id": factor_set["id"],
        "line_id": line["id"],
        "site_id": site["id"],
        "meter_id": meter["id"],
    }
    return Target(token, ids)


def attackers(service, target):
    """Return all attackers of the target."""
    _, outsider_token = service.register("other@example.org", "Other", "Another organization")

    def added(by, email, role):
        user = service.made("/users", by, email=email, name="A user", role=role, password=PASSWORD)
        tokens = [service.log_in(email)["access_token"] for _ in range(3)]
        return {"token": tokens[0], "role": role, "spares": tokens[1:], "user_id": user["id"]}

    manager = {"token": outsider_token, "role": "manager"}
    spares = [service.log_in("other@example.org")["access_token"] for _ in range(2)]
    ended = service.log_in("other@example.org")["access_token"]
    assert service.ask("POST", "/auth/logout", ended).status == 204
    claims = jwt.decode(target.token, options={"verify_signature": False})
    past = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=31)  # Beyond the leeway.
    expired = jwt.encode(claims | {"exp": past}, service.secret_key, "HS256")
    key = service.made("/api-keys", target.token, name="A reader", scope="read")["key"]
    found = [
        Attacker("anonymous", None, None, []),
        Attacker("manager of another organization", spares=spares, **manager),
        Attacker("member of another organization", **added(outsider_token, "other.member@example.org", "member")),
        Attacker("auditor of another organization", **added(outsider_token, "other.auditor@example.org", "auditor")),
        Attacker("member", **added(target.token, "member@example.org", "member"), is_outsider=False),
        Attacker("auditor", **added(target.token, "auditor@example.org", "auditor"), is_outsider=False),
        Attacker("key that reads", key, "manager", [], is_outsider=False, is_key=True),
        Attacker("expired token of the manager", expired, None, []),
        Attacker("session that has ended", ended, None, []),
    ]
    time.sleep(DEFAULTS["SESSION_CACHE_SECONDS"])  # Workers may cache ended sessions until then.
    return found
