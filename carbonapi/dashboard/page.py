"""The page of the dashboard and its static files. The page only uses the public API."""

import gzip
import hashlib
import mimetypes
from pathlib import Path
from typing import Any

import flask
from werkzeug.exceptions import NotFound

# Only our scripts, and no markup from text, which trusted types reject. Downloaded images are blobs.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
YEAR_SECONDS = 365 * 86_400

FILES = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "static").iterdir())}
COMPRESSED = {name: gzip.compress(content, mtime=0) for name, content in FILES.items()}
# Part of the files' URLs, so that browsers can cache them permanently and never mix two versions.
VERSION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:12]

dashboard = flask.Blueprint("dashboard", __name__, template_folder="templates")


@dashboard.get("/dashboard")
def page() -> Any:
    modules = [name for name in FILES if name.endswith(".js")]
    response = flask.make_response(flask.render_template("dashboard.html", version=VERSION, modules=modules))
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.cache_control.no_cache = True
    response.add_etag()
    return response.make_conditional(flask.request)


@dashboard.get("/dashboard/<version>/<name>")
def file(version: str, name: str) -> Any:
    """Return a file of the page, compressed if the client accepts it. Only the current version may be cached."""
    if name not in FILES:
        raise NotFound
    is_compressed = flask.request.accept_encodings["gzip"] > 0
    response = flask.Response((COMPRESSED if is_compressed else FILES)[name], mimetype=mimetypes.guess_type(name)[0])
    if is_compressed:
        response.content_encoding = "gzip"
    response.vary.add("Accept-Encoding")
    response.cache_control.public = True
    if version == VERSION:
        response.cache_control.max_age = YEAR_SECONDS
        response.cache_control.immutable = True
    else:
        response.cache_control.no_cache = True
    response.add_etag()
    return response.make_conditional(flask.request)
