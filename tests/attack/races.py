"""Concurrent requests; only one of each group may succeed."""

import time

from carbonapi.settings import DEFAULTS
from tests.support.threads import at_once

from .document import numbers
from .report import Part
from .service import PASSWORD, attacked

AT_ONCE = 12
ROUNDS = 5
GUESSES, GUESS_LIMIT = 25, 10
OTHER_PASSWORD = "quite other words for a change"
LINES = [f"2024-01-01T{hour:02}:00:00Z,1,reading-{hour}\n" for hour in range(24)]
FILE = "usage_at,amount,external_id\n" + "".join(LINES)


def run(service, operations, rounds=ROUNDS):
    """Run each race this number of times."""
    part = Part("races")
    races = (overwrite, refresh, repeat, revoke, import_at_once, accept, register)
    for race in races:
        for _ in range(1 if race is revoke else rounds):
            race(part, service)
    guess(part, service)
    part.figures["races"] = len(races) + 1
    part.operations = len(part.reached)
    return part


def together(service, method, path, token, *bodies, headers=None, number=AT_ONCE):
    """Send a request concurrently, with each of the bodies in turn, and return the answers."""

    def ask(place):
        body = bodies[place % len(bodies)] if bodies else None
        return service.ask(method, path, token, body, headers=headers or {})

    return at_once(number, ask)


def count(answers, status):
    return sum(answer.status == status for answer in answers)


def details(answers):
    return sorted(answer.status for answer in answers), answers[0].text


def new_manager(service):
    """Return the e-mail address, the user and the token of a new manager."""
    email = f"racer{next(numbers)}@example.org"
    user, token = service.register(email)
    return email, user, token


def a_usage(**changes):
    return {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1} | changes


def overwrite(part, service):
    """One of several changes to the same version succeeds; the others get 412."""
    _, user, token = new_manager(service)
    usage = service.made("/usages", token, **a_usage())
    bodies = [{"amount": place + 2} for place in range(AT_ONCE)]
    for operation_id, path in (("correct_usage", f"/usages/{usage['id']}"), ("change_user", f"/users/{user['id']}")):
        tag = service.ask("GET", path, token).headers["etag"]
        sent = bodies if operation_id == "correct_usage" else [{"name": f"Name {place}"} for place in range(AT_ONCE)]
        answers = together(service, "PATCH", path, token, *sent, headers={"If-Match": tag})
        one = count(answers, 200) == 1 and count(answers, 412) == AT_ONCE - 1
        (won,) = [answer for answer in answers if answer.status == 200] or [answers[0]]
        part.attack(operation_id, one and service.ask("GET", path, token).json == won.json, details(answers))
    versions = service.ask("GET", f"/usages/{usage['id']}/versions", token).json
    part.expect(len(versions) == 2, "versions:", len(versions))


def refresh(part, service):
    """A refresh token has one successor, however often it is sent."""
    email, _, _ = new_manager(service)
    first = service.log_in(email)["refresh_token"]
    answers = together(service, "POST", "/auth/refresh", first)
    successors = {answer.json["refresh_token"] for answer in answers if answer.status == 200}
    part.attack("refresh_tokens", count(answers, 200) == AT_ONCE and len(successors) == 1, details(answers))
    (second,) = list(successors)[:1]
    third = service.ask("POST", "/auth/refresh", second)
    again = service.ask("POST", "/auth/refresh", first)
    after = service.ask("POST", "/auth/refresh", third.json["refresh_token"])
    statuses = (third.status, again.status, after.status)
    part.attack("refresh_tokens", statuses == (200, 401, 401), "an old token ends its session:", statuses)


def repeat(part, service):
    """Requests with the same Idempotency-Key have one effect; their answers are the first one's or 409."""
    _, _, token = new_manager(service)
    key = {"Idempotency-Key": f"key-{next(numbers)}"}
    answers = together(service, "POST", "/usages", token, a_usage(), headers=key)
    made = {answer.json["id"] for answer in answers if answer.status == 201}
    stored = service.ask("GET", "/usages", token).json
    right = len(made) == len(stored) == 1 and count(answers, 201) + count(answers, 409) == AT_ONCE
    part.attack("record_usage", right, details(answers), len(stored))
    other = service.ask("POST", "/usages", token, a_usage(amount=2), headers=key)
    part.attack("record_usage", other.status == 422, "another body with the same key:", other.status)


