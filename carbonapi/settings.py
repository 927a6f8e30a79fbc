"""Every setting of carbonapi: its name, its meaning, its default. Read once, when the app is made."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit


class SettingsError(Exception):
    """Some settings are missing or malformed; the message names each of them."""


@dataclass(frozen=True)
class Setting:
    """One setting, read from the environment variable CARBONAPI_<name>."""

    name: str
    description: str
    default: object = None
    parse: Callable[[str], object] = str
    required: bool = False

    @property
    def variable(self) -> str:
        return f"CARBONAPI_{self.name}"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many within so many seconds."""

    count: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.count}/{self.seconds}"


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_database_url(text: str) -> str:
    """A PostgreSQL URL that names its driver: SQLAlchemy 2.1 would take psycopg 3 for a bare postgresql://."""
    scheme, _, rest = text.partition("://")
    if scheme not in ("postgres", "postgresql", "postgresql+psycopg2") or not rest:
        raise ValueError("must be a postgresql:// URL")
    if _has_weak_password(rest):
        raise ValueError("has a password that is guessed at once; `openssl rand -hex 32` makes one")
    return f"postgresql+psycopg2://{rest}"


def _has_weak_password(rest: str) -> bool:
    """Whether what follows the scheme of a database's URL takes a word that anybody would try to another machine.

    A URL without a password is none: libpq has a file for it, and certificates.
    """
    parts = re.match(r"([^:/?@]*):([^@]+)@(\[[^\]]*\]|[^:/?]*)", rest)
    if parts is None:
        return False
    user, password, host = (unquote(part).lower() for part in parts.groups())
    is_near = host in ("", "localhost", "[::1]") or host.startswith(("127.", "/"))
    return not is_near and password in {user, *WEAK_PASSWORDS}


def parse_secret(shortest: int) -> Callable[[str], str]:
    """A parser of text of so many bytes or more, which nobody guesses: no word of examples, nothing repeated."""

    def parse(text: str) -> str:
        if len(text.encode()) < shortest:
            raise ValueError(f"must be {shortest} bytes or longer; `openssl rand -hex 32` makes one")
        is_repeated = text in (text + text)[1:-1]
        is_example = any(word in text.lower() for word in PLACEHOLDERS)
        # Of 32 random hexadecimal digits, fewer than 8 different ones are not to be expected in a lifetime.
        if is_repeated or is_example or len(set(text)) < shortest // 4:
            raise ValueError("can be guessed; `openssl rand -hex 32` makes one")
        return text

    return parse


def parse_origins(text: str) -> frozenset[str]:
    """The origins of a list with commas, each as browsers send it: in lower case, without a path or a usual port."""
    found = frozenset(part.strip() for part in text.split(",") if part.strip())
    origin = r"https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?"
    usual = (("http://", ":80"), ("https://", ":443"))
    for each in found:
        has_usual_port = any(each.startswith(scheme) and each.endswith(port) for scheme, port in usual)
        if not re.fullmatch(origin, each) or has_usual_port:
            raise ValueError("must be origins as browsers send them, such as https://carbon.example, and commas")
    return found


