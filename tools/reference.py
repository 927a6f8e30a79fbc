"""Write the reference pages that follow from the code: settings, command line, errors and limits.

`python -m tools.reference` writes them to docs/reference; tests/docs/test_reference.py compares them with the code.
"""

import datetime as dt
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from carbonapi import create_app, errors
from carbonapi.commands import main
from carbonapi.rest.errors import STATUS
from carbonapi.settings import DEFAULTS, SETTINGS

FOLDER = Path(__file__).resolve().parents[1] / "docs/reference"
NOTICE = "<!-- Generated from the code by `make docs`. Do not edit. -->"
RATE_LIMIT = re.compile(r"RATE_LIMIT_(\w+)_PER_(ACCOUNT|IP)")

Row = tuple[str, ...]


def table(*rows: Row) -> str:
    """Return a Markdown table; the first row is its header."""
    header, *body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *body))


def page(title: str, *blocks: str) -> str:
    return "\n\n".join([NOTICE, f"# {title}", *blocks]) + "\n"


def settings_page() -> str:
    """Return the page of all settings."""
    rows = [
        (
            f"`{setting.variable}`",
            setting.description,
            "required" if setting.required else "none" if setting.default is None else f"`{setting.default}`",
        )
        for setting in SETTINGS
    ]
    limits = [row for row in rows if RATE_LIMIT.search(row[0])]
    return page(
        "Settings",
        "Settings are environment variables. The service reads them once, when it starts. If some are missing or "
        "invalid, it refuses to start and names all of them, never their values.",
        "`carbonapi serve` and the other commands set the required ones themselves when they start the embedded "
        "PostgreSQL.",
        "## General",
        table(("variable", "meaning", "default"), *(row for row in rows if row not in limits)),
        "## Rate limits",
        "A rate limit is a count and a number of seconds, such as `10/300`. `0` removes the limit.",
        table(("variable", "meaning", "default"), *limits),
    )


def cli_page() -> str:
    """Return the page of all commands."""
    context = click.Context(main, info_name="carbonapi")
    return page("Command line", help_of(main), *blocks_of(main, context))


