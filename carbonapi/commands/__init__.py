"""The command line, `carbonapi`: starting the service, and everything that operators do outside of the API."""

import click

from .database import backup, migrate, restore
from .demo import demo
from .documents import openapi, postman
from .factors import factors
from .serve import serve
from .usages import usages
from .users import users

main = click.Group(
    "carbonapi",
    help="Run and administer carbonapi, a ledger of carbon usage.",
    commands=[serve, migrate, backup, restore, users, factors, usages, demo, openapi, postman],
)
