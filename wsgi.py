"""The WSGI application: `granian --interface wsgi wsgi:app` or `gunicorn wsgi:app`."""

from carbonapi import create_app
from carbonapi.imports import book_queued
from carbonapi.observability.logging import begin

app = create_app()
begin(app.config["LOG_LEVEL"])
book_queued(app)
