"""`carbonapi demo`: an organization with the real readings of a British household, and a user who can log in."""

import datetime as dt
import gzip
import secrets
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


@click.command()
def demo() -> None:
    """Create an organization with the real readings of a British household, and print how to log in.

    The command migrates the database first. If the demo exists already, it stays unchanged.
    """
    with application(as_owner=True):
        migrate_database()
        with application():
            password = secrets.token_urlsafe(12)
            usage_count = create_demo(password, now())
        if usage_count is None:
            click.echo(f"The demo exists already: log in as {EMAIL}.")
        else:
            click.echo(f"{NAME}: {usage_count} hourly readings of electricity and gas, 2020 to 2022.")
            click.echo(f"  Log in as:  {EMAIL}\n  Password:   {password}  (shown only once; change it)")


def create_demo(password: str, moment: dt.datetime) -> int | None:
    """Create the organization, its user, its usages and their factors. Return the number of usages.

    Return None if the user exists already.
    Raise ValidationFailed if the catalogue has other factors than those of the British government.
    """
    if db.session.scalar(sa.select(User.id).where(User.email_key == EMAIL)) is not None:
        return None
    import_factors(FACTORS)
    household = service.create_organization(name=NAME, timezone="Europe/London", region="GB")
    user = service.create_user(moment, household.id, email=EMAIL, name="Demo", role="manager", password=password)
    usage_count = 0
    with acting_as(Actor(user.id, household.id, "manager", household.timezone)):
        for series in SERIES:
            profile = load_profile(SHIPPED_PROFILES / f"{series}.toml")
            options = ImportOptions().load(profile | {"user_id": str(user.id)})
            with gzip.open(FOLDER / f"{series}-kwh.csv.gz") as file:
                usage_count += import_file(cast(IO[bytes], file), moment, **options, note=NOTE).usage_count
    db.session.commit()
    return usage_count
