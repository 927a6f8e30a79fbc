"""Access control: every operation, tried by every attacker of an organization."""

from urllib.parse import urlencode

from . import fixtures
from .document import UNKNOWN_ID
from .report import Part

# The documented roles, as prefixes of paths. All other operations are open to every role that may write.
ADMINS = {
    ("POST", "/api/v1/organizations"), ("DELETE", "/api/v1/organizations/{organization_id}"),
    # The target's usage type is shared.
    ("PUT", "/api/v1/usage-types/{usage_type_id}"), ("PATCH", "/api/v1/usage-types/{usage_type_id}"),
    ("DELETE", "/api/v1/usage-types/{usage_type_id}"),
}  # fmt: skip
MANAGED = (
    "users", "organizations", "usage-types", "factor-sets", "closed-periods", "restatements", "sites", "meters",
)  # fmt: skip
OF_MANAGERS = tuple(f"/api/v1/{name}" for name in MANAGED)
OF_EVERY_ROLE = ("/api/v1/auth/", "/api/v1/api-keys", "/api/v1/verify")
OF_REVIEWERS = "/api/v1/audit-entries"
# These take a login with a password, so API keys get 403.
IN_PERSON = ("/api/v1/auth/sessions", "/api/v1/users", "/api/v1/api-keys", "/api/v1/auth/")
# The kinds of the manager's rows that an insider sees.
SEEN = {
    "member": {"organization_id", "closed_period_id", "usage_type_id", "factor_id", "factor_set_id", "line_id"}
    | {"site_id", "meter_id"},
    "auditor": {"organization_id", "closed_period_id", "usage_type_id", "factor_id", "factor_set_id", "line_id"}
    | {"site_id", "meter_id"}
    | {"usage_id", "user_id", "import_id", "restatement_id"},
}
SHARED_IDS = {"usage_type_id"}
LAST = ("log_out", "change_password")  # They end sessions.
# Query parameters and fields that name a row, and the path parameter of its kind.
NAMING = {
    "recorded_by": "user_id",
    "actor_id": "user_id",
    "subject_id": "usage_id",
    "adjusts_closed_period_id": "closed_period_id",
}
OK = range(200, 300)


def run(service, operations, compare_each=True):
    """Try every operation as every attacker, and every way to name a row of the target.

    compare_each: whether to look for changes after each attacker. Otherwise, attackers who may change nothing share
    one comparison.
    """
    part = Part("matrix")
    target = fixtures.build(service)
    attackers = sorted(fixtures.attackers(service, target), key=lambda attacker: not attacker.may_change_nothing)
    before = snapshot(service, operations, target)
    ordered = sorted(operations, key=lambda operation: (operation.id in LAST, operation.id == LAST[-1]))
    for attacker, following in zip(attackers, [*attackers[1:], None], strict=True):
        if attacker.role:
            name_rows(part, service, operations, target, attacker)
        for operation in ordered:
            try_operation(part, service, target, attacker, operation)
        if compare_each or not (following and following.may_change_nothing):
            after = snapshot(service, operations, target)
            compare(part, attacker, before, after)
            before = after
    part.figures["attackers"] = len(attackers)
    part.reaches({operation.id for operation in operations})
    return part


def expected(operation, attacker):
    """Return the expected status by role; None for every success."""
    method, path = operation.method, operation.template
    if operation.is_open:
        return {"accept_invitation": 422, "log_in": 401}.get(operation.id)
    if operation.takes_refresh_token or attacker.role is None:
        return 401
    writes = method != "GET" and path != "/api/v1/verify"
    if attacker.is_key:
        in_person = path.startswith(IN_PERSON) and (writes or path.startswith(IN_PERSON[0]))
        return 403 if writes or in_person else None
    if path.startswith(OF_REVIEWERS) and attacker.role == "member":
        return 403
    if writes and not path.startswith(OF_EVERY_ROLE):
        managed = path.startswith(OF_MANAGERS)
        if (method, path) in ADMINS or attacker.role == "auditor" or (managed and attacker.role != "manager"):
            return 403
    if operation.id == "create_meter":
        return 422  # The site of the example is not the outsider's.
    shown = SHARED_IDS if attacker.is_outsider else SEEN[attacker.role]
    return None if named_ids(operation) <= shown else 404


def named_ids(operation):
    """Return the kinds of rows that a request must name."""
    needed = {"usage_id" if operation.id == "delete_usages" else "user_id"} if "id" in operation.required else set()
    return {*operation.path_ids} | needed


