"""`carbonapi demo`: an organization with the real readings of a British household, and a user who can log in."""

import datetime as dt
import gzip
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import click
import sqlalchemy as sa

from ...accounts import service
from ...accounts.models import User
from ...auth import Actor, acting_as
from ...catalogue.factor_import import import_factors
from ...db import db
from ...imports.profiles import SHIPPED_PROFILES, load_profile
from ...imports.schemas import ImportOptions
from ...imports.service import import_file
from ...rest import now
from ..application import application
from ..database import migrate_database

FOLDER = Path(__file__).parent
FACTORS = FOLDER.parents[1] / "catalogue/factors/gb-government-conversion-factors.csv"
SERIES = ("gb-household-electricity-hourly", "gb-household-gas-hourly")
EMAIL = "demo@example.org"
NAME = "Demo household"
NOTE = "Demo data: a reading of a real British household."


@dataclass(frozen=True)
class DemoAccount:
    """The number of usages, and the password of the user. Only the hash of the password is stored."""

    usage_count: int
    password: str


@click.command()
def demo() -> None:
    """Create an organization with the real readings of a British household, and print how to log in.

    The command migrates the database first. If the demo exists already, it stays unchanged.
    """
    with application(as_owner=True):
        migrate_database()
        with application():
            account = create_demo(now())
        if account is None:
            click.echo(f"The demo exists already: log in as {EMAIL}.")
        else:
            click.echo(f"{NAME}: {account.usage_count} hourly readings of electricity and gas, 2020 to 2022.")
            click.echo(f"  Log in as:  {EMAIL}\n  Password:   {account.password}  (shown only once; change it)")


def create_demo(moment: dt.datetime) -> DemoAccount | None:
    """Create the organization, its user, its usages and their factors. Return None if the user exists already.

    Raise ValidationFailed if the catalogue has other factors than those of the British government.
    """
    if db.session.scalar(sa.select(User.id).where(User.email_key == EMAIL)) is not None:
        return None
    import_factors(FACTORS)
    household = service.create_organization(name=NAME, timezone="Europe/London", region="GB")
    password = secrets.token_urlsafe(12)
    user = service.create_user(moment, household.id, email=EMAIL, name="Demo", role="manager", password=password)
    with acting_as(Actor(user.id, household.id, "manager", household.timezone)):
        count = sum(_import_series(series, user, moment) for series in SERIES)
    db.session.commit()
    return DemoAccount(count, password)


def _import_series(series: str, user: User, moment: dt.datetime) -> int:
    """Import the file of a series. Return the number of its usages."""
    options = ImportOptions().load(load_profile(SHIPPED_PROFILES / f"{series}.toml") | {"user_id": str(user.id)})
    with gzip.open(FOLDER / f"{series}-kwh.csv.gz") as file:
        return import_file(cast(IO[bytes], file), moment, **options, note=NOTE).usage_count
