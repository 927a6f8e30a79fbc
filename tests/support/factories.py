"""Rows for tests. Every field has a default, so a test states only what matters to it."""

import datetime as dt
import itertools
from decimal import Decimal

from carbonapi import audit
from carbonapi.accounts.models import Organization, User
from carbonapi.accounts.passwords import HASHER
from carbonapi.auth import Actor, acting_as
from carbonapi.catalogue.models import EmissionFactor, UsageType
from carbonapi.catalogue.usage_valuations import choose_valuation
from carbonapi.catalogue.valuation_choice import choosing_again
from carbonapi.db import db, row_security
from carbonapi.sites import service as sites
from carbonapi.usages import service

PASSWORD = "unrelated words make good ones"
PASSWORD_HASH = HASHER.hash(PASSWORD)
numbers = itertools.count(1)


def now():
    return dt.datetime.now(dt.UTC)


def at(text):
    """Return the time of an ISO text, in UTC unless the text has an offset."""
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


@row_security.for_all_organizations()
def add(row):
    db.session.add(row)
    audit.flush()
    db.session.commit()
    return row


def organization(name=None, timezone="UTC", region=None):
    return add(Organization(name=name or f"Organization {next(numbers)}", timezone=timezone, region=region))


def user(of, role="member", email=None, name="Somebody", active=True):
    email = email or f"user{next(numbers)}@example.org"
    return add(
        User(organization_id=of.id, role=role, email=email, name=name, active=active, password_hash=PASSWORD_HASH)
    )


def usage_type(name=None, unit="kwh", factor="2", valid_from="1900-01-01", **fields):
    made = add(UsageType(name=name or f"Type {next(numbers)}", unit=unit, **fields))
    if factor is not None:
        emission_factor(made, factor, valid_from)
    return made


def emission_factor(of, factor, valid_from="1900-01-01", valid_until=None, region=None, source="a test", **fields):
    added = EmissionFactor(
        usage_type_id=of.id,
        factor=Decimal(factor),
        valid_from=at(valid_from),
        valid_until=at(valid_until) if valid_until else None,
        region=region,
        source=source,
        **fields,
    )
    with choosing_again(of.id):
        db.session.add(added)
        audit.flush()
    db.session.commit()
    return added


def valuation(organization_id, usage_type_id=100, moment="2024-01-01"):
    """Return the id of the current valuation of a usage type at a time, for rows that a test inserts itself."""
    usage_type = db.session.get_one(UsageType, usage_type_id)
    region = db.session.get_one(Organization, organization_id).region
    return choose_valuation(organization_id, usage_type, region, at(moment)).id


def usage(of, amount="1", usage_at="2024-01-01", usage_type_id=100, **fields):
    """Record a usage of the user `of` through the ledger, as this user."""
    with acting_as(Actor(of.id, of.organization_id, "manager", "UTC")):
        recorded = service.record(
            user_id=of.id, usage_type_id=usage_type_id, usage_at=at(usage_at), amount=Decimal(amount), **fields
        )
    db.session.commit()
    return recorded


def site(of, name=None, parent=None, **fields):
    """Create a site of the organization `of`, below another one or at the top."""
    with acting_as(Actor(0, of.id, "manager", "UTC")):
        created = sites.create_site(parent_id=parent and parent.id, name=name or f"Site {next(numbers)}", **fields)
    db.session.commit()
    return created


def meter(at, name=None, usage_type_id=100, **fields):
    """Create a meter at a site."""
    with acting_as(Actor(0, at.organization_id, "manager", "UTC")):
        created = sites.create_meter(
            at.id, usage_type_id=usage_type_id, name=name or f"Meter {next(numbers)}", **fields
        )
    db.session.commit()
    return created
