"""The application that a command works with: its database, its actor, and errors as one-line messages."""

import contextlib
import os
from collections.abc import Iterator

import click
import sqlalchemy as sa

from .. import create_app
from ..auth import Actor, acting_as
from ..db import constraint_message, db
from ..errors import CarbonError, ValidationFailed
from ..postgres import embedded
from ..postgres.embedded_folder import EmbeddedError
from ..serving.database_check import MIGRATION_URL, URL, connection_error
from ..settings import SettingsError, from_environ


@contextlib.contextmanager
def application(*, as_owner: bool = False) -> Iterator[None]:
    """Run the block as an operator in the context of the app. Raise ClickException for its errors.

    The database is that of CARBONAPI_DATABASE_URL, or the embedded one. as_owner: connect as the role that owns the
    tables.
    """
    operator = Actor(id=0, organization_id=0, role="admin", timezone="UTC")
    try:
        with (
            embedded.environment(os.environ) as environ,
            create_app(from_environ(environ), as_owner=as_owner).app_context(),
            acting_as(operator),
        ):
            yield
            db.session.remove()
            db.engine.dispose()
    except ValidationFailed as error:
        lines = error.errors.get("file", {}).items()
        row_errors = [f"  line {line}: {message}" for line, messages in lines for message in messages]
        raise click.ClickException("\n".join([str(error), *row_errors])) from None
    except (CarbonError, EmbeddedError, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    except sa.exc.IntegrityError as error:
        constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
        message = constraint_message(constraint)
        raise click.ClickException(message[0] if message else str(error.orig)) from None
    except sa.exc.OperationalError as error:
        variable = MIGRATION_URL if as_owner and os.environ.get(MIGRATION_URL) else URL
        permanent = connection_error(str(error.orig).strip(), variable)
        raise click.ClickException(permanent or "The database is unavailable. Try again shortly.") from None
