"""The corpus in every JSON field, query parameter, path ID and header.

No response may be 5xx, every error is a problem document, and accepted values are returned as they were sent.
Afterwards all lists, sums and exports can still be read.
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

CANONICAL = {"unit", "email"}  # Returned in the spelling of the service.


def run(service, operations, every=1):
    """Send one attack in `every`."""
    part = Part("malformed")
    reader, root, lock = targets.manager(service), targets.admin(service), threading.Lock()
    tokens = {reader.token, root.token}

    def attack(place, operation):
        """Send the attacks on one operation, and always the first."""
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
    # An admin reads the rows of all organizations, so a sample needs no other reader.
    check_all_rows_are_readable(part, service, operations, tokens if every == 1 else {reader.token, root.token})
    part.reaches({operation.id for operation in operations})
    return part


def unknown_arguments(operation):
    """Yield unknown parameters, and repeated ones."""
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
    """Yield each field of the JSON body with each value, and without one."""
    for name in operation.properties:
        for text in corpus.IN_JSON:
            yield f"{name}: {text[:40]}", {"field": name, "text": text}
            if operation.takes_array:
                yield f"{name} in an array: {text[:40]}", {"field": name, "text": text, "in_array": True}
        yield f"{name} missing", {"field": name, "text": None}


def bodies(operation):
    if operation.properties:
        for content, status in corpus.BODIES:
            yield f"body {content[:40]!r}", {"content": content, "status": status}
        for media_type in corpus.MEDIA:
            yield f"media type {media_type}", {"media_type": media_type, "status": 415}


def send(part, service, target, name, attack):
    """Send an attack, and check the answer."""
    operation = target.operation
    request = request_of(target, attack)
    answer = service.ask(operation.method, request.pop("path"), target.token, **request)
    details = (operation.method, operation.template, name, answer.status, answer.text[:300])
    expected = attack.get("status")
    good = answer.status == expected if expected else str(answer.status) in operation.statuses
    is_valid = answer.status in OK or answer.status == 304 or answer.is_problem
    part.attack(operation.id, good and 0 < answer.status < 500 and is_valid, *details)
    if answer.status in OK and operation.method != "GET":
        if "field" in attack and attack["text"] is not None:
            check_accepted_value(part, service, target, attack, answer, details)
        target.renew(request.get("content"), answer)


def request_of(target, attack):
    """Return the request with the attack in it."""
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
    if attack.get("in_array"):
        content = b"[" + json.dumps(operation.body(**target.fields)).encode() + b", " + content + b"]"
    return request | {"content": content, "content_type": attack.get("media_type", "application/json")}


def check_accepted_value(part, service, target, attack, answer, details):
    """Check that the value sent is in the answer, and in the row when it is read."""
    sent = json.loads(attack["text"], parse_float=str)
    rows = [answer.json] if isinstance(answer.json, dict) else []
    if attack.get("in_array"):
        rows = [service.ask("GET", f"{target.address}/{answer.json['ids'][1]}", target.token).json]
    address = answer.headers.get("location") or (target.address if target.operation.method != "POST" else None)
    if address and answer.status != 204 and not target.operation.is_open:  # A registered user is another one.
        read = service.ask("GET", address, target.token)
        part.expect(read.status == 200, "cannot be read:", *details, read.status, read.text)
        rows.append(read.json or {})
    for row in rows:
        if attack["field"] in row and attack["field"] not in CANONICAL:
            part.expect(same(sent, row[attack["field"]]), "was changed:", *details, row[attack["field"]])


def same(sent, stored):
    """Return whether values are equal: numbers and times by value, names trimmed."""
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


def check_all_rows_are_readable(part, service, operations, tokens):
    """Read every list, sum and export with each of the tokens."""
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
                part.expect(answer.status == 200, "cannot be read:", path, answer.status, answer.text)
                part.figures["read afterwards"] += 1