def parse_int(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of whole numbers from `lowest` to `highest`, both included."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20 and lowest <= int(text) <= highest):
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def parse_url(*schemes: str) -> Callable[[str], str]:
    """A parser of URLs of these schemes that name a host."""

    def parse(text: str) -> str:
        fault = ValueError("must be a URL that begins with " + " or ".join(f"{scheme}://" for scheme in schemes))
        try:
            parts = urlsplit(text)
            is_one = parts.scheme in schemes and parts.hostname and parts.port != 0 and text.isascii()
        except ValueError:  # Its own would tell the value.
            raise fault from None
        if not is_one or not text.isprintable() or " " in text:
            raise fault
        return text

    return parse


def parse_email(text: str) -> str:
    """An e-mail address, without a name."""
    name, _, domain = text.partition("@")
    if not (name and domain and text.isascii() and text.isprintable()) or set(name + domain) & set(' ,;:<>()[]"\\@'):
        raise ValueError("must be an e-mail address")
    return text


def parse_choice(*choices: str) -> Callable[[str], str]:
    """A parser that takes one of the given words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("must be " + " or ".join(choices))
        return text

    return parse


def parse_limit(text: str) -> Limit | None:
    """A limit from its count and its seconds, such as 10/300. None, no limit, from 0."""
    if text == "0":
        return None
    parts = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,4})", text, re.ASCII)
    if parts is None or int(parts[2]) > MAX_WINDOW_SECONDS:
        raise ValueError(f"must be a count and seconds, up to {MAX_WINDOW_SECONDS}, such as 10/300, or 0 for no limit")
    return Limit(int(parts[1]), int(parts[2]))


def parse_redis_url(text: str) -> str:
    """The URL of a Redis, with TLS or without."""
    if not re.match(r"rediss?://.|unix://.", text):
        raise ValueError("must be a redis://, rediss:// or unix:// URL")
    return text


def rate_limit_settings(
    name: str, what: str, of: str, per_account: Limit, per_address: Limit
) -> tuple[Setting, Setting]:
    """The settings of what is throttled, by account and by address."""
    return (
        Setting(
            f"RATE_LIMIT_{name}_PER_ACCOUNT",
            f"{what} of one {of}: count/seconds, 0 for no limit.",
            per_account,
            parse_limit,
        ),
        Setting(f"RATE_LIMIT_{name}_PER_IP", "The same from one address, of IPv6 one /64.", per_address, parse_limit),
    )


MAX_WINDOW_SECONDS = 86_400  # Seconds, a day.
# What stands in examples in place of a secret.
PLACEHOLDERS = (
    "change",
    "secret",
    "password",
    "example",
    "default",
    "insecure",
    "placeholder",
    "0123456789",
    "abcdefgh",
)
WEAK_PASSWORDS = ("admin", "carbonapi", "changeme", "password", "postgres", "root", "secret", "1234", "12345678")

SETTINGS = (
    Setting(
        "DATABASE_URL",
        "The PostgreSQL to use, 15 or later. Without it, `carbonapi serve` starts its own.",
        parse=parse_database_url,
        required=True,
    ),
    Setting(
        "MIGRATION_DATABASE_URL",
        "The same database as the role that owns its tables, taken to migrate, never to serve. Without it, the "
        "role of `CARBONAPI_DATABASE_URL` owns them.",
        parse=parse_database_url,
    ),
    Setting(
        "SECRET_KEY",
        "Signs the tokens: 32 bytes or more, kept secret. The embedded start makes one and keeps it.",
        parse=parse_secret(32),  # HS256 wants a key as long as its hash (RFC 7518, section 3.2).
        required=True,
    ),
    Setting(
        "REGISTRATION",
        "`open`: anybody may create an organization; `closed`: only an admin.",
        "open",
        parse_choice("open", "closed"),
    ),
    Setting("ACCESS_TOKEN_MINUTES", "How long an access token is good for.", 15, parse_int(1, 1440)),
    Setting("REFRESH_TOKEN_DAYS", "How long a refresh token is good for.", 30, parse_int(1, 365)),
    Setting(
        "SESSION_CACHE_SECONDS",
        "How long a worker may rely on what it read of a session; a log-out is seen this late. 0 reads every time.",
        5,
        parse_int(0, 5),
    ),
    Setting(
        "WORKERS",
        "Processes of `carbonapi serve` that answer requests. Without it, one for each core, from 2 to 8.",
        parse=parse_int(1, 1000),
    ),
    Setting(
        "WORKER_THREADS",
        "Threads of one worker, at most; most of them wait for long uploads.",
        300,
        parse_int(1, 10_000),
    ),
    Setting("DATABASE_POOL_SIZE", "Database connections of one worker, at most.", 10, parse_int(1, 1000)),
    Setting(
        "IMPORT_MAX_BYTES",
        "The largest file that `POST /imports` and `POST /verify` take.",
        2**30,
        parse_int(1, 2**40),
    ),
    Setting(
        "TRUSTED_PROXIES",
        "Proxies in front, each of which adds to `X-Forwarded-For`. With 0 the header is ignored.",
        0,
        parse_int(0, 10),
    ),
    Setting(
        "CORS_ORIGINS",
        "Whose pages may read the API's answers, such as `https://carbon.example`, with commas between. Else nobody's.",
        parse=parse_origins,
    ),
    Setting(
        "REDIS_URL", "The Redis that counts what is throttled. Without it, PostgreSQL counts.", parse=parse_redis_url
    ),
    *rate_limit_settings(
        "LOGIN", "Logins, changes of a password, tokens for one,", "account", Limit(10, 300), Limit(100, 300)
    ),
    *rate_limit_settings("REGISTRATION", "Registrations", "e-mail address", Limit(10, 300), Limit(100, 300)),
    *rate_limit_settings("REFRESH", "Refreshes of tokens", "user", Limit(60, 300), Limit(600, 300)),
    *rate_limit_settings(
        "WRITES", "Every other POST, PUT, PATCH and DELETE", "user", Limit(30_000, 60), Limit(120_000, 60)
    ),
    *rate_limit_settings("IMPORTS", "`POST /imports` and `POST /verify`", "user", Limit(1200, 3600), Limit(6000, 3600)),
    Setting(
        "LOG_LEVEL",
        "From which level on the log tells: `debug`, `info`, `warning` or `error`. Each request is `info`.",
        "info",
        parse_choice("debug", "info", "warning", "error"),
    ),
    Setting(
        "METRICS_TOKEN",
        "What Prometheus sends as bearer to read `/metrics`: 16 bytes or more. Without it there is no such page.",
        parse=parse_secret(16),
    ),
    Setting(
        "SMTP_URL",
        "Mail server for invitations and resets, `smtp://user:password@host:587` (by STARTTLS) or `smtps://`. "
        "Without it, their tokens are told to who makes them.",
        parse=parse_url("smtp", "smtps"),
    ),
    Setting("MAIL_FROM", "The sender's address; must be set if `SMTP_URL` is.", parse=parse_email),
    Setting(
        "PASSWORD_PAGE_URL",
        "The page where people set a password: mail leads there, with `#token=…` added. Else mail has the token.",
        parse=parse_url("https", "http"),
    ),
    Setting(
        "DRAIN_SECONDS",
        "How long `carbonapi serve`, told to stop, goes on serving while `/health/ready` says 503.",
        0,
        parse_int(0, 600),
    ),
    Setting("DRAIN_FILE", "While this file is there, `/health/ready` says 503. `carbonapi serve` has one of its own."),
    Setting("EMBEDDED_DATA_DIR", "Where the embedded PostgreSQL keeps its data.", "./.carbonapi"),
    Setting("EMBEDDED_POSTGRES_USER", "The account that runs the embedded PostgreSQL when root starts it.", "postgres"),
)

Settings = dict[str, Any]
DEFAULTS: Settings = {setting.name: setting.default for setting in SETTINGS}


def from_environ(environ: Mapping[str, str]) -> Settings:
    """The value of every setting by its name.

    Raises SettingsError that names all missing and malformed ones at once, never their values.
    """
    values: Settings = {}
    errors = []
    for setting in SETTINGS:
        text = environ.get(setting.variable)
        if text is None and setting.required:
            errors.append(f"{setting.variable} is not set. {setting.description}")
        elif text is None:
            values[setting.name] = setting.default
        else:
            try:
                values[setting.name] = setting.parse(text)
            except ValueError as error:
                errors.append(f"{setting.variable} {error}.")
    for variable in ("FLASK_DEBUG", "DEBUG"):
        if environ.get(variable, "").lower() not in ("", "0", "false", "no", "off"):
            errors.append(f"{variable} is set. Unset it: what serves others tells its errors to its log alone.")
    if values.get("SMTP_URL") and not values.get("MAIL_FROM", "faulty"):
        errors.append("CARBONAPI_MAIL_FROM is not set, as it must be with CARBONAPI_SMTP_URL.")
    if errors:
        raise SettingsError("\n".join(errors))
    return values
