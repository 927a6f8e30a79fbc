"""Every setting of carbonapi: its name, its meaning, its default. Read once, when the app is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class SettingsError(Exception):
    """Some settings are missing or malformed; the message names each of them."""


@dataclass(frozen=True)
class Setting:
    """One setting, read from the environment variable CARBONAPI_<name>."""

    name: str
    meaning: str
    default: object = None
    parse: Callable[[str], object] = str
    required: bool = False

    @property
    def variable(self) -> str:
        return f"CARBONAPI_{self.name}"


def psycopg2_url(text: str) -> str:
    """A PostgreSQL URL that names its driver: SQLAlchemy 2.1 would take psycopg 3 for a bare postgresql://."""
    scheme, _, rest = text.partition("://")
    if scheme not in ("postgres", "postgresql", "postgresql+psycopg2") or not rest:
        raise ValueError("must be a postgresql:// URL")
    return f"postgresql+psycopg2://{rest}"


def secret(text: str) -> str:
    """Text of 32 bytes or more: HS256 wants a key as long as its hash (RFC 7518, section 3.2)."""
    if len(text.encode()) < 32:
        raise ValueError("must be 32 bytes or longer; `openssl rand -hex 32` makes one")
    return text


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of whole numbers from `lowest` to `highest`, both included."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20 and lowest <= int(text) <= highest):
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that takes one of the given words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("must be " + " or ".join(choices))
        return text

    return parse


SETTINGS = (
    Setting(
        "DATABASE_URL",
        "The PostgreSQL to use, 15 or later. Without it, `carbonapi serve` starts its own.",
        parse=psycopg2_url,
        required=True,
    ),
    Setting(
        "OWNER_DATABASE_URL",
        "The same database as the role that owns its tables, taken to migrate, never to serve. Without it, the "
        "role of `CARBONAPI_DATABASE_URL` owns them.",
        parse=psycopg2_url,
    ),
    Setting(
        "SECRET_KEY",
        "Signs the tokens: 32 bytes or more, kept secret. The embedded start makes one and keeps it.",
        parse=secret,
        required=True,
    ),
    Setting(
        "REGISTRATION",
        "`open`: anybody may create an organization; `closed`: only an admin.",
        "open",
        one_of("open", "closed"),
    ),
    Setting("ACCESS_TOKEN_MINUTES", "How long an access token is good for.", 15, whole(1, 1440)),
    Setting("REFRESH_TOKEN_DAYS", "How long a refresh token is good for.", 30, whole(1, 365)),
    Setting(
        "SESSION_CACHE_SECONDS",
        "How long a worker may rely on what it read of a session; a log-out is seen this late. 0 reads every time.",
        5,
        whole(0, 5),
    ),
    Setting(
        "WORKERS",
        "Processes of `carbonapi serve` that answer requests. Without it, one for each core, from 2 to 8.",
        parse=whole(1, 1000),
    ),
    Setting("THREADS", "Threads of one worker, at most; most of them wait for long uploads.", 300, whole(1, 10_000)),
    Setting("POOL_SIZE", "Database connections of one worker, at most.", 10, whole(1, 1000)),
    Setting(
        "IMPORT_MAX_BYTES",
        "The largest file that `POST /imports` and `POST /verify` take.",
        2**30,
        whole(1, 2**40),
    ),
    Setting(
        "DRAIN_SECONDS",
        "How long `carbonapi serve`, told to stop, goes on serving while `/health/ready` says 503.",
        0,
        whole(0, 600),
    ),
    Setting("DRAIN_FILE", "While this file is there, `/health/ready` says 503. `carbonapi serve` has one of its own."),
    Setting("DATA_FOLDER", "Where the embedded PostgreSQL keeps its data.", "./.carbonapi"),
    Setting("POSTGRES_ACCOUNT", "The account that runs the embedded PostgreSQL when root starts it.", "postgres"),
)

Settings = dict[str, Any]
DEFAULTS: Settings = {setting.name: setting.default for setting in SETTINGS}


def from_environ(environ: Mapping[str, str]) -> Settings:
    """The value of every setting by its name.

    Raises SettingsError that names all missing and malformed ones at once, never their values.
    """
    values: Settings = {}
    faults = []
    for setting in SETTINGS:
        text = environ.get(setting.variable)
        if text is None and setting.required:
            faults.append(f"{setting.variable} is not set. {setting.meaning}")
        elif text is None:
            values[setting.name] = setting.default
        else:
            try:
                values[setting.name] = setting.parse(text)
            except ValueError as error:
                faults.append(f"{setting.variable} {error}.")
    if faults:
        raise SettingsError("\n".join(faults))
    return values
