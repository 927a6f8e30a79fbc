"""carbonapi: a ledger of carbon usage, exact and explainable to the last digit."""

import datetime as dt
import decimal
import os
from typing import Any

import flask

from .settings import Settings, from_environ

__all__ = ["create_app"]

# Python rounds decimals to 28 digits by default. CO2e in the ledger can have 54 digits, and sums more. The default
# context is for threads that start later, the other one for the current thread.
decimal.DefaultContext.prec = 100
decimal.setcontext(decimal.DefaultContext.copy())


def create_app(settings: Settings | None = None, *, as_owner: bool = False) -> flask.Flask:
    """Return the WSGI application, with these settings or those of the environment.

    as_owner: connect as the role that owns the tables, for migrations.
    Raise SettingsError that names every invalid setting.
    """
    # Importing the rooms takes most of a start. Programs that create no application, such as the supervisor, skip it.
    import flask_jwt_extended

    from . import (
        accounts,
        audit,
        auth,
        catalogue,
        changes,
        dashboard,
        db,
        emissions,
        exports,
        imports,
        periods,
        postman,
        rest,
        restatements,
        sites,
        usages,
    )
    from .rate_limiting import limits

    settings = from_environ(os.environ) if settings is None else settings
    app = flask.Flask("carbonapi", static_folder=None)
    app.config.update(_configuration(settings, as_owner=as_owner))
    db.init_app(app)
    if as_owner:
        from flask_migrate import Migrate  # Alembic takes a sixth of the time of a start.

        Migrate(app, db.db, directory=str(db.revisions.FOLDER), render_as_batch=False)
    flask_jwt_extended.JWTManager(app)
    limits.init_app(app)
    api = rest.init_app(app)
    for blueprint in (
        # The order of the OpenAPI document.
        accounts.auth,
        catalogue.catalogue,
        catalogue.factor_sets,
        sites.sites,
        sites.meters,
        usages.usages,
        changes.changes,
        imports.imports,
        exports.exports,
        emissions.emissions,
        emissions.coverage,
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
    app.extensions["carbonapi"] = auth.State(
        find_actor=accounts.find_actor,
        find_key_actor=accounts.find_key_actor,
        on_timezone_change=usages.ledger.rebuilding_daily_totals,
        hashing_slots=accounts.create_slots(settings["WORKERS"]),
        export_slots=rest.create_slots(settings["DATABASE_POOL_SIZE"]),
        api=api,
    )
    return app


def _configuration(settings: Settings, *, as_owner: bool) -> dict[str, Any]:
    """Return the settings, and the configuration of Flask's extensions."""
    from . import db, rest

    newest, *older = db.revisions.revisions()
    url = (as_owner and settings["MIGRATION_DATABASE_URL"]) or settings["DATABASE_URL"]
    return settings | {
        # A database at one of these is not ready. An unknown revision is from a newer version, and is.
        "OLDER_REVISIONS": frozenset(older),
        "REVISION": newest,
        "SQLALCHEMY_DATABASE_URI": url,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            "connect_args": db.connect_args(url),
            "hide_parameters": True,  # In the text of exceptions.
            "json_deserializer": rest.load_json,
            "json_serializer": rest.dump_json,
            "max_overflow": 0,
            "pool_size": settings["DATABASE_POOL_SIZE"],
            "pool_timeout": 2,
            "pool_use_lifo": True,
        },
        "JWT_SECRET_KEY": settings["SECRET_KEY"],
        "JWT_ALGORITHM": "HS256",
        "JWT_COOKIE_CSRF_PROTECT": False,  # Cookies do not authenticate.
        "JWT_ENCODE_ISSUER": "carbonapi",
        "JWT_DECODE_ISSUER": "carbonapi",
        "JWT_ENCODE_AUDIENCE": "carbonapi",
        "JWT_DECODE_AUDIENCE": "carbonapi",
        "JWT_ACCESS_TOKEN_EXPIRES": dt.timedelta(minutes=settings["ACCESS_TOKEN_MINUTES"]),
        "JWT_REFRESH_TOKEN_EXPIRES": dt.timedelta(days=settings["REFRESH_TOKEN_DAYS"]),
    }
