"""What is served beside the API: its document, Swagger UI, and whether the service is alive."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import flask
import marshmallow as ma
import sqlalchemy as sa
from flask.views import MethodView

from .. import tenancy
from ..db import db
from ..errors import Unavailable
from .blueprint import Blueprint
from .query import Schema

pages = flask.Blueprint("pages", __name__, template_folder="templates", static_folder="static")
health = Blueprint("Health", __name__, url_prefix="/health", description="Whether the service runs and can answer.")


class HealthSchema(Schema):
    """The state of the service."""

    status = ma.fields.String(required=True, metadata={"example": "ok"})


@pages.get("/")
def root() -> Any:
    return flask.redirect(flask.url_for("pages.docs"))


@pages.get("/openapi.json")
def openapi() -> Any:
    return flask.jsonify(flask.current_app.extensions["carbonapi-api"].document)


@pages.get("/docs")
def docs() -> Any:
    return flask.render_template("docs.html")


@pages.get("/docs/<any('swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'):name>")
def swagger_ui(name: str) -> Any:
    """Swagger UI's own files, as its package ships them."""
    return flask.send_from_directory(str(files("flask_swagger_ui") / "dist"), name, max_age=86_400)


@health.route("/live")
class Live(MethodView):
    @health.reading(HealthSchema, roles=None)
    def get(self) -> dict[str, str]:
        """Check liveness

        Asks nothing of the database: a service whose database is away is alive, and need not be restarted.
        """
        return {"status": "ok"}


@health.route("/ready")
class Ready(MethodView):
    @health.reading(HealthSchema, roles=None, raises=(Unavailable,))
    def get(self) -> dict[str, str]:
        """Check readiness

        503 while the database is away, takes no changes or has not been migrated, and once the service is told to stop.
        """
        drain_file = flask.current_app.config["DRAIN_FILE"]
        if drain_file and Path(drain_file).exists():
            raise Unavailable("The service is stopping.")
        if db.session.scalar(sa.text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool")):
            raise Unavailable("The database takes no changes now: it is a standby, or read-only.")
        is_begun = db.session.scalar(sa.text("SELECT to_regclass('alembic_version') IS NOT NULL"))
        revision = db.session.scalar(sa.text("SELECT version_num FROM alembic_version")) if is_begun else None
        if revision is None or revision in flask.current_app.config["OLDER_REVISIONS"]:
            raise Unavailable("The database has not been migrated yet: run `carbonapi migrate`.")
        if tenancy.is_above(db.session.connection()):
            raise Unavailable("The role of CARBONAPI_DATABASE_URL is above row-level security: take an ordinary one.")
        return {"status": "ok"}
