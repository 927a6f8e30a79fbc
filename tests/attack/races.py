"""What is asked at the same time: of those who may not all win, exactly one does."""

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
    """Every race, so many times over."""
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
    """The answers to a request that is made so often at once; of several bodies, each in turn."""

    def ask(place):
        body = bodies[place % len(bodies)] if bodies else None
        return service.ask(method, path, token, body, headers=headers or {})

    return at_once(number, ask)


def count(answers, status):
    return sum(answer.status == status for answer in answers)


def told(answers):
    return sorted(answer.status for answer in answers), answers[0].text


def somebody(service):
    """A new organization's manager: their e-mail address, user, and token."""
    email = f"racer{next(numbers)}@example.org"
    user, token = service.register(email)
    return email, user, token


def a_usage(**changes):
    return {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1} | changes


def overwrite(part, service):
    """Of those who change one version, one does; the others are told."""
    _, user, token = somebody(service)
    usage = service.made("/usages", token, **a_usage())
    bodies = [{"amount": place + 2} for place in range(AT_ONCE)]
    for operation_id, path in (("correct_usage", f"/usages/{usage['id']}"), ("change_user", f"/users/{user['id']}")):
        tag = service.ask("GET", path, token).headers["etag"]
        sent = bodies if operation_id == "correct_usage" else [{"name": f"Name {place}"} for place in range(AT_ONCE)]
        answers = together(service, "PATCH", path, token, *sent, headers={"If-Match": tag})
        one = count(answers, 200) == 1 and count(answers, 412) == AT_ONCE - 1
        (won,) = [answer for answer in answers if answer.status == 200] or [answers[0]]
        part.attack(operation_id, one and service.ask("GET", path, token).json == won.json, told(answers))
    versions = service.ask("GET", f"/usages/{usage['id']}/versions", token).json
    part.expect(len(versions) == 2, "versions:", len(versions))


def refresh(part, service):
    """Of one refresh token there is one successor, however often and by whomever it is sent."""
    email, _, _ = somebody(service)
    first = service.log_in(email)["refresh_token"]
    answers = together(service, "POST", "/auth/refresh", first)
    successors = {answer.json["refresh_token"] for answer in answers if answer.status == 200}
    part.attack("refresh_tokens", count(answers, 200) == AT_ONCE and len(successors) == 1, told(answers))
    (second,) = list(successors)[:1]
    third = service.ask("POST", "/auth/refresh", second)
    again = service.ask("POST", "/auth/refresh", first)
    after = service.ask("POST", "/auth/refresh", third.json["refresh_token"])
    statuses = (third.status, again.status, after.status)
    part.attack("refresh_tokens", statuses == (200, 401, 401), "an old token ends the family:", statuses)


def repeat(part, service):
    """What is sent with one Idempotency-Key has one effect, and every answer is the first's or says to wait."""
    _, _, token = somebody(service)
    key = {"Idempotency-Key": f"key-{next(numbers)}"}
    answers = together(service, "POST", "/usages", token, a_usage(), headers=key)
    made = {answer.json["id"] for answer in answers if answer.status == 201}
    stored = service.ask("GET", "/usages", token).json
    right = len(made) == len(stored) == 1 and count(answers, 201) + count(answers, 409) == AT_ONCE
    part.attack("record_usage", right, told(answers), len(stored))
    other = service.ask("POST", "/usages", token, a_usage(amount=2), headers=key)
    part.attack("record_usage", other.status == 422, "another body with the same key:", other.status)


