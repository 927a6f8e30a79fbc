"""Settings, read from the environment variables CARBONAPI_…."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

MAX_WINDOW_SECONDS = 86_400
PLACEHOLDERS = (  # Words in the secrets of examples.
    "change", "secret", "password", "example", "default", "insecure", "placeholder", "0123456789", "abcdefgh",
)  # fmt: skip
WEAK_PASSWORDS = ("admin", "carbonapi", "changeme", "password", "postgres", "root", "secret", "1234", "12345678")
EMAIL_PART = r"[^\x00-\x20\x7f-\U0010ffff,;:<>()\[\]\"\\@]+"
# A base path must not begin like a path of the service, since a proxy may or may not remove it from requests.
BASE_PATH_PATTERN = r"(?!/(?:api|dashboard|docs|health|metrics|static)(?:/|\Z))(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+"
GENERATE_SECRET = "generate one with `openssl rand -hex 32`"


class SettingsError(Exception):
    """Settings are missing or invalid. The message names each of them."""


@dataclass(frozen=True)
class Setting:
    """A setting, read from the environment variable CARBONAPI_<name>."""

    name: str
    description: str
    parse: Callable[[str], object] = str
    default: object = None
    required: bool = False
    example: str | None = None

    @property
    def variable(self) -> str:
        return f"CARBONAPI_{self.name}"


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of requests per window of time."""

    count: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.count}/{self.seconds}"


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_int(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in a range that includes both ends."""

    def parse(text: str) -> int:
        if not (re.fullmatch("[0-9]{1,19}", text) and lowest <= int(text) <= highest):
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def parse_match(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a parser of text that matches a pattern."""

    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"must be {expected}")
        return text

    return parse


def parse_choice(*choices: str) -> Callable[[str], str]:
    """Return a parser that accepts one of these words."""
    return parse_match("|".join(choices), " or ".join(choices))


def parse_url(*schemes: str) -> Callable[[str], str]:
    """Return a parser of URLs with a host and one of these schemes."""

    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            is_valid = parts.scheme in schemes and parts.hostname and parts.port != 0
        except ValueError:
            is_valid = False
        if not (is_valid and re.fullmatch("[!-~]+", text)):
            raise ValueError("must be a URL that begins with " + " or ".join(f"{scheme}://" for scheme in schemes))
        return text

    return parse


def parse_secret(min_bytes: int) -> Callable[[str], str]:
    """Return a parser of secrets that rejects short, repetitive and example ones."""

    def parse(text: str) -> str:
        if len(text.encode()) < min_bytes:
            raise ValueError(f"must be {min_bytes} bytes or longer; {GENERATE_SECRET}")
        is_repeated = text in (text + text)[1:-1]
        is_example = any(word in text.lower() for word in PLACEHOLDERS)
        # 32 random hexadecimal digits practically never have fewer than 8 distinct ones.
        if is_repeated or is_example or len(set(text)) < min_bytes // 4:
            raise ValueError(f"can be guessed; {GENERATE_SECRET}")
        return text

    return parse


def parse_database_url(text: str) -> str:
    """Return a PostgreSQL URL with its driver, and with several hosts in its query, as SQLAlchemy expects them."""
    pattern = r"postgres(?:ql(?:\+psycopg2)?)?://(?=.)(((?:([^:/?@]*)(?::([^@]*))?@)?)([^/?]*)(/[^?]*)?(?:\?(.*))?)"
    parts = re.fullmatch(pattern, text, re.DOTALL)
    if parts is None:
        raise ValueError("must be a postgresql:// URL")
    rest, credentials, user, password, authority, path, query = parts.groups(default="")
    hosts = [re.fullmatch(r"(\[[^]]+\]|[^:\[\]]*)(?::([0-9]{1,5}))?", host) for host in authority.split(",")]
    if None in hosts:
        raise ValueError("must have hosts such as db.example:5432, separated by commas")
    names = [host[1].strip("[]") for host in hosts if host]
    # A URL without a password is fine: libpq supports password files and certificates.
    every = names + ",".join(parse_qs(query).get("host", [])).split(",")
    is_local = all(re.fullmatch(r"|localhost(:\d+)?|::1|127\..*|/.*", unquote(name).lower()) for name in every)
    if password and not is_local and unquote(password).lower() in {unquote(user).lower(), *WEAK_PASSWORDS}:
        raise ValueError(f"has a password that can be guessed; {GENERATE_SECRET}")
    if len(hosts) > 1:
        ports = ",".join(host[2] or "5432" for host in hosts if host)
        rest = f"{credentials}{path or '/'}?host={','.join(names)}&port={ports}" + (f"&{query}" if query else "")
    return f"postgresql+psycopg2://{rest}"  # SQLAlchemy 2.1 uses psycopg 3 for a plain postgresql:// URL.


