"""Cursors of lists: the sort keys of a row, signed, so that clients can use them but not make them."""

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from flask import current_app, request

from ..errors import ValidationFailed
from .fields import format_datetime, format_decimal

SIGNATURE_BYTES = 12


def encode_cursor(values: Sequence[Any]) -> str:
    """Return a signed cursor with the sort keys of a row."""
    content = json.dumps([_serialize(value) for value in values], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_sign(content) + content).decode().rstrip("=")


def decode_cursor(cursor: str, columns: Sequence[Any]) -> list[Any]:
    try:
        signed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        signature, content = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        is_valid = hmac.compare_digest(signature, _sign(content))
    except ValueError:
        is_valid = False
    if not is_valid:
        message = "Must be a cursor of this list with the same filters and order. Start with an empty one."
        raise ValidationFailed(message, {"query": {"cursor": [message]}})
    return [_parse(value, column) for value, column in zip(json.loads(content), columns, strict=True)]


def _serialize(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return format_datetime(value)
    return format_decimal(value) if isinstance(value, Decimal) else value


def _parse(value: Any, column: Any) -> Any:
    if value is None:
        return None
    python_type = column.type.python_type
    return dt.datetime.fromisoformat(value) if python_type is dt.datetime else python_type(value)


def _sign(content: bytes) -> bytes:
    """Return a signature that is valid for this path, filters and order only."""
    others = request.args.items(multi=True)
    arguments = sorted((name, value) for name, value in others if name not in ("cursor", "page_size", "wait"))
    key = current_app.config["SECRET_KEY"].encode()
    message = json.dumps([request.path.rstrip("/"), arguments]).encode() + b"\0" + content
    return hmac.digest(key, b"cursor\0" + message, hashlib.sha256)[:SIGNATURE_BYTES]