def revoke(part, service):
    """A deleted key, an ended session and a deactivated user lose access once the session cache has expired."""
    _, _, token = new_manager(service)
    email = f"racer{next(numbers)}@example.org"
    body = {"email": email, "name": "A user", "role": "member", "password": PASSWORD}
    member = service.made("/users", token, **body)
    theirs = service.log_in(email)["access_token"]
    ended = service.log_in(email)["access_token"]
    key = service.made("/api-keys", token, name="Key", scope="read")
    tokens = {"delete_api_key": key["key"], "log_out": ended, "change_user": theirs}
    for one in tokens.values():
        answers = together(service, "GET", "/auth/me", one)
        part.attack("get_yourself", count(answers, 200) == AT_ONCE, details(answers))
    part.expect(service.ask("DELETE", f"/api-keys/{key['id']}", token).status == 204, "no key deleted")
    part.expect(service.ask("POST", "/auth/logout", ended).status == 204, "not logged out")
    changed = service.ask("PATCH", f"/users/{member['id']}", token, {"active": False})
    part.expect(changed.status == 200, "not deactivated", changed.text)
    time.sleep(DEFAULTS["SESSION_CACHE_SECONDS"] + 0.2)
    for operation_id, one in tokens.items():
        answers = together(service, "GET", "/auth/me", one)
        part.attack(operation_id, count(answers, 401) == AT_ONCE, details(answers))


def import_at_once(part, service):
    """A file with external IDs that is imported concurrently is recorded once."""
    _, _, token = new_manager(service)
    path = "/imports?usage_type_id=100"

    def send(place):
        return service.ask("POST", path, token, content=FILE.encode(), content_type="text/csv")

    answers = at_once(4, send)
    recorded = service.ask("GET", "/usages?page_size=1000", token).json
    ids = [usage["external_id"] for usage in recorded]
    rejected = all(answer.is_problem for answer in answers if answer.status != 201)
    right = count(answers, 201) == 1 and len(ids) == len(set(ids)) == 24 and rejected
    part.attack("import_usages", right, details(answers), len(ids))
    total = service.ask("GET", "/emissions/summary", token).json
    part.expect((total["usage_count"], total["co2e_kg"]) == (24, 36), "the sums differ:", total)


def accept(part, service):
    """A password token sets one password."""
    _, _, token = new_manager(service)
    email = f"racer{next(numbers)}@example.org"
    invited = service.made("/users", token, email=email, name="A user", role="member")
    bodies = [
        {"token": invited["invitation_token"], "password": f"{OTHER_PASSWORD} {place}"} for place in range(AT_ONCE // 2)
    ]
    answers = together(service, "POST", "/auth/accept", None, *bodies, number=AT_ONCE // 2)
    part.attack("accept_invitation", count(answers, 204) == 1 and count(answers, 500) == 0, details(answers))
    logged_in = [
        service.ask("POST", "/auth/login", json_body={"email": email, "password": body["password"]}).status
        for body in bodies
    ]
    part.attack("log_in", logged_in.count(200) == 1, "valid passwords:", logged_in)


def register(part, service):
    """An e-mail address belongs to one user."""
    email = f"racer{next(numbers)}@example.org"
    body = {"email": email, "password": PASSWORD, "name": "A user"}
    answers = together(service, "POST", "/auth/register", None, body, body | {"email": email.upper()}, number=4)
    right = count(answers, 201) == 1 and count(answers, 201) + count(answers, 409) + count(answers, 503) == 4
    part.attack("register_organization", right, details(answers))


def guess(part, service):
    """Of concurrent guesses at a password, the limit are checked."""
    email, _, _ = new_manager(service)
    limit = f"{GUESS_LIMIT}/300"
    with attacked(service.database_url, service.superuser_url, RATE_LIMIT_LOGIN_PER_ACCOUNT=limit) as limited:
        body = {"email": email, "password": "not the password at all"}
        answers = together(limited, "POST", "/auth/login", None, body, number=GUESSES)
        rejected = count(answers, 429)
        # A guess that waits too long for a hashing slot is 503, and counts too.
        checked = count(answers, 401) + count(answers, 503)
        right = (checked, rejected) == (GUESS_LIMIT, GUESSES - GUESS_LIMIT)
        part.attack(
            "log_in",
            right and all("retry-after" in one.headers for one in answers if one.status == 429),
            details(answers),
        )
        part.figures |= {"guesses checked": checked, "rejected": rejected}