def try_operation(part, service, target, attacker, operation):
    """Send the example of the operation, with the IDs of the target's rows."""
    status = expected(operation, attacker)
    token = attacker.spares.pop() if operation.id in LAST and attacker.spares else attacker.token

    def ask(ids):
        query = dict(operation.required)
        if "id" in query:
            query["id"] = ids["usage_id" if operation.id == "delete_usages" else "user_id"]
        if operation.id == "import_usages":  # Attackers of one organization send the same file.
            query["again"] = "true"
        path = operation.path(ids) + (f"?{urlencode(query)}" if query else "")
        return service.ask(operation.method, path, token, **operation.sending())

    answer = ask(target.ids)
    good = answer.status == status if status else answer.status in OK
    details = (attacker.name, operation.method, operation.template, answer.status, status or "2xx", answer.text)
    part.attack(operation.id, good and (answer.status in OK or answer.is_problem), *details)
    part.expect(not leaks(answer, attacker), "leaked:", *details)
    if status == 404:
        unknown = ask(target.ids | dict.fromkeys(named_ids(operation) - SHARED_IDS, UNKNOWN_ID))
        alike = (unknown.status, unknown.json["type"]) == (answer.status, answer.json["type"])
        part.expect(alike, "reveals that a row exists:", *details, unknown.text)


def leaks(answer, attacker, sent=""):
    """Return whether an answer contains a hidden canary, other than one that the attacker has sent."""
    canaries = (
        [fixtures.SHARED, fixtures.OWN] if attacker.is_outsider else [fixtures.OWN] if attacker.role == "member" else []
    )
    return any(canary in answer.text.replace(sent, "") for canary in canaries)


def name_rows(part, service, operations, target, attacker):
    """Name rows of the target in each query parameter and field that can name one."""
    if not attacker.is_outsider and attacker.role != "member":
        return
    for operation in operations:
        if operation.is_open or {*operation.path_ids} - SHARED_IDS:
            continue
        unknown_ids = dict.fromkeys(target.ids, UNKNOWN_ID)
        seen = SHARED_IDS if attacker.is_outsider else SEEN[attacker.role]
        # A member may record usages of a meter that they see.
        is_allowed = seen if operation.method == "POST" else SHARED_IDS
        for name in operation.query:
            if name not in is_allowed and naming(name, target.ids, operation) is not None:
                answers = []
                for ids in (target.ids, unknown_ids):
                    query = operation.required | {name: naming(name, ids, operation)}
                    path = f"{operation.path({'usage_type_id': 101})}?{urlencode(query)}"
                    answers.append(service.ask(operation.method, path, attacker.token, **operation.sending()))
                note_named(part, attacker, operation, name, *answers)
        hidden = target.ids.keys() - seen
        for name in operation.properties:
            if NAMING.get(name, name) in hidden:
                answers = []
                for ids in (target.ids, unknown_ids):
                    sent = operation.sending(**{name: ids[NAMING.get(name, name)]})
                    path = operation.path({"usage_type_id": 101})
                    answers.append(service.ask(operation.method, path, attacker.token, **sent))
                part.expect(answers[0].status in (403, 409, 422), attacker.name, operation.id, name, answers[0].text)
                note_named(part, attacker, operation, name, *answers)


def naming(name, ids, operation):
    """Return the value by which a query parameter names a row of the target; None if it names none."""
    is_there = ids["usage_id"] != UNKNOWN_ID
    if name == "external_id":
        return fixtures.EXTERNAL_ID if is_there else "unknown"
    if name == "user_email":
        return fixtures.EMAIL if is_there else "unknown@example.org"
    if name == "id":
        return ids["usage_id" if operation.id == "delete_usages" else "user_id"]
    return ids.get(NAMING.get(name, name))


def note_named(part, attacker, operation, name, answer, unknown):
    """Check that a hidden row gets the same answer as an unknown one."""
    details = (attacker.name, operation.id, name, answer.status, answer.text)
    part.attack(operation.id, answer.status in (200, 403, 404, 409, 422), *details)
    part.expect(not leaks(answer, attacker, fixtures.EMAIL), "leaked:", *details)
    alike = answer.status == unknown.status and (answer.status == 200 or kind(answer) == kind(unknown))
    part.expect(alike, "reveals that a row exists:", *details, unknown.status, unknown.text)


def kind(answer):
    return answer.json["type"], list(answer.json.get("errors", ()))


def snapshot(service, operations, target):
    """Return the JSON or text that the target's manager reads, by path."""
    found = {}
    for operation in operations:
        if operation.method == "GET" and not operation.is_open:
            query = operation.required | ({"page_size": 1000} if "page_size" in operation.query else {})
            path = operation.path(target.ids) + (f"?{urlencode(query)}" if query else "")
            answer = service.ask("GET", path, target.token)
            assert answer.status == 200, (path, answer.text)
            found[operation.template] = without_use(answer.json) if answer.json is not None else answer.text
    return found


def without_use(read):
    """Return the same without the last use of API keys, which reads change."""
    if isinstance(read, list):
        return [without_use(row) for row in read]
    return {name: value for name, value in read.items() if name != "last_used_at"}


def compare(part, attacker, before, after):
    """Check that an attack changed nothing, except for rows that an insider may add."""
    for path, was in before.items():
        now = after[path]
        if attacker.may_change_nothing:
            is_unchanged = now == was
        elif isinstance(was, list) and was and "id" in was[0]:
            is_unchanged = all(row in now for row in was if row["id"] != attacker.user_id or path != "/api/v1/users")
        else:
            is_unchanged = now == was or "{" not in path  # Sums include the usages of an insider.
        part.expect(is_unchanged, f"{attacker.name} has changed {path}:", was, now)