def parse_origins(text: str) -> frozenset[str]:
    """Return comma-separated origins, each as browsers send it: lower case, without a path or a default port."""
    origins = frozenset(part.strip() for part in text.split(",") if part.strip())
    host = r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])"
    for origin in origins:
        has_default_port = re.fullmatch("http:.*:80|https:.*:443", origin)
        if has_default_port or not re.fullmatch(rf"https?://{host}(:[1-9][0-9]{{0,4}})?", origin):
            raise ValueError("must be origins as browsers send them, such as https://carbon.example, and commas")
    return origins


def parse_limit(text: str) -> Limit | None:
    """Return a limit such as 10/300, a count per seconds. Return None, for no limit, for 0."""
    if text == "0":
        return None
    parts = re.fullmatch("([1-9][0-9]{0,8})/([1-9][0-9]{0,4})", text)
    if parts is None or int(parts[2]) > MAX_WINDOW_SECONDS:
        raise ValueError(f"must be a count and seconds, up to {MAX_WINDOW_SECONDS}, such as 10/300, or 0 for no limit")
    return Limit(int(parts[1]), int(parts[2]))


def rate_limits(name: str, requests: str, account: str, per_account: str, per_ip: str) -> tuple[Setting, Setting]:
    """Return the settings of a rate limit, per account and per IP address."""

    def setting(suffix: str, source: str, default: str) -> Setting:
        description = f"Maximum {requests} per {source}: `count/seconds`, or `0` for no limit."
        return Setting(f"RATE_LIMIT_{name}_PER_{suffix}", description, parse_limit, parse_limit(default))

    return setting("ACCOUNT", account, per_account), setting("IP", "IP address or IPv6 /64 network", per_ip)


