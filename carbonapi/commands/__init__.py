"""The command line, `carbonapi`: starting the service, and everything that operators do outside of the API."""

from importlib import import_module

import click

MODULES = {
    "serve": "serve",
    "migrate": "database",
    "backup": "database",
    "restore": "database",
    "users": "users",
    "factors": "factors",
    "usages": "usages",
    "demo": "demo",
    "openapi": "documents",
    "postman": "documents",
}


class _Commands(click.Group):
    """Imports the module of a command when it is used, so that `serve` starts without the rest of the code."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(MODULES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in MODULES:
            return None
        command: click.Command = getattr(import_module(f".{MODULES[name]}", __package__), name)
        return command


main = _Commands("carbonapi", help="Run and administer carbonapi, a ledger of carbon usage.")
