"""carbonapi: a ledger of carbon usage, exact and explainable to the last digit."""

import datetime as dt
import decimal
import os
from pathlib import Path

import flask
from alembic.script import ScriptDirectory
from flask_migrate import Migrate

from . import (
    accounts,
    audit,
    auth,
    catalogue,
    dashboard,
    db,
    emissions,
    exports,
    imports,
    periods,
    postman,
    rate_limiting,
    rest,
    restatements,
    usages,
)
from .settings import Settings, from_environ

__all__ = ["create_app"]

# Decimals of Python are rounded to 28 digits unless told otherwise: a kg CO2e of the ledger can have 54, and sums more.
# This holds for the thread that imports us and for those that begin later.
decimal.DefaultContext.prec = 100
decimal.setcontext(decimal.DefaultContext.copy())

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def create_app(settings: Settings | None = None, *, as_owner: bool = False) -> flask.Flask:
    """The WSGI application, with settings as in settings.py; from the environment when none are given.

    as_owner: whether it connects as the role that owns the tables, to migrate them.
    Raises SettingsError that names every setting at fault.
    """
    settings = from_environ(os.environ) if settings is None else settings
    _, *older = (script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())
    app = flask.Flask("carbonapi", static_folder=None)
    app.config.update(
        settings,
        # A database at one of these is not ready. One that is further than we know is a newer server's, and will do.
        OLDER_REVISIONS=frozenset(older),
        SQLALCHEMY_DATABASE_URI=(as_owner and settings["MIGRATION_DATABASE_URL"]) or settings["DATABASE_URL"],
        SQLALCHEMY_ENGINE_OPTIONS={
            "connect_args": db.CONNECT_ARGS,
            "hide_parameters": True,  # In what its exceptions say.
            "json_deserializer": rest.load_json,
            "json_serializer": rest.dump_json,
            "max_overflow": 0,
            "pool_size": settings["DATABASE_POOL_SIZE"],
            "pool_timeout": 2,
            "pool_use_lifo": True,
        },
        JWT_SECRET_KEY=settings["SECRET_KEY"],
        JWT_ALGORITHM="HS256",
        JWT_COOKIE_CSRF_PROTECT=False,  # No cookie signs anybody in here.
        JWT_ENCODE_ISSUER="carbonapi",
        JWT_DECODE_ISSUER="carbonapi",
        JWT_ENCODE_AUDIENCE="carbonapi",
        JWT_DECODE_AUDIENCE="carbonapi",
        JWT_ACCESS_TOKEN_EXPIRES=dt.timedelta(minutes=settings["ACCESS_TOKEN_MINUTES"]),
        JWT_REFRESH_TOKEN_EXPIRES=dt.timedelta(days=settings["REFRESH_TOKEN_DAYS"]),
    )
    db.init_app(app)
    Migrate(app, db.db, directory=str(MIGRATIONS), render_as_batch=False)
    auth.init_app(app, accounts.find_actor, accounts.find_key_actor)
    rate_limiting.init_app(app)
    accounts.init_app(app)
    api = rest.init_app(app)
    for blueprint in (
        # In the order in which one learns them, which is that of the document.
        accounts.auth,
        catalogue.catalogue,
        usages.usages,
        imports.imports,
        exports.exports,
        emissions.emissions,
        restatements.restatements,
        periods.closed_periods,
        accounts.organizations,
        accounts.users,
        accounts.api_keys.api_keys,
        audit.audit_entries,
        rest.health,
    ):
        api.register_blueprint(blueprint)
    app.register_blueprint(dashboard.dashboard)
    app.register_blueprint(postman.pages)
    return app