def help_of(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def blocks_of(group: click.Group, context: click.Context) -> Iterator[str]:
    """Yield a heading, the help and a table of parameters for each command of a group, and of the groups in it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from blocks_of(command, inner)
            continue
        arguments = "".join(
            f" {param.make_metavar(inner)}" for param in command.params if param.param_type_name == "argument"
        )
        yield f"## {inner.command_path}"
        yield f"```sh\n{inner.command_path}{arguments} [OPTIONS]\n```"
        yield help_of(command)
        options = [option_row(param, inner) for param in command.params if isinstance(param, click.Option)]
        if options:
            yield table(("option", "meaning", "default"), *options)


def option_row(option: click.Option, context: click.Context) -> Row:
    """Return the names, the meaning and the default of an option."""
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    meaning = " ".join(
        [option.help or "", *(["One of " + ", ".join(f"`{one}`" for one in choices) + "."] * bool(choices))]
    )
    if isinstance(option.show_default, str):
        default = option.show_default
    else:
        value = option.get_default(context, call=False)
        has_default = isinstance(value, str | int | float) and not isinstance(value, bool)
        default = f"`{value}`" if has_default else "required" if option.required else ""
    if option.envvar:
        default = ", ".join(filter(None, [default, f"or `{option.envvar}`"]))
    return ", ".join(f"`{name}`" for name in option.opts), meaning.strip(), default


def errors_page() -> str:
    """Return the page of all problem types."""
    rows = [
        (f"`{code_of(error)}`", str(status), error.title, inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0])
        for error, status in sorted(STATUS.items(), key=lambda entry: entry[1])
    ]
    return page(
        "Errors",
        "Every error is `application/problem+json` (RFC 9457). Programs should rely on `type` and `status`; `detail` "
        "is for people and may change. `errors` names the invalid fields: by `json`, `query` or `file`, then by field "
        "or line.",
        "```json\n"
        '{"type": "urn:carbonapi:problem:not-found", "title": "Not found", "status": 404, '
        '"detail": "There is no usage 7.", "instance": "/api/v1/usages/7", "request_id": "…"}\n'
        "```",
        "## Problem types",
        "The `type` of a problem is `urn:carbonapi:problem:` and one of these codes.",
        table(("code", "status", "title", "meaning"), *rows),
        "## Other errors",
        table(
            ("code", "status", "meaning"),
            ("`method-not-allowed`", "405", "The URL does not support this method. `Allow` lists those that it does."),
            ("`internal-server-error`", "500", "An error of the service. The log has more under the `request_id`."),
        ),
        "Responses with 401 have `WWW-Authenticate`, those with 429 and 503 have `Retry-After`.",
    )


def code_of(error: type[errors.CarbonError]) -> str:
    """Return the stable code of an error."""
    code: str = getattr(error, "code", None) or re.sub(r"[^a-z0-9]+", "-", error.title.lower())
    return code


def in_bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count % size == 0:
            return f"{count // size} {unit}"
    return f"{count:,} bytes"


def in_hours(duration: dt.timedelta) -> str:
    return f"{duration // dt.timedelta(hours=1)} hours"


def in_days(duration: dt.timedelta) -> str:
    return f"{duration.days} days"


def as_power(number: int) -> str:
    return f"10^{len(str(number)) - 1}"


# Where a limit is defined, how it is shown, and its meaning.
CONSTANTS: tuple[tuple[str, str, Callable[[Any], str], str], ...] = (
    ("carbonapi.rest.request_parsing", "JSON_MAX_BYTES", in_bytes, "Body of a request with JSON."),
    ("carbonapi.rest.arrays", "MAX_ELEMENTS", "{:,}".format, "Usages in the array of a request."),
    (
        "carbonapi.usages.validation",
        "MAX_DAYS",
        "{:,}".format,
        "Days of the intervals in the array of a request, together.",
    ),
    ("carbonapi.rest.idempotency", "MAX_BYTES", in_bytes, "Response that an `Idempotency-Key` can repeat."),
    ("carbonapi.rest.idempotency", "RETENTION", in_hours, "Retention of an `Idempotency-Key`."),
    ("carbonapi.accounts.invitations", "VALIDITY", in_hours, "Validity of an invitation or a password reset."),
    ("carbonapi.usages.validation", "MAX_INTERVAL", in_days, "Interval of a usage."),
    ("carbonapi.catalogue.units", "MAX_AMOUNT", as_power, "Amount of a usage, in its type's unit (less than)."),
    ("carbonapi.emissions.buckets", "MAX_BUCKETS", "{:,}".format, "Buckets of a trend."),
    ("carbonapi.imports.formats.text_files", "MAX_LINE_LENGTH", "{:,} characters".format, "Line of an imported file."),
    (
        "carbonapi.errors",
        "MAX_ERRORS_SHOWN",
        str,
        "Lines with errors in the response of an import.",
    ),
    ("carbonapi.imports.formats.green_button", "MAX_METERS", "{:,}".format, "Meters in a Green Button file."),
    (
        "carbonapi.imports.staging",
        "MAX_DISTINCT_PAIRS",
        "{:,}".format,
        "Different pairs of usage type and unit in an imported file.",
    ),
    ("carbonapi.imports.jobs.queue", "MAX_ATTEMPTS", str, "Attempts to run a queued import."),
)


def limits_page() -> str:
    """Return the page of rates, sizes and lengths."""
    constants = [
        (meaning, shown(getattr(importlib.import_module(module), name))) for module, name, shown, meaning in CONSTANTS
    ]
    sizes = [
        ("File of an import or a verification (`CARBONAPI_IMPORT_MAX_BYTES`).", in_bytes(DEFAULTS["IMPORT_MAX_BYTES"]))
    ]
    return page(
        "Limits",
        "Requests beyond a rate limit return 429. Larger bodies return 413, other values beyond a limit 422.",
        "## Rate limits",
        "These are the defaults. [Settings](settings.md#rate-limits) changes them. An IPv6 address counts as its /64.",
        table(("limit", "per account", "per IP address"), *rate_limit_rows()),
        "## Sizes",
        table(("what", "at most"), *sizes, *constants),
        "## Fields and query arguments",
        table(("limit", "in", "fields"), *field_rows()),
    )


def rate_limit_rows() -> Iterator[Row]:
    """Yield the default limits of each kind of request."""
    names = dict.fromkeys(match[1] for setting in SETTINGS if (match := RATE_LIMIT.fullmatch(setting.name)))
    for name in names:
        limits = [str(DEFAULTS[f"RATE_LIMIT_{name}_PER_{by}"]).split("/") for by in ("ACCOUNT", "IP")]
        yield name.lower(), *(f"{int(count):,} in {int(seconds):,} s" for count, seconds in limits)


def field_rows() -> list[Row]:
    """Return each bound with the fields of requests that have it, from the OpenAPI document."""
    settings = DEFAULTS | {"DATABASE_URL": "postgresql+psycopg2://unused", "SECRET_KEY": "-"}
    document = create_app(settings).test_client().get("/openapi.json").get_json()
    found: dict[tuple[str, str], set[str]] = {}
    for name, place, schema in request_fields(document):
        if name != "sort" and (bounds := bounds_of(schema)):
            found.setdefault((bounds, place), set()).add(f"`{name}`")
    return [(bounds, place, ", ".join(sorted(names))) for (bounds, place), names in sorted(found.items())]


def request_fields(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the name, the place and the schema of each parameter and body field."""
    schemas = document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in operations(methods):
            for parameter in operation.get("parameters", []):
                if "schema" in parameter:
                    yield parameter["name"], parameter["in"], parameter["schema"]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schema = content.get("schema", {})
                schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
                yield from ((name, "body", field) for name, field in schema.get("properties", {}).items())


def operations(methods: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return [operation for operation in methods.values() if isinstance(operation, dict)]


def bounds_of(schema: dict[str, Any]) -> str:
    """Return the bounds of a field in words, or nothing if it has none."""
    schema = schema | schema.get("items", {}) if "maxLength" in schema.get("items", {}) else schema
    if "maxLength" in schema:
        least, most = schema.get("minLength", 0), schema["maxLength"]
        return f"{least} to {most} characters" if least > 1 else f"at most {most} characters"
    if "maximum" in schema and schema["maximum"] < 2**31:
        return f"{schema.get('minimum', 0):,} to {schema['maximum']:,}"
    if "maxItems" in schema:
        return f"at most {schema['maxItems']} values"
    return ""


PAGES = {"settings.md": settings_page, "cli.md": cli_page, "errors.md": errors_page, "limits.md": limits_page}

if __name__ == "__main__":
    for file_name, write in PAGES.items():
        (FOLDER / file_name).write_text(write())
