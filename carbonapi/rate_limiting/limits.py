"""Rate limits per account and per IP address."""

import datetime as dt
import hmac
import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from flask import Flask, current_app, g, has_request_context

from ..auth import request_origin
from ..errors import RateLimited
from ..observability import metrics
from ..settings import Limit
from .counters import PostgresCounters, RedisCounters
from .leases import Leases

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A limit on one kind of request.

    setting: the part of the names of its settings between RATE_LIMIT_ and _PER_.
    account_first: check the account before the address. A request over the first limit does not count for the second.
    is_leased: a process takes parts of the limit at once, for very frequent requests.
    """

    name: str
    setting: str
    account_first: bool = True
    is_leased: bool = False


# Address first: an attacker over the limit of their address cannot use up the limits of other people's accounts.
LOGIN = RateLimit("login", "LOGIN", account_first=False)
REGISTRATION = RateLimit("registration", "REGISTRATION", account_first=False)
# Account first: a runaway client does not use up the limit of other clients behind the same address.
PASSWORD_CHANGE = RateLimit("password-change", "LOGIN")  # The current password can be guessed.
INVITATION_ACCEPTANCE = RateLimit("password-token", "LOGIN")  # So can a token.
REFRESH = RateLimit("refresh", "REFRESH")
WRITES = RateLimit("writes", "WRITES", is_leased=True)
IMPORTS = RateLimit("imports", "IMPORTS")


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """The remaining requests of a limit, and the seconds until its window ends."""

    name: str
    limit: Limit
    remaining: int
    seconds: int


def init_app(app: Flask) -> None:
    """Count in Redis, or in PostgreSQL without a REDIS_URL."""
    redis_url = app.config["REDIS_URL"]
    app.extensions["rate_limiting"] = Leases(RedisCounters(redis_url) if redis_url else PostgresCounters())


def consume(rate_limit: RateLimit, account: str, now: dt.datetime) -> None:
    """Count a request for this account and for the request's address, before it is executed.

    account: an id, or an e-mail address in lower case, even if there is no such account.
    Raise RateLimited if either has reached its limit within the window.
    """
    address = request_origin().address
    sources = [("account", account)] + ([("ip", _network(address))] if address else [])
    for source, value in sources if rate_limit.account_first else reversed(sources):
        _consume(rate_limit, source, value, now)


def reset(rate_limit: RateLimit, account: str, now: dt.datetime) -> None:
    """Reset the limit of an account that has authenticated. The limit of the address stays."""
    limit = _limit(rate_limit, "account")
    if limit is not None:
        ends_at = _window_end(limit, now)
        _leases().counters.clear(_bucket(rate_limit, "account", account), ends_at)
        _record(LimitStatus(rate_limit.name, limit, limit.count, _seconds_until(ends_at, now)))


def _consume(rate_limit: RateLimit, source: str, value: str, now: dt.datetime) -> None:
    limit = _limit(rate_limit, source)
    if limit is None:
        return
    name = rate_limit.name if source == "account" else f"{rate_limit.name}-per-{source}"
    ends_at = _window_end(limit, now)
    if rate_limit.is_leased:
        remaining = _leases().consume(
            (name, value), lambda: _bucket(rate_limit, source, value), limit.count, ends_at, now
        )
    else:
        remaining = limit.count - _leases().counters.add(_bucket(rate_limit, source, value), ends_at, 1, now)
    status = LimitStatus(name, limit, max(remaining, 0), _seconds_until(ends_at, now))
    _record(status)
    if remaining < 0:
        metrics.RATE_LIMITED.labels(rate_limit.name).inc()
        subject = "account" if source == "account" else "IP address"
        raise RateLimited(
            f"The limit of {rate_limit.name} is {limit.count} in {limit.seconds} seconds per {subject}. "
            f"Try again in {status.seconds} second{'s' * (status.seconds != 1)}.",
            status.seconds,
        )


def _leases() -> Leases:
    leases: Leases = current_app.extensions["rate_limiting"]
    return leases


def _limit(rate_limit: RateLimit, source: str) -> Limit | None:
    limit: Limit | None = current_app.config[f"RATE_LIMIT_{rate_limit.setting}_PER_{source.upper()}"]
    return limit


def _window_end(limit: Limit, now: dt.datetime) -> dt.datetime:
    """Return the end of the current window. Windows start at multiples from 1970, the same for all workers."""
    window = dt.timedelta(seconds=limit.seconds)
    return now + window - (now - EPOCH) % window


def _seconds_until(ends_at: dt.datetime, now: dt.datetime) -> int:
    """Return the seconds until the end of a window, rounded up."""
    return -((now - ends_at) // dt.timedelta(seconds=1))


def _bucket(rate_limit: RateLimit, source: str, value: str) -> bytes:
    """Return the key of a counter, a keyed hash: nothing can be read from it or compared with it."""
    key: str = current_app.config["SECRET_KEY"]
    message = f"{rate_limit.name}\0{source}\0{value}"
    return hmac.digest(key.encode(), message.encode("utf-8", "surrogatepass"), "sha256")


@lru_cache(10_000)
def _network(address: str) -> str:
    """Return the address to count. For IPv6 it is the /64 network, which one household usually has."""
    # Some proxies add the port.
    host = address[1:].partition("]")[0] if address.startswith("[") else address
    host = host.partition(":")[0] if host.count(":") == 1 else host
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))


def _record(status: LimitStatus) -> None:
    """Store the status for the headers of the response."""
    if has_request_context():
        g.setdefault("limit_statuses", {})[status.name] = status
