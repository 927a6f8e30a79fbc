"""Liveness and readiness of the service."""

from pathlib import Path

import flask
import marshmallow as ma
import sqlalchemy as sa
from flask.views import MethodView

from ..db import db, revisions, roles, row_security
from ..errors import Unavailable
from .blueprint import Blueprint
from .query import Schema
from .view_rules import public, raises

health = Blueprint(
    "Health", __name__, url_prefix="/health", description="Whether the service is running and able to serve requests."
)


class HealthSchema(Schema):
    """The state of the service."""

    status = ma.fields.String(required=True, metadata={"example": "ok"})


@health.route("/live")
class Live(MethodView):
    @health.get(HealthSchema)
    @public
    def get(self) -> dict[str, str]:
        """Check liveness

        Does not use the database: an outage of the database is no reason to restart the service.
        """
        return {"status": "ok"}


@health.route("/ready")
class Ready(MethodView):
    @health.get(HealthSchema)
    @public
    @raises(Unavailable)
    def get(self) -> dict[str, str]:
        """Check readiness

        Returns 503 while the database is unavailable, read-only or not migrated, and when the service is stopping.
        """
        drain_file = flask.current_app.config["DRAIN_FILE"]
        if drain_file and Path(drain_file).exists():
            raise Unavailable("The service is stopping.")
        with row_security.without_scope():  # The database may not have been migrated yet.
            _check_database()
        return {"status": "ok"}


def _check_database() -> None:
    if db.session.scalar(sa.text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool")):
        raise Unavailable("The database is read-only, or a standby.")
    connection = db.session.connection()
    if roles.bypasses_policies(connection):
        raise Unavailable("The role of CARBONAPI_DATABASE_URL bypasses row-level security. Use an ordinary one.")
    # Between the first migration and its grants, the service cannot read the revision.
    revision = None if roles.lacks_privileges(connection) else revisions.current_revision(connection)
    if revision is None or revision in flask.current_app.config["OLDER_REVISIONS"]:
        raise Unavailable("The database has not been migrated yet: run `carbonapi migrate`.")
