"""`Idempotency-Key`: a POST that is sent again with its key is given its first answer again, and has one effect.

The key is claimed by the first thing that a transaction writes, and the answer is kept by the last: key, effect and
audit entry are there together or not at all, whatever is killed. An error undoes the claim. Whoever sends the same key
meanwhile waits for that transaction, but not for long.
"""

import datetime as dt
import hashlib
import hmac
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
MOST_FORGOTTEN = 100  # Expired answers that go with each one that is kept.
MAX_BYTES = 1024 * 1024


class IdempotencyRecord(Model):
    """What a request with a key was answered; within its own transaction, before that, that the key is taken.

    A key is kept as it was sent: it is no secret, for it is worth nothing to anybody but its user. The fingerprint
    tells whether a request is the same. It is keyed, for a body may hold a password, which a plain hash would let one
    guess. The row refers to nothing by a foreign key: this floor knows no other table.
    """

    __tablename__ = "idempotency_records"
    __table_args__ = (
        sa.CheckConstraint(
            f"octet_length(body) <= {MAX_BYTES}",
            name="body",
            info={"message": f"The answer is too large to be kept. Send the request without {HEADER}."},
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


ANSWERS = Model.metadata.tables[IdempotencyRecord.__tablename__]
KEY = (ANSWERS.c.organization_id, ANSWERS.c.user_id, ANSWERS.c.key)


def idempotent(
    view: Callable[..., Response], file: IO[bytes] | None = None, *, secret: str | None = None
) -> Callable[..., Response]:
    """The view of a signed-in actor, which for a POST that was answered before only repeats the answer.

    file: what the request brings, if it is no body that is small. The caller commits.
    secret: the field of the answer that is shown once: it is not kept, so a repeated answer lacks it.
    Raises Invalid for no proper key, or one of another request; Conflict if that request is still running.
    """

    @wraps(view)
    def replay_or_store(*args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None or request.method != "POST":
            return view(*args, **kwargs)
        if not re.fullmatch(PATTERN, key):
            raise ValidationFailed(f"{HEADER} is 1 to 255 visible ASCII characters, such as a UUID.")
        actor, moment = current_actor(), now()
        row = {"organization_id": actor.organization_id, "user_id": actor.id, "key": key}
        fingerprint = _fingerprint(file)
        if not _claim({**row, "fingerprint": fingerprint, "claimed_at": moment}):
            return _kept_answer(row, fingerprint)
        answer = view(*args, **kwargs)
        _keep(row, moment, answer, secret)
        return answer

    return replay_or_store


def _fingerprint(file: IO[bytes] | None) -> bytes:
    """What two requests have in common that are the same. Leaves the file at its beginning.

    Of a file it is the content that counts: the form around it is written anew each time it is sent.
    """
    if file is None:
        content = hashlib.sha256(request.get_data())
    else:
        content = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]  # It is none that does not block.
        file.seek(0)
    address = (request.method, request.path.rstrip("/"), request.query_string.decode("latin-1"), request.mimetype)
    same = "\0".join(address).encode() + content.digest()
    return hmac.digest(current_app.config["JWT_SECRET_KEY"].encode(), same, "sha256")


def _claim(claimed: dict[str, Any]) -> bool:
    """Whether the key is this request's from now on: nobody has claimed it, or that is long ago."""
    claiming = postgresql.insert(ANSWERS).values(claimed)
    claiming = claiming.on_conflict_do_update(
        index_elements=KEY,
        set_={name: claiming.excluded[name] for name in ("fingerprint", "claimed_at")},
        where=ANSWERS.c.claimed_at <= claimed["claimed_at"] - RETENTION,
    )
    try:
        is_claimed = db.session.execute(claiming.returning(ANSWERS.c.key)).one_or_none() is not None
    except sa.exc.DBAPIError as error:
        if sqlstate(error) != errorcodes.LOCK_NOT_AVAILABLE:
            raise
        message = f"The first request with the {HEADER} {claimed['key']} is still running. Send it again in a while."
        raise Conflict(message) from None
    return is_claimed


def _kept_answer(row: dict[str, Any], fingerprint: bytes) -> Response:
    """The answer that this key was given."""
    these = (column == row[column.name] for column in KEY)
    kept = db.session.execute(sa.select(ANSWERS).where(*these)).one()
    if not hmac.compare_digest(kept.fingerprint, fingerprint):
        raise ValidationFailed(
            f"The {HEADER} {row['key']} was sent with another request before. Take a new one for this."
        )
    return Response(kept.body, kept.status, {**kept.headers, "Idempotency-Replayed": "true"})


def _keep(row: dict[str, Any], moment: dt.datetime, answer: Response, secret: str | None) -> None:
    """Keep the answer, with the headers that the view gave it, without its secret; forget some that have expired."""
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
    organization_id = row["organization_id"]
    expired = sa.select(*KEY).where(
        ANSWERS.c.organization_id == organization_id, ANSWERS.c.claimed_at <= moment - RETENTION
    )
    # One that somebody else is about to forget, or to claim anew, is theirs.
    expired = expired.limit(MOST_FORGOTTEN).with_for_update(skip_locked=True)
    forgetting = sa.delete(ANSWERS).where(ANSWERS.c.organization_id == organization_id, sa.tuple_(*KEY).in_(expired))
    keeping = sa.update(ANSWERS).where(*(column == row[column.name] for column in KEY))
    keeping = keeping.values(status=answer.status_code, headers=headers, body=_without(secret, answer))
    db.session.execute(keeping.add_cte(forgetting.returning(ANSWERS.c.key).cte("forgotten")))


def _without(secret: str | None, answer: Response) -> bytes:
    if secret is None:
        return answer.get_data()
    fields = {name: value for name, value in answer.get_json().items() if name != secret}
    return current_app.json.dumps(fields).encode()
