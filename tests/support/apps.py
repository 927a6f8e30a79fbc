"""Applications for tests: their settings, and a context that sees every organization."""

import contextlib

from carbonapi.db import row_security
from carbonapi.settings import DEFAULTS

SECRET_KEY = "a key for tests alone, of 32 bytes and more"
NO_RATE_LIMITS = {name: 0 for name in DEFAULTS if name.startswith("RATE_LIMIT_")}


def settings_for(database_url, **changes):
    """Return the default settings with this database and these changes."""
    assert changes.keys() <= DEFAULTS.keys(), changes.keys() - DEFAULTS.keys()
    return DEFAULTS | {"DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY, "SESSION_CACHE_SECONDS": 0} | changes


@contextlib.contextmanager
def operator_context(app):
    """Enter the app's context, with the rows of all organizations visible."""
    with app.app_context(), row_security.for_all_organizations():
        yield
