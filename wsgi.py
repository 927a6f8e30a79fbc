"""The WSGI application for other servers: `granian --interface wsgi wsgi:app` or `gunicorn wsgi:app`."""

from carbonapi import create_app
from carbonapi.imports import start_worker
from carbonapi.observability.logging import configure_logging
from carbonapi.serving.unread_body import DiscardUnreadBody

app = create_app()
app.wsgi_app = DiscardUnreadBody(app.wsgi_app)  # type: ignore[method-assign]
configure_logging(app.config["LOG_LEVEL"])
start_worker(app)
