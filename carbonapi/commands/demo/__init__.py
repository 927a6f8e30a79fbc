"""The demo: an organization with the real readings of a British household, and a user who may look around."""

import datetime as dt
import gzip
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import sqlalchemy as sa

from ...accounts import service
from ...accounts.models import User
from ...auth import Actor, acting_as
from ...catalogue.factor_import import import_factors
from ...db import db
from ...imports.profiles import SHIPPED_PROFILES, load_profile
from ...imports.schemas import ImportOptions
from ...imports.service import import_file

HERE = Path(__file__).parent
FACTORS = HERE.parent / "catalogue/factors/gb-government-conversion-factors.csv"
SERIES = ("gb-household-electricity-hourly", "gb-household-gas-hourly")
EMAIL = "demo@example.org"
NAME = "Demo household"
NOTE = "Demo data: a reading of a real British household."


@dataclass(frozen=True)
class DemoAccount:
    """What was made: how many usages, and the password of their user, which is kept nowhere else."""

    usage_count: int
    password: str


def fill(now: dt.datetime) -> DemoAccount | None:
    """Make the organization, its user and its usages, with the factors that they need; None if it is there already.

    An operator does it. Raises Invalid where the catalogue has other factors than the British government's in their
    place.
    """
    if db.session.scalar(sa.select(User.id).where(User.email_key == EMAIL)) is not None:
        return None
    import_factors(FACTORS)
    household = service.create_organization(name=NAME, timezone="Europe/London", region="GB")
    password = secrets.token_urlsafe(12)
    user = service.create_user(now, household.id, email=EMAIL, name="Demo", role="manager", password=password)
    with acting_as(Actor(user.id, household.id, "manager", household.timezone)):
        count = sum(_booked(series, user, now) for series in SERIES)
    db.session.commit()
    return DemoAccount(count, password)


def _booked(series: str, user: User, now: dt.datetime) -> int:
    """How many usages the file of a series has, once they are booked."""
    options = ImportOptions().load(load_profile(SHIPPED_PROFILES / f"{series}.toml") | {"user_id": str(user.id)})
    with gzip.open(HERE / f"{series}-kwh.csv.gz") as file:
        return import_file(cast(IO[bytes], file), now, **options, note=NOTE).usage_count
