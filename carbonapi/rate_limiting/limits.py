"""Limits: so many within so many seconds, by account and by address."""

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
from .counters import Counters, PostgresCounters, RedisCounters
from .leases import LocalAllowances

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Something that is done so often at most: by an account, and from an address.

    setting: what stands between LIMIT_ and _PER_ in the names of its settings.
    account_first: whose limit is looked at first. What is over that is not counted for the other.
    is_leased: whether a process takes a part of the limit at once, for what is done very often.
    """

    name: str
    setting: str
    account_first: bool = True
    is_leased: bool = False


# Address first: one that has had its share of guesses cannot go on to use up those of other people's accounts.
LOGIN = RateLimit("login", "LOGIN", account_first=False)
REGISTRATION = RateLimit("registration", "REGISTRATION", account_first=False)
# Account first: one that has gone wild does not use up what its neighbours have behind the same address.
PASSWORD_CHANGE = RateLimit("password-change", "LOGIN")  # Who gives the current one may be guessing, too.
INVITATION_ACCEPTANCE = RateLimit("password-token", "LOGIN")  # Who sends a token may be guessing as well.
REFRESH = RateLimit("refresh", "REFRESH")
WRITES = RateLimit("writes", "WRITES", is_leased=True)
IMPORTS = RateLimit("imports", "IMPORTS")


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """Where somebody stands with a limit: what is left of it, and seconds until it begins anew."""

    name: str
    limit: Limit
    left: int
    seconds: int


def init_app(app: Flask) -> None:
    """Give the app its counts, and what its process has leased of them."""
    url = app.config["REDIS_URL"]
    counts: Counters = RedisCounters(url) if url else PostgresCounters()
    app.extensions["carbonapi-throttling"] = (counts, LocalAllowances(counts))


def consume(throttle: RateLimit, account: str, now: dt.datetime) -> None:
    """Count one more, by this account and from the request's address, before it is done.

    account: an id, or an e-mail address as people are looked up by it, whether there is such an account or not.
    Raises TooMany if either has had as many within the window as its limit allows.
    """
    address = request_origin().address
    shares = [("account", account)] + ([("ip", _network(address))] if address else [])
    for by, whom in shares if throttle.account_first else reversed(shares):
        _spend(throttle, by, whom, now)


def reset(throttle: RateLimit, account: str, now: dt.datetime) -> None:
    """Let the account begin anew, for it has shown who it is. The address has spent what it has spent."""
    limit = _limit(throttle, "account")
    if limit is not None:
        counts: Counters = current_app.extensions["carbonapi-throttling"][0]
        ends_at = _end(limit, now)
        counts.clear(_bucket(throttle, "account", account), ends_at)
        _note(LimitStatus(throttle.name, limit, limit.count, _seconds(ends_at, now)))


def _spend(throttle: RateLimit, by: str, whom: str, now: dt.datetime) -> None:
    limit = _limit(throttle, by)
    if limit is None:
        return
    counts: Counters
    leases: LocalAllowances
    counts, leases = current_app.extensions["carbonapi-throttling"]
    name = throttle.name if by == "account" else f"{throttle.name}-per-{by}"
    ends_at = _end(limit, now)
    if throttle.is_leased:
        left = leases.spend((name, whom), lambda: _bucket(throttle, by, whom), limit.count, ends_at, now)
    else:
        left = limit.count - counts.add(_bucket(throttle, by, whom), ends_at, 1, now)
    standing = LimitStatus(name, limit, max(left, 0), _seconds(ends_at, now))
    _note(standing)
    if left < 0:
        metrics.RATE_LIMITED.labels(throttle.name).inc()
        raise RateLimited(
            f"The limit of {throttle.name} is {limit.count} in {limit.seconds} seconds per {by}. "
            f"Try again in {standing.seconds} second{'s' * (standing.seconds != 1)}.",
            standing.seconds,
        )


def _limit(throttle: RateLimit, by: str) -> Limit | None:
    limit: Limit | None = current_app.config[f"RATE_LIMIT_{throttle.setting}_PER_{by.upper()}"]
    return limit


def _end(limit: Limit, now: dt.datetime) -> dt.datetime:
    """The end of the window that `now` is in, the same for all workers: windows are counted from 1970."""
    window = dt.timedelta(seconds=limit.seconds)
    return now + window - (now - EPOCH) % window


def _seconds(ends_at: dt.datetime, now: dt.datetime) -> int:
    """Whole seconds after which the window has ended."""
    return -((now - ends_at) // dt.timedelta(seconds=1))


def _bucket(throttle: RateLimit, by: str, whom: str) -> bytes:
    """What is counted under: nobody can tell by it whom it is of, nor try whether it is somebody's."""
    key: str = current_app.config["SECRET_KEY"]
    return hmac.digest(key.encode(), f"{throttle.name}\0{by}\0{whom}".encode("utf-8", "surrogatepass"), "sha256")


@lru_cache(10_000)
def _network(address: str) -> str:
    """The address that is counted: of IPv6 the /64, for that much is given to a single household."""
    # Some proxies tell the port, too.
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


def _note(standing: LimitStatus) -> None:
    if has_request_context():
        g.standings[standing.name] = standing