def revoke(part, service):
    """A deleted key, an ended session and a deactivated user are let in no longer than a worker may remember them."""
    _, _, token = somebody(service)
    email = f"racer{next(numbers)}@example.org"
    body = {"email": email, "name": "Somebody", "role": "member", "password": PASSWORD}
    member = service.made("/users", token, **body)
    theirs = service.log_in(email)["access_token"]
    ended = service.log_in(email)["access_token"]
    key = service.made("/api-keys", token, name="Key", scope="read")
    tokens = {"delete_api_key": key["key"], "log_out": ended, "change_user": theirs}
    for one in tokens.values():
        answers = together(service, "GET", "/auth/me", one)
        part.attack("get_yourself", count(answers, 200) == AT_ONCE, told(answers))
    part.expect(service.ask("DELETE", f"/api-keys/{key['id']}", token).status == 204, "no key deleted")
    part.expect(service.ask("POST", "/auth/logout", ended).status == 204, "not logged out")
    changed = service.ask("PATCH", f"/users/{member['id']}", token, {"active": False})
    part.expect(changed.status == 200, "not deactivated", changed.text)
    time.sleep(DEFAULTS["SESSION_CACHE_SECONDS"] + 0.2)
    for operation_id, one in tokens.items():
        answers = together(service, "GET", "/auth/me", one)
        part.attack(operation_id, count(answers, 401) == AT_ONCE, told(answers))


def import_at_once(part, service):
    """Of one file with ids of its own, sent at once, each line is booked once."""
    _, _, token = somebody(service)
    path = "/imports?usage_type_id=100"

    def send(place):
        return service.ask("POST", path, token, content=FILE.encode(), content_type="text/csv")

    answers = at_once(4, send)
    booked = service.ask("GET", "/usages?page_size=1000", token).json
    ids = [usage["external_id"] for usage in booked]
    refused = all(answer.is_problem for answer in answers if answer.status != 201)
    right = count(answers, 201) == 1 and len(ids) == len(set(ids)) == 24 and refused
    part.attack("import_usages", right, told(answers), len(ids))
    total = service.ask("GET", "/emissions/summary", token).json
    part.expect((total["usage_count"], total["co2e_kg"]) == (24, 36), "the sums differ:", total)


def accept(part, service):
    """One token for a password is good for one password."""
    _, _, token = somebody(service)
    email = f"racer{next(numbers)}@example.org"
    invited = service.made("/users", token, email=email, name="Somebody", role="member")
    bodies = [
        {"token": invited["invitation_token"], "password": f"{OTHER_PASSWORD} {place}"} for place in range(AT_ONCE // 2)
    ]
    answers = together(service, "POST", "/auth/accept", None, *bodies, number=AT_ONCE // 2)
    part.attack("accept_invitation", count(answers, 204) == 1 and count(answers, 500) == 0, told(answers))
    logged_in = [
        service.ask("POST", "/auth/login", json_body={"email": email, "password": body["password"]}).status
        for body in bodies
    ]
    part.attack("log_in", logged_in.count(200) == 1, "passwords that let in:", logged_in)


def register(part, service):
    """One e-mail address is one user's."""
    email = f"racer{next(numbers)}@example.org"
    body = {"email": email, "password": PASSWORD, "name": "Somebody"}
    answers = together(service, "POST", "/auth/register", None, body, body | {"email": email.upper()}, number=4)
    right = count(answers, 201) == 1 and count(answers, 201) + count(answers, 409) + count(answers, 503) == 4
    part.attack("register_organization", right, told(answers))


def guess(part, service):
    """Of guesses at once at one password, as many are looked at as the limit says."""
    email, _, _ = somebody(service)
    limit = f"{GUESS_LIMIT}/300"
    with attacked(service.database_url, service.superuser_url, RATE_LIMIT_LOGIN_PER_ACCOUNT=limit) as limited:
        body = {"email": email, "password": "not the password at all"}
        answers = together(limited, "POST", "/auth/login", None, body, number=GUESSES)
        refused = count(answers, 429)
        # One who waits too long for a core to hash on is told to come again: that guess was counted, too.
        looked_at = count(answers, 401) + count(answers, 503)
        right = (looked_at, refused) == (GUESS_LIMIT, GUESSES - GUESS_LIMIT)
        part.attack(
            "log_in", right and all("retry-after" in one.headers for one in answers if one.status == 429), told(answers)
        )
        part.figures |= {"guesses looked at": looked_at, "refused": refused}