SETTING_GROUPS: dict[str, tuple[Setting, ...]] = {
    "Database": (
        Setting(
            "DATABASE_URL",
            "URL of the PostgreSQL database, version 15 or later. If unset, `carbonapi serve` starts its own.",
            parse_database_url,
            required=True,
            example="postgresql://carbonapi:…@db.example/carbonapi",
        ),
        Setting(
            "MIGRATION_DATABASE_URL",
            "URL for migrations, with the role that owns the tables. Default: `CARBONAPI_DATABASE_URL`.",
            parse_database_url,
            example="postgresql://owner:…@db.example/carbonapi",
        ),
        Setting("DATABASE_POOL_SIZE", "Maximum database connections per worker.", parse_int(1, 1000), 10),
        Setting("PREPARED_STATEMENTS", "Prepare statements; `off` for some poolers.", parse_choice("on", "off"), "on"),
        Setting("EMBEDDED_DATA_DIR", "Data directory of the embedded PostgreSQL.", default="./.carbonapi"),
        Setting("EMBEDDED_POSTGRES_USER", "System user for the embedded PostgreSQL under root.", default="postgres"),
    ),
    "Accounts": (
        Setting(
            "SECRET_KEY",
            "Secret that signs access tokens, at least 32 bytes. `carbonapi serve` without a database generates one.",
            parse_secret(32),  # HS256 needs a key as long as its hash (RFC 7518, section 3.2).
            required=True,
        ),
        Setting(
            "REGISTRATION",
            "Creation of organizations: `open` to all, or `closed` to all except admins.",
            parse_choice("open", "closed"),
            "open",
        ),
        Setting("ACCESS_TOKEN_MINUTES", "Lifetime of an access token in minutes.", parse_int(1, 1440), 15),
        Setting("REFRESH_TOKEN_DAYS", "Lifetime of a refresh token in days.", parse_int(1, 365), 30),
        Setting(
            "SESSION_CACHE_SECONDS",
            "Seconds that a worker may cache a session. A logout or new time zone takes effect by then. `0`: no cache.",
            parse_int(0, 5),
            5,
        ),
    ),
    "Server": (
        Setting("WORKERS", "Worker processes. Default: one per CPU core, from 2 to 8.", parse_int(1, 1000)),
        Setting("WORKER_THREADS", "Maximum threads per worker. Slow uploads use most.", parse_int(1, 10_000), 300),
        Setting("IMPORT_MAX_BYTES", "Maximum size of an uploaded file in bytes.", parse_int(1, 2**40), 2**30),
        Setting(
            "TRUSTED_PROXIES",
            "Number of reverse proxies that append to `X-Forwarded-For`. `0` ignores the header.",
            parse_int(0, 10),
            0,
        ),
        Setting(
            "BASE_PATH",
            "Path below which a reverse proxy publishes the service, such as `/carbon`. Default: `X-Forwarded-Prefix` "
            "of a trusted proxy, or none.",
            parse_match(
                f"(?:{BASE_PATH_PATTERN})?",
                "a path such as /carbon, without a slash at its end, that is none of the service",
            ),
        ),
        Setting(
            "CORS_ORIGINS",
            "Comma-separated origins allowed by CORS. Default: none.",
            parse_origins,
            example="https://carbon.example,http://localhost:3000",
        ),
        Setting(
            "DRAIN_SECONDS",
            "Seconds to continue serving after a stop signal, while `/health/ready` returns 503.",
            parse_int(0, 600),
            0,
        ),
        Setting("DRAIN_FILE", "Path of a file. While it exists, `/health/ready` returns 503."),
    ),
    "Rate limits": (
        Setting(
            "REDIS_URL",
            "URL of the Redis server for rate-limit counters. Default: count in PostgreSQL.",
            parse_match("(?:rediss?|unix)://.+", "a redis://, rediss:// or unix:// URL"),
            example="redis://redis.example:6379/0",
        ),
        *rate_limits(
            "LOGIN",
            "logins, changes of the own password or e-mail address, and password tokens",
            "account",
            "10/300",
            "100/300",
        ),
        *rate_limits(
            "REGISTRATION", "registrations, and new e-mail addresses of users", "e-mail address", "10/300", "100/300"
        ),
        *rate_limits("REFRESH", "token refreshes", "user", "60/300", "600/300"),
        *rate_limits("WRITES", "other POST, PUT, PATCH and DELETE requests", "user", "30000/60", "120000/60"),
        *rate_limits("IMPORTS", "`POST /imports` and `POST /verify` requests", "user", "1200/3600", "6000/3600"),
    ),
    "E-mail": (
        Setting(
            "SMTP_URL",
            "URL of the mail server: `smtp://` (with STARTTLS) or `smtps://`. If unset, the API returns invitation and "
            "reset tokens to the caller.",
            parse_url("smtp", "smtps"),
            example="smtp://user:password@mail.example:587",
        ),
        Setting(
            "MAIL_FROM",
            "Sender address of e-mails. Required with `CARBONAPI_SMTP_URL`.",
            parse_match(f"{EMAIL_PART}@{EMAIL_PART}", "an e-mail address"),
            example="carbon@example.org",
        ),
        Setting(
            "PASSWORD_PAGE_URL",
            "URL of the page that sets a password, opened with `#token=…`, for example that of the dashboard. If "
            "unset, e-mails contain the token.",
            parse_url("https", "http"),
            example="https://carbon.example/dashboard",
        ),
    ),
    "Observability": (
        Setting(
            "LOG_LEVEL",
            "Minimum log level: `debug`, `info`, `warning` or `error`. Requests are logged at `info`.",
            parse_choice("debug", "info", "warning", "error"),
            "info",
        ),
        Setting(
            "METRICS_TOKEN",
            "Bearer token for `/metrics`, at least 16 bytes. If unset, the endpoint is disabled.",
            parse_secret(16),
        ),
    ),
}
SETTINGS = tuple(setting for group in SETTING_GROUPS.values() for setting in group)

Settings = dict[str, Any]
DEFAULTS: Settings = {setting.name: setting.default for setting in SETTINGS}


def from_environ(environ: Mapping[str, str]) -> Settings:
    """Return the value of every setting by name.

    Raise SettingsError that names all missing and invalid settings at once, without their values.
    """
    values = DEFAULTS.copy()
    errors = []
    for setting in SETTINGS:
        text = environ.get(setting.variable)
        try:
            if text is not None:
                values[setting.name] = setting.parse(text)
            elif setting.required:
                errors.append(f"{setting.variable} is not set. {setting.description}")
        except ValueError as error:
            errors.append(f"{setting.variable} {error}.")
    for variable in ("FLASK_DEBUG", "DEBUG"):
        if environ.get(variable, "").lower() not in ("", "0", "false", "no", "off"):
            errors.append(f"{variable} is set. Unset it: debug mode shows internals to clients.")
    if values["SMTP_URL"] and "CARBONAPI_MAIL_FROM" not in environ:
        errors.append("CARBONAPI_MAIL_FROM is not set. CARBONAPI_SMTP_URL requires it.")
    if errors:
        raise SettingsError("\n".join(errors))
    return values
