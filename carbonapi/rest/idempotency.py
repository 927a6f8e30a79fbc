"""`Idempotency-Key`: repeating a POST with the same key returns its first response, and has no further effect.

The first statement of the transaction claims the key, and the last one stores the response. So key, effect and audit
entry are committed together, or none of them. An error rolls the claim back. A concurrent request with the same key
waits for the transaction, up to the lock timeout.
"""

import datetime as dt
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import IO, Any

import sqlalchemy as sa
from flask import Response, current_app, request
from psycopg2 import errorcodes
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from ..auth import current_actor
from ..db import Model, NotAudited, db, sqlstate
from ..errors import Conflict, ValidationFailed
from .fields import now

HEADER = "Idempotency-Key"
PATTERN = "[!-~]{1,255}"  # Visible ASCII.
RETENTION = dt.timedelta(hours=24)
MAX_DELETED = 100  # Expired records that each new one deletes.
MAX_BYTES = 1024 * 1024


class IdempotencyRecord(Model):
    """The response to a request with a key. Before the response is stored, a claim of the key.

    The key is no secret: it is of use to its user only. The fingerprint identifies the request. It is keyed, because a
    body can contain a password, which could be guessed from a plain hash. There are no foreign keys, because this
    package does not depend on the tables of features.
    """

    __tablename__ = "idempotency_records"
    __table_args__ = (
        sa.CheckConstraint(
            f"octet_length(body) <= {MAX_BYTES}",
            name="body",
            info={"message": f"The response is too large to store. Send the request without {HEADER}."},
        ),
        sa.Index("ix_idempotency_records_by_time", "organization_id", "claimed_at"),
    )
    AUDIT = NotAudited("it repeats an answer; the change itself is audited")

    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    claimed_at: Mapped[dt.datetime]
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None] = mapped_column(postgresql.JSONB)
    body: Mapped[bytes | None]


RECORDS = Model.metadata.tables[IdempotencyRecord.__tablename__]
KEY = (RECORDS.c.organization_id, RECORDS.c.user_id, RECORDS.c.key)


def idempotent(
    view: Callable[..., Response], file: IO[bytes] | None = None, *, secret: str | None = None
) -> Callable[..., Response]:
    """Replay the stored response of a POST with the same key, or run the view and store its response.

    file: the uploaded file. secret: the field that is left out of the stored response. The caller commits.
    Raise ValidationFailed for an invalid key or one of another request, Conflict if that request is still running.
    """

    @wraps(view)
    def replay_or_store(*args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None or request.method != "POST":
            return view(*args, **kwargs)
        if not re.fullmatch(PATTERN, key):
            raise ValidationFailed(f"{HEADER} must be 1 to 255 visible ASCII characters, for example a UUID.")
        actor, moment = current_actor(), now()
        row = {"organization_id": actor.organization_id, "user_id": actor.id, "key": key}
        fingerprint = _fingerprint(file)
        if not _claim({**row, "fingerprint": fingerprint, "claimed_at": moment}):
            return _stored_response(row, fingerprint)
        response = view(*args, **kwargs)
        _store(row, moment, response, secret)
        return response

    return replay_or_store


def _fingerprint(file: IO[bytes] | None) -> bytes:
    """Return a hash that only repetitions of the request share. Leave the file at its start.

    Of an upload, it covers the file and the form's other fields instead of the body, because the boundary of a form
    changes with each request.
    """
    if file is None:
        content = hashlib.sha256(request.get_data())
    else:
        content = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]  # The file is blocking.
        file.seek(0)
    target = (request.method, request.path.rstrip("/"), request.query_string.decode("latin-1"), request.mimetype)
    fields = json.dumps(sorted(request.form.items(multi=True))).encode() if file is not None and request.form else b""
    identity = "\0".join(target).encode() + content.digest() + fields
    return hmac.digest(current_app.config["JWT_SECRET_KEY"].encode(), identity, "sha256")


def _claim(claimed: dict[str, Any]) -> bool:
    """Claim the key for this request, unless it is already claimed. Return whether it succeeded."""
    claim = postgresql.insert(RECORDS).values(claimed)
    claim = claim.on_conflict_do_update(
        index_elements=KEY,
        set_={name: claim.excluded[name] for name in ("fingerprint", "claimed_at")},
        where=RECORDS.c.claimed_at <= claimed["claimed_at"] - RETENTION,
    )
    try:
        is_claimed = db.session.execute(claim.returning(RECORDS.c.key)).one_or_none() is not None
    except sa.exc.DBAPIError as error:
        if sqlstate(error) != errorcodes.LOCK_NOT_AVAILABLE:
            raise
        message = f"The first request with the {HEADER} {claimed['key']} is still running. Try again shortly."
        raise Conflict(message) from None
    return is_claimed


def _stored_response(row: dict[str, Any], fingerprint: bytes) -> Response:
    """Return the response that is stored for this key."""
    criteria = (column == row[column.name] for column in KEY)
    record = db.session.execute(sa.select(RECORDS).where(*criteria)).one()
    if not hmac.compare_digest(record.fingerprint, fingerprint):
        raise ValidationFailed(f"The {HEADER} {row['key']} belongs to another request. Use a new one for this request.")
    return Response(record.body, record.status, {**record.headers, "Idempotency-Replayed": "true"})


def _store(row: dict[str, Any], moment: dt.datetime, response: Response, secret: str | None) -> None:
    """Store the response without its secret, and delete some expired records."""
    headers = {name: value for name, value in response.headers.items() if name != "Content-Length"}
    organization_id = row["organization_id"]
    expired = sa.select(*KEY).where(
        RECORDS.c.organization_id == organization_id, RECORDS.c.claimed_at <= moment - RETENTION
    )
    # Skip records that concurrent requests delete or claim.
    expired = expired.limit(MAX_DELETED).with_for_update(skip_locked=True)
    deletion = sa.delete(RECORDS).where(RECORDS.c.organization_id == organization_id, sa.tuple_(*KEY).in_(expired))
    update = sa.update(RECORDS).where(*(column == row[column.name] for column in KEY))
    update = update.values(status=response.status_code, headers=headers, body=_without(secret, response))
    db.session.execute(update.add_cte(deletion.returning(RECORDS.c.key).cte("deleted")))


def _without(secret: str | None, response: Response) -> bytes:
    if secret is None:
        return response.get_data()
    fields = {name: value for name, value in response.get_json().items() if name != secret}
    return current_app.json.dumps(fields).encode()
