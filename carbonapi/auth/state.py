"""The state of an app: everything that its requests share."""

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from flask import Flask, current_app

from .actors import Actor

Claims = Mapping[str, Any]
FindActor = Callable[[Claims], Actor | None]
# Also returns when the key expires, if ever.
FindKeyActor = Callable[[str, dt.datetime], tuple[Actor, dt.datetime | None] | None]
# The context in which the time zone of an organization changes.
TimezoneChange = Callable[[int], AbstractContextManager[None]]
CredentialKey = tuple[int, int, str] | bytes  # Organization, id and user of a session, or the digest of an API key.


class Counters(Protocol):
    """The rate-limit counters that all workers share."""

    def add(self, bucket: bytes, ends_at: dt.datetime, number: int, now: dt.datetime) -> int:
        """Add to the counter of a window, and return its new value."""

    def clear(self, bucket: bytes, ends_at: dt.datetime) -> None:
        """Reset the counter of a window to zero."""


class Allowances(Protocol):
    """The parts of rate limits that this process has leased from the shared counters."""

    def consume(
        self, key: tuple[str, str], bucket: Callable[[], bytes], limit: int, ends_at: dt.datetime, now: dt.datetime
    ) -> int:
        """Use one request of a limit, and return the number of remaining ones, or -1 if none was left."""


class DocumentedApi(Protocol):
    """The API that all features register with."""

    @property
    def document(self) -> dict[str, Any]:
        """The complete OpenAPI document."""


@dataclass(frozen=True, slots=True)
class CachedActor:
    """An actor as last read from the database, and the monotonic time until which a worker may use it."""

    actor: Actor
    expires_at: float


@dataclass(frozen=True, slots=True)
class State:
    """The shared objects of an app.

    find_actor, find_key_actor: read the actor of an access token's claims, or of an API key, from the database. Return
    None if the actor may not act (anymore).
    on_timezone_change: the context that rebuilds the daily totals of an organization, by its id.
    hashing_slots, export_slots: one for each password that may be hashed, and file that may be written, concurrently.
    """

    find_actor: FindActor
    find_key_actor: FindKeyActor
    on_timezone_change: TimezoneChange
    counters: Counters
    allowances: Allowances
    hashing_slots: threading.BoundedSemaphore
    export_slots: threading.BoundedSemaphore
    api: DocumentedApi
    actors: dict[CredentialKey, CachedActor] = field(default_factory=dict)
    claims: dict[str, Claims] = field(default_factory=dict)  # Of valid access tokens.


def state(app: Flask | None = None) -> State:
    """Return the state of an app, by default of the current one."""
    found: State = (app or current_app).extensions["carbonapi"]
    return found
