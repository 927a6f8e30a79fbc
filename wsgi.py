"""The WSGI application: `granian --interface wsgi wsgi:app` or `gunicorn wsgi:app`."""

from carbonapi import create_app, logs
from carbonapi.imports import book_queued

app = create_app()
logs.begin(app.config["LOG_LEVEL"])
book_queued(app)
