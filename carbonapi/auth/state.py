"""The state of an app: everything that its requests share."""

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, current_app

from .actors import Actor

Claims = Mapping[str, Any]
CredentialKey = tuple[int, int, str] | bytes  # Organization, id and user of a session, or the digest of an API key.


@dataclass(frozen=True, slots=True)
class State:
    """The shared objects of an app.

    find_actor, find_key_actor: read the actor of an access token's claims, or of an API key, from the database. Return
    None if the actor may not act (anymore). An API key comes with the time when it expires, if ever.
    on_timezone_change: the context that rebuilds the daily totals of an organization, by its id.
    hashing_slots, export_slots: one for each password that may be hashed, and file that may be written, concurrently.
    api: the Api that all features register with. Its `document` is the OpenAPI document.
    actors: as last read from the database, with the monotonic time until which a worker may use them.
    """

    find_actor: Callable[[Claims], Actor | None]
    find_key_actor: Callable[[str, dt.datetime], tuple[Actor, dt.datetime | None] | None]
    on_timezone_change: Callable[[int], AbstractContextManager[None]]
    hashing_slots: threading.BoundedSemaphore
    export_slots: threading.BoundedSemaphore
    api: Any
    actors: dict[CredentialKey, tuple[Actor, float]] = field(default_factory=dict)
    # Until when the ledger of an organization, or of all of them, can no longer change.
    settled: dict[int | None, dt.datetime] = field(default_factory=dict)
    # Their figures are not prepared. One whose intervals are gone may stay here.
    organizations_with_intervals: set[int] = field(default_factory=set)
    claims: dict[str, Claims] = field(default_factory=dict)  # Of valid access tokens.


def state(app: Flask | None = None) -> State:
    """Return the state of an app, by default of the current one."""
    found: State = (app or current_app).extensions["carbonapi"]
    return found
