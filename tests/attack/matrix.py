"""Who gets in where: every operation, tried by everybody who should not get at an organization's rows."""

from urllib.parse import urlencode

from . import fixtures as nests
from .document import NOBODYS_ID
from .report import Part

# The role table of the README, as prefixes of paths: who may write there. Elsewhere, whoever writes at all.
ADMINS = {
    ("POST", "/api/v1/organizations"), ("DELETE", "/api/v1/organizations/{organization_id}"),
    ("POST", "/api/v1/usage-types"), ("PUT", "/api/v1/usage-types/{usage_type_id}"),
    ("PATCH", "/api/v1/usage-types/{usage_type_id}"), ("DELETE", "/api/v1/usage-types/{usage_type_id}"),
}  # fmt: skip
OF_MANAGERS = tuple(
    f"/api/v1/{name}" for name in ("users", "organizations", "usage-types", "closed-periods", "restatements")
)
OF_ANYBODY = ("/api/v1/auth/", "/api/v1/api-keys", "/api/v1/verify")
OF_OVERSEERS = "/api/v1/audit-entries"
# What takes a password, and so no API key.
IN_PERSON = ("/api/v1/auth/sessions", "/api/v1/users", "/api/v1/api-keys", "/api/v1/auth/")
# What an insider is shown of the rows that are the manager's.
SEEN = {
    "member": {"organization_id", "closed_period_id", "usage_type_id", "factor_id"},
    "auditor": {"organization_id", "closed_period_id", "usage_type_id", "factor_id"}
    | {"usage_id", "user_id", "import_id", "restatement_id"},
}
SHARED_IDS = {"usage_type_id"}
LAST = ("log_out", "change_password")  # They end sessions.
# Query arguments and fields that name a row, beside those named as paths name theirs: whose row it is.
NAMING = {
    "recorded_by": "user_id",
    "actor_id": "user_id",
    "subject_id": "usage_id",
    "adjusts_closed_period_id": "closed_period_id",
}
OK = range(200, 300)


def run(service, operations):
    """Every operation tried by everybody, and every way to name a row of somebody else's."""
    part = Part("matrix")
    nest = nests.build(service)
    attackers = nests.attackers(service, nest)
    before = snapshot(service, operations, nest)
    ordered = sorted(operations, key=lambda operation: (operation.id in LAST, operation.id == LAST[-1]))
    for attacker in attackers:
        if attacker.role:
            name_rows(part, service, operations, nest, attacker)
        for operation in ordered:
            try_operation(part, service, nest, attacker, operation)
        after = snapshot(service, operations, nest)
        compare(part, attacker, before, after)
        before = after
    part.figures["attackers"] = len(attackers)
    part.reaches({operation.id for operation in operations})
    return part


def expected(operation, attacker):
    """The status that the role table calls for; None for any that is good."""
    method, path = operation.method, operation.template
    if operation.is_open:
        return {"accept_invitation": 422, "log_in": 401}.get(operation.id)
    if operation.takes_refresh_token or attacker.role is None:
        return 401
    writes = method != "GET" and path != "/api/v1/verify"
    if attacker.is_key:
        in_person = path.startswith(IN_PERSON) and (writes or path.startswith(IN_PERSON[0]))
        return 403 if writes or in_person else None
    if path.startswith(OF_OVERSEERS) and attacker.role == "member":
        return 403
    if writes and not path.startswith(OF_ANYBODY):
        managed = path.startswith(OF_MANAGERS)
        if (method, path) in ADMINS or attacker.role == "auditor" or (managed and attacker.role != "manager"):
            return 403
    shown = SHARED_IDS if attacker.is_outsider else SEEN[attacker.role]
    return None if named_ids(operation) <= shown else 404


def named_ids(operation):
    """The rows of an organization that a request must name."""
    needed = {"usage_id" if operation.id == "delete_usages" else "user_id"} if "id" in operation.required else set()
    return {*operation.path_ids} | needed


def try_operation(part, service, nest, attacker, operation):
    """The operation's own example, with the ids of the nest's rows."""
    status = expected(operation, attacker)
    token = attacker.spares.pop() if operation.id in LAST and attacker.spares else attacker.token

    def ask(ids):
        query = dict(operation.required)
        if "id" in query:
            query["id"] = ids["usage_id" if operation.id == "delete_usages" else "user_id"]
        path = operation.path(ids) + (f"?{urlencode(query)}" if query else "")
        return service.ask(operation.method, path, token, **operation.sending())

    answer = ask(nest.ids)
    good = answer.status == status if status else answer.status in OK
    told = (attacker.name, operation.method, operation.template, answer.status, status or "2xx", answer.text)
    part.attack(operation.id, good and (answer.status in OK or answer.is_problem), *told)
    part.expect(not leaks(answer, attacker), "leaked:", *told)
    if status == 404:
        unknown = ask(nest.ids | dict.fromkeys(named_ids(operation) - SHARED_IDS, NOBODYS_ID))
        alike = (unknown.status, unknown.json["type"]) == (answer.status, answer.json["type"])
        part.expect(alike, "tells what is there:", *told, unknown.text)


