"""The WSGI application: `granian --interface wsgi wsgi:app` or `gunicorn wsgi:app`."""

from carbonapi import create_app
from carbonapi.imports import book_queued

app = create_app()
book_queued(app)
