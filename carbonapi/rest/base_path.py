"""The path below which a proxy publishes the service, such as `/carbon`: the SCRIPT_NAME of WSGI (PEP 3333).

Links, redirects and pages begin with it. A proxy may remove it from the path of a request, or pass it on.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Response, request

from ..settings import BASE_PATH_PATTERN


def set_base_path(environ: dict[str, Any], config: Mapping[str, Any]) -> None:
    """Move the base path from the path of a request to SCRIPT_NAME, unless the web server has set that.

    Without the setting, it is the last X-Forwarded-Prefix if proxies are trusted.
    """
    if environ.get("SCRIPT_NAME"):
        return
    base_path = config["BASE_PATH"] or ""
    if not base_path and config["TRUSTED_PROXIES"]:
        forwarded = environ.get("HTTP_X_FORWARDED_PREFIX", "").rpartition(",")[2].strip().rstrip("/")
        # A proxy may pass on the header of its client, which must not become a link to another host.
        base_path = forwarded if re.fullmatch(BASE_PATH_PATTERN, forwarded) else ""
    environ["SCRIPT_NAME"] = base_path
    path = environ["PATH_INFO"]
    if base_path and (path == base_path or path.startswith(f"{base_path}/")):
        environ["PATH_INFO"] = path.removeprefix(base_path)


class SetBasePath:
    """WSGI middleware that sets the base path of each request."""

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]], config: Mapping[str, Any]) -> None:
        self._wsgi_app, self._config = wsgi_app, config

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        set_base_path(environ, self._config)
        return self._wsgi_app(environ, start_response)


def url_of(path: str) -> str:
    """Return the relative URL of a path of the service."""
    return f"{request.script_root}{path}"


def make_location_relative(response: Response) -> Response:
    """Remove the host, which a client can choose, from Werkzeug's redirects of paths with double slashes."""
    if response.location:
        response.location = urlsplit(response.location)._replace(scheme="", netloc="").geturl()
    return response
