"""Forged tokens: none is accepted, and those with a wrong signature cause no database query."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import time

import jwt
import sqlalchemy as sa

from carbonapi.accounts.invitations import PURPOSE
from carbonapi.accounts.opaque_tokens import OpaqueToken
from carbonapi.auth.tokens import API_KEY_PREFIX, LEEWAY_SECONDS, REQUIRED_CLAIMS

from .document import UNKNOWN_ID
from .report import Part

BURST = 20
ATTEMPTS = 20
# The worker of imports polls every second. In between, only these requests make the service query its database.
LAST_QUERY = sa.text(
    "SELECT coalesce(max(query_start), '-infinity') FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----
"""


def run(service, operations):
    """Send every forgery to operations that read and write, and a valid token."""
    part = Part("tokens")
    manager, _ = service.register("forged@example.org")
    _, other = service.register("forged.too@example.org")
    tokens = service.log_in("forged@example.org")
    token = tokens["access_token"]
    by_id = {operation.id: operation for operation in operations}
    aims = [by_id["list_usages"], by_id["record_usage"], by_id["get_user"]]
    ids = {"user_id": manager["id"]}
    part.expect(service.ask("GET", "/usages", token).status == 200, "a valid token is rejected")

    def attack(name, forged):
        for operation in aims:
            answer = service.ask(operation.method, operation.path(ids), forged, **operation.sending())
            good = (
                answer.status == 401 and answer.is_problem and answer.headers["www-authenticate"].startswith("Bearer")
            )
            part.attack(operation.id, good, name, forged[:300], answer.status, answer.text)

    unsigned = list(forgeries(token, tokens["refresh_token"], service.secret_key))
    costly = list(signed_forgeries(token, other, service.secret_key))
    engine = sa.create_engine(service.superuser_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as watching:
        # Check that a query is seen.
        began = watching.scalar(sa.text("SELECT clock_timestamp()"))
        service.ask("GET", "/usages", token)
        part.expect(watching.scalar(LAST_QUERY) > began, "the check does not see a query")
        queried = 0
        for first in range(0, len(unsigned), BURST):
            queried += not any(
                caused_no_query(watching, unsigned[first : first + BURST], attack) for _ in range(ATTEMPTS)
            )
    engine.dispose()
    part.expect(queried == 0, f"{queried} bursts of forgeries caused a query each time")
    for name, forged in costly:
        attack(name, forged)
    part.expect(service.ask("GET", "/usages", token).status == 200, "a valid token is rejected after the attack")
    part.figures |= {"forgeries": len(unsigned) + len(costly), "that queried the database": queried}
    part.reaches({operation.id for operation in aims})
    return part


def caused_no_query(watching, burst, attack):
    """Return whether a burst of forgeries was answered without a query."""
    began = watching.scalar(sa.text("SELECT clock_timestamp()"))
    for name, forged in burst:
        attack(name, forged)
    if watching.scalar(LAST_QUERY) < began:
        return True
    time.sleep(0.1)
    return False


def encoded(part):
    """Return a segment of a token: JSON, or bytes or text unchanged."""
    if not isinstance(part, bytes | str):
        part = json.dumps(part)
    return base64.urlsafe_b64encode(part.encode() if isinstance(part, str) else part).rstrip(b"=").decode()


def signed(header, claims, key, digest="sha256"):
    """Return a hand-made token, which no library would create."""
    content = f"{encoded(header)}.{encoded(claims)}"
    key = key.encode() if isinstance(key, str) else key
    return f"{content}.{encoded(hmac.digest(key, content.encode(), digest))}"


def forgeries(token, refresh_token, key):
    """Yield names and tokens that can be rejected without the database."""
    claims = jwt.decode(token, options={"verify_signature": False})
    header, payload, signature = token.split(".")
    right = {"alg": "HS256", "typ": "JWT"}
    now = int(dt.datetime.now(dt.UTC).timestamp())
    for algorithm in ("none", "None", "NONE", "nOnE", "", None, 0, [], {"alg": "none"}, "HS256 ", "hs256"):
        for end in ("", signature):
            yield f"algorithm {algorithm!r}", f"{encoded(right | {'alg': algorithm})}.{payload}.{end}"
    yield "no algorithm", signed({"typ": "JWT"}, claims, key)
    for algorithm, digest in (("HS384", "sha384"), ("HS512", "sha512"), ("RS256", "sha256"), ("ES256", "sha256")):
        for secret in (PUBLIC_KEY, "", key):
            yield f"confusion with {algorithm}", signed(right | {"alg": algorithm}, claims, secret, digest)
    for secret in ("", "secret", "x" * 32, PUBLIC_KEY, key[:-1], key + "x", key.upper(), key[::-1]):
        yield "another key", signed(right, claims, secret)
    hostile = {
        "kid": ["/dev/null", "../../../../dev/null", "' UNION SELECT 'x", "x\x00", 7],
        "jku": ["http://127.0.0.1:1/keys.json", "data:application/json,{}"],
        "x5u": ["http://127.0.0.1:1/cert.pem"],
        "x5c": [["MIIB"]],
        "jwk": [{"kty": "oct", "k": encoded("x" * 32)}],
    }
    for name, values in hostile.items():
        for value in values:
            yield f"header {name}", signed(right | {name: value}, claims, "x" * 32)
            yield f"header {name}, empty key", signed(right | {name: value}, claims, "")
    yield "an unknown critical header", signed(right | {"crit": ["exp2"], "exp2": 1}, claims, key)
    yield "b64 false", signed(right | {"crit": ["b64"], "b64": False}, claims, key)
    for place, segment in enumerate((header, payload, signature)):
        for length in (0, 1, len(segment) // 2, len(segment) - 2):
            cut = [header, payload, signature]
            cut[place] = segment[:length]
            yield f"segment {place} cut", ".".join(cut)
    for parts in (
        [header], [header, payload], [header, payload, signature, signature], [header, header, payload, signature],
        [header, payload, payload, signature], [payload, header, signature], [signature, payload, header],
        ["", "", ""], ["", payload, signature], [header, payload, signature, "", "", ""],
        [header, payload, signature, ""],
    ):  # fmt: skip
        yield "segments", ".".join(parts)
    yield "a changed payload", f"{header}.{encoded(claims | {'sub': '1'})}.{signature}"
    for name in REQUIRED_CLAIMS:
        yield f"without {name}", signed(right, {k: value for k, value in claims.items() if k != name}, key)
    for name, values in {
        "iss": ["elsewhere", "", None, 7, ["carbonapi"]],
        "aud": ["elsewhere", "", None, [], ["elsewhere"]],
        "type": ["refresh", "", None, "ACCESS", ["access"]],
        "exp": [now - LEEWAY_SECONDS - 1, 0, -1, "soon", None, "NaN", float("nan"), float("inf"), [], {}, True],
        "nbf": [now + 3600, "later", None, float("nan"), 10**30],
        "iat": [now + 3600, "later", None, []],
    }.items():
        for value in values:
            yield f"{name} {value!r}", signed(right, claims | {name: value}, key)
    for content in ("[]", "7", "null", "{", '"text"', b"\xff\xfe", "[" * 100_000, '{"a":' * 5_000):
        yield "a payload that is no object", signed(right, content, key)
        yield "a header that is no object", signed(content, claims, key) if len(content) < 20_000 else "x"
    for name, values in {
        "sub": ["0", "-1", str(2**70), "١", "x", "", "1e3", "1 ", 7, None, []],
        "sid": [0, -1, 2**70, "1", "x", None, [], {}, 1.5, True],
        "org": [0, -1, 2**70, "1", "x", None, [], "everywhere", "*", ""],
    }.items():
        for value in values:
            yield f"signed {name} {value!r}", signed(right, claims | {name: value}, key)
    yield "a refresh token", refresh_token
    yield "huge", "x" * 30_000
    yield "a huge payload", signed(right, claims | {"x": "x" * 20_000}, "x" * 32)
    for garbage in ("", " ", ".", "..", "null", "undefined", "é", "١٢", "a b", "a,b", f"{token},x", f"{token} x"):
        yield "garbage", garbage
    for garbage in (
        "carbonapi_",
        "carbonapi_1",
        "carbonapi_1_2",
        "carbonapi_x_y_z",
        "carbonapi_1_2_",
        "carbonapi_١_2_x",
    ):
        yield "no API key", garbage
    yield "a digest", hashlib.sha256(token.encode()).hexdigest()


def signed_forgeries(token, other, key):
    """Yield names and tokens with a valid signature, and possible API keys: these need the database."""
    claims, others = (jwt.decode(one, options={"verify_signature": False}) for one in (token, other))
    for name, value in {"sub": str(UNKNOWN_ID), "sid": UNKNOWN_ID, "org": UNKNOWN_ID}.items():
        for known in (claims, others):
            yield f"signed {name} of no row", signed({"alg": "HS256"}, known | {name: value}, key)
    for name in ("sub", "sid", "org"):
        mixed = claims | {name: others[name]}
        yield f"{name} of another user", signed({"alg": "HS256"}, mixed, key)
    for organization_id, id_ in ((1, 1), (claims["org"], 1), (UNKNOWN_ID, UNKNOWN_ID)):
        yield "an API key of no row", str(OpaqueToken(API_KEY_PREFIX, organization_id, id_, "x" * 43))
    yield "a token for a password", str(OpaqueToken(PURPOSE, claims["org"], int(claims["sub"]), "x" * 43))
