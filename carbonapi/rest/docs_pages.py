"""The OpenAPI document and Swagger UI."""

from importlib.resources import files
from typing import Any

import flask

from ..auth import state
from .base_path import url_of

pages = flask.Blueprint("pages", __name__, template_folder="templates", static_folder="static")


@pages.get("/")
def root() -> Any:
    return flask.redirect(flask.url_for("pages.docs"))


@pages.get("/openapi.json")
def openapi() -> Any:
    servers = [{"url": url_of("") or "/", "description": "This server"}]
    return flask.jsonify(state().api.document | {"servers": servers})


@pages.get("/docs")
def docs() -> Any:
    return flask.render_template("docs.html")


@pages.get("/docs/<any('swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'):name>")
def swagger_ui(name: str) -> Any:
    """Return a file of the Swagger UI package."""
    return flask.send_from_directory(str(files("flask_swagger_ui") / "dist"), name, max_age=86_400)
