"""`carbonapi users`: the first admin is created here."""

import click
import sqlalchemy as sa

from ..accounts import service
from ..accounts.models import Organization
from ..auth import ROLES
from ..db import db
from ..rest import now
from .application import application


@click.group()
def users() -> None:
    """Manage users."""


@users.command("add")
@click.option("--email", required=True, help="E-mail address of the user.")
@click.option("--name", required=True, help="Name of the user.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="Role of the user.")
@click.option("--organization", required=True, help="Name of the organization. It is created if it does not exist.")
@click.password_option(
    envvar="CARBONAPI_NEW_PASSWORD",
    show_envvar=True,
    help="Password of the user. Without it, the command asks for one.",
)
def add_user(email: str, name: str, role: str, organization: str, password: str) -> None:
    """Add a user with any role, such as the first admin."""
    with application():
        existing = db.session.scalar(sa.select(Organization).where(Organization.name == organization))
        employer = existing or service.create_organization(name=organization)
        user = service.create_user(now(), employer.id, email=email, name=name, role=role, password=password)
        db.session.commit()
        click.echo(f"Added {role} {email}, user {user.id} of organization {employer.id}.")