def leaks(answer, attacker, sent=""):
    """Whether an answer tells the attacker what they may not see, beside repeating what they sent themselves."""
    canaries = [nests.SHARED, nests.OWN] if attacker.is_outsider else [nests.OWN] if attacker.role == "member" else []
    return any(canary in answer.text.replace(sent, "") for canary in canaries)


def name_rows(part, service, operations, nest, attacker):
    """Rows of the nest, named in each query argument and each field that can name one."""
    if not attacker.is_outsider and attacker.role != "member":
        return
    for operation in operations:
        if operation.is_open or {*operation.path_ids} - SHARED_IDS:
            continue
        nobodys = dict.fromkeys(nest.ids, NOBODYS_ID)
        for name in operation.query:
            if name not in SHARED_IDS and naming(name, nest.ids, operation) is not None:
                answers = []
                for ids in (nest.ids, nobodys):
                    query = operation.required | {name: naming(name, ids, operation)}
                    path = f"{operation.path({'usage_type_id': 101})}?{urlencode(query)}"
                    answers.append(service.ask(operation.method, path, attacker.token, **operation.sending()))
                note_named(part, attacker, operation, name, *answers)
        hidden = nest.ids.keys() - (SHARED_IDS if attacker.is_outsider else SEEN[attacker.role])
        for name in operation.properties:
            if NAMING.get(name, name) in hidden:
                answers = []
                for ids in (nest.ids, nobodys):
                    sent = operation.sending(**{name: ids[NAMING.get(name, name)]})
                    path = operation.path({"usage_type_id": 101})
                    answers.append(service.ask(operation.method, path, attacker.token, **sent))
                part.expect(answers[0].status in (403, 409, 422), attacker.name, operation.id, name, answers[0].text)
                note_named(part, attacker, operation, name, *answers)


def naming(name, ids, operation):
    """The value by which a query argument names a row of the nest, or None if it names none."""
    is_there = ids["usage_id"] != NOBODYS_ID
    if name == "external_id":
        return nests.EXTERNAL_ID if is_there else "of nobody"
    if name == "user_email":
        return nests.EMAIL if is_there else "nobody@example.org"
    if name == "id":
        return ids["usage_id" if operation.id == "delete_usages" else "user_id"]
    return ids.get(NAMING.get(name, name))


def note_named(part, attacker, operation, name, answer, unknown):
    """What names a row that the attacker may not see must be answered as what names no row at all."""
    told = (attacker.name, operation.id, name, answer.status, answer.text)
    part.attack(operation.id, answer.status in (200, 403, 404, 409, 422), *told)
    part.expect(not leaks(answer, attacker, nests.EMAIL), "leaked:", *told)
    alike = answer.status == unknown.status and (answer.status == 200 or kind(answer) == kind(unknown))
    part.expect(alike, "tells what is there:", *told, unknown.status, unknown.text)


def kind(answer):
    return answer.json["type"], list(answer.json.get("errors", ()))


def snapshot(service, operations, nest):
    """What the nest's manager reads at every address: by path, the JSON or text."""
    found = {}
    for operation in operations:
        if operation.method == "GET" and not operation.is_open:
            query = operation.required | ({"page_size": 1000} if "page_size" in operation.query else {})
            path = operation.path(nest.ids) + (f"?{urlencode(query)}" if query else "")
            answer = service.ask("GET", path, nest.token)
            assert answer.status == 200, (path, answer.text)
            found[operation.template] = without_use(answer.json) if answer.json is not None else answer.text
    return found


def without_use(read):
    """The same, but for when an API key was last used, which reading changes."""
    if isinstance(read, list):
        return [without_use(row) for row in read]
    return {name: value for name, value in read.items() if name != "last_used_at"}


def compare(part, attacker, before, after):
    """What was there before somebody's attack is there afterwards; and nothing else, unless they may write."""
    for path, was in before.items():
        now = after[path]
        if attacker.is_outsider or attacker.is_key:
            kept = now == was
        elif isinstance(was, list) and was and "id" in was[0]:
            kept = all(row in now for row in was if row["id"] != attacker.user_id or path != "/api/v1/users")
        else:
            kept = now == was or "{" not in path  # Sums have what an insider has recorded.
        part.expect(kept, f"{attacker.name} has changed what is read at {path}:", was, now)
