"""The corpus in every field of every JSON body, every query argument, every id of a path and every header.

Nothing may be answered by a 5xx, every refusal is a problem, and what was accepted reads back as it was sent; and after
all of it, everything can still be read: no row that was let in spoils a list, a sum or an export.
"""

import datetime as dt
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation
from urllib.parse import quote, urlencode

from . import corpus, framing, targets
from .matrix import ADMINS, OK
from .report import Part
from .service import WORKERS

CANONICAL = {"unit", "email"}  # Answered in the way that the service writes them.


def run(service, operations, every=1):
    """Each `every`th attack of all."""
    part = Part("malformed")
    reader, root, lock = targets.manager(service), targets.admin(service), threading.Lock()
    tokens = {reader.token, root.token}

    def attack(place, operation):
        """All attacks on one operation; of a sample, at least the first."""
        if operation.method == "GET":
            account = reader
        elif (operation.method, operation.template) in ADMINS:
            account = root
        else:
            account = targets.manager(service)
        target = targets.Target(service, operation, account)
        attacks = [*unknown_arguments(operation), *arguments(operation), *ids(operation), *headers(operation)]
        attacks += [*fields(operation), *bodies(operation)]
        found = Part(operation.id)
        for one in {0, *range(place % every, len(attacks), every)}:
            send(found, service, target, *attacks[one])
        if every == 1 or operation.id in framing.SAMPLE:
            framing.attack(found, service, target)
        with lock:
            part.add(found)
            tokens.add(account.token if operation.takes_refresh_token else target.token)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(attack, range(len(operations)), operations))
    check_that_all_can_be_read(part, service, operations, tokens)
    part.reaches({operation.id for operation in operations})
    return part


def unknown_arguments(operation):
    """Arguments that there are not, and those that there are more than once."""
    for name in ("no_such_argument", "id[]", "__proto__", "", "%00", "page%20", "Page"):
        yield f"?{name}=1", {"query": f"{name}=1", "status": 422 if name else None}
    for name, schema in operation.query.items():
        if schema.get("type") != "array":
            yield f"{name} twice", {"query": f"{name}=1&{name}=1", "status": 422}


def arguments(operation):
    for name in operation.query:
        for text in corpus.IN_QUERY:
            yield f"?{name}={text[:40]!r}", {"query": f"{name}={quote(text, safe='')}", "argument": name}


def ids(operation):
    for name in operation.path_ids:
        for text in corpus.IDS:
            yield f"{{{name}}}={text[:40]}", {"ids": {name: text}, "status": 404}


def headers(operation):
    for found in operation.parameters:
        if found["in"] == "header":
            for text in corpus.IN_HEADERS[found["name"]]:
                yield f"{found['name']}: {text[:40]!r}", {"headers": {found["name"]: text.encode()}}


def fields(operation):
    """Each field of the JSON body, with each text in its place; and one that there is not."""
    for name in operation.properties:
        for text in corpus.IN_JSON:
            yield f"{name}: {text[:40]}", {"field": name, "text": text}
        yield f"{name} missing", {"field": name, "text": None}


def bodies(operation):
    if operation.properties:
        for content, status in corpus.BODIES:
            yield f"body {content[:40]!r}", {"content": content, "status": status}
        for media_type in corpus.MEDIA:
            yield f"media type {media_type}", {"media_type": media_type, "status": 415}


def send(part, service, target, name, attack):
    """One attack, and what must hold of its answer."""
    operation = target.operation
    request = request_of(target, attack)
    answer = service.ask(operation.method, request.pop("path"), target.token, **request)
    told = (operation.method, operation.template, name, answer.status, answer.text[:300])
    expected = attack.get("status")
    good = answer.status == expected if expected else str(answer.status) in operation.statuses
    is_right = answer.status in OK or answer.status == 304 or answer.is_problem
    part.attack(operation.id, good and 0 < answer.status < 500 and is_right, *told)
    if answer.status in OK and operation.method != "GET":
        if "field" in attack and attack["text"] is not None:
            check_what_was_accepted(part, service, target, attack, answer, told)
        target.renew(request.get("content"), answer)


def request_of(target, attack):
    """What to ask, with the attack in its place."""
    operation = target.operation
    query = dict(operation.required)
    query.pop(attack.get("argument"), None)
    if "id" in query:
        query["id"] = target.id
    whole = "&".join(filter(None, [urlencode(query), attack.get("query", "")]))
    path = operation.path(target.ids | attack.get("ids", {}))
    request = {"path": path + (f"?{whole}" if whole else ""), "headers": attack.get("headers", {})}
    sent = operation.sending(**target.fields)
    if "json_body" not in sent:
        return request | sent
    body = sent["json_body"]
    if "field" in attack:
        body.pop(attack["field"], None)
    content = attack.get("content", json.dumps(body).encode())
    if attack.get("text") is not None:
        separator = ", " if body else ""
        content = f'{content.decode()[:-1]}{separator}"{attack["field"]}": {attack["text"]}}}'.encode()
    return request | {"content": content, "content_type": attack.get("media_type", "application/json")}


def check_what_was_accepted(part, service, target, attack, answer, told):
    """What was sent must be what was stored: it is in the answer, and in the row as it is read."""
    sent = json.loads(attack["text"], parse_float=str)
    rows = [answer.json] if isinstance(answer.json, dict) else []
    address = answer.headers.get("location") or (target.address if target.operation.method != "POST" else None)
    if address and answer.status != 204 and not target.operation.is_open:  # Whoever registers is somebody else.
        read = service.ask("GET", address, target.token)
        part.expect(read.status == 200, "cannot be read:", *told, read.status, read.text)
        rows.append(read.json or {})
    for row in rows:
        if attack["field"] in row and attack["field"] not in CANONICAL:
            part.expect(same(sent, row[attack["field"]]), "was changed silently:", *told, row[attack["field"]])


def same(sent, stored):
    """Whether a value is what was sent: numbers by what they are worth, instants by when they are, names trimmed."""
    if sent == stored or (isinstance(sent, str) and sent.strip() == stored):
        return True
    try:
        return Decimal(str(sent)) == Decimal(str(stored))
    except InvalidOperation:
        pass
    try:
        return dt.datetime.fromisoformat(sent) == dt.datetime.fromisoformat(stored)
    except (TypeError, ValueError):
        return False


def check_that_all_can_be_read(part, service, operations, tokens):
    """Every list, sum and export of everybody to whom something was done."""
    reads = [one for one in operations if one.method == "GET" and not {*one.path_ids} - {"usage_type_id"}]
    part.figures["read afterwards"] = 0
    for token in tokens:
        for operation in reads:
            queries = [dict(operation.required)]
            if "page_size" in operation.query:
                queries = [{"page_size": 1000}, {"page_size": 1000, "cursor": ""}]
            if "format" in operation.query:
                queries = [{"format": "csv"}, {"format": "ndjson"}]
            for query in queries:
                path = f"{operation.path({'usage_type_id': 100})}?{urlencode(query)}"
                answer = service.ask("GET", path, token)
                part.expect(answer.status == 200, "spoilt:", path, answer.status, answer.text)
                part.figures["read afterwards"] += 1
