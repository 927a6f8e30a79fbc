"""Attempts to sign in as Ada, right and wrong, from any address."""

from tests.support import factories
from tests.support.client import Client

GUESS = {"email": "ada@example.org", "password": "not the password at all"}
RIGHT = {"email": "ada@example.org", "password": factories.PASSWORD}


def log_in(client, credentials=GUESS, address="192.0.2.1"):
    """The answer to an attempt at the app of this client."""
    stranger = Client(client.http.application)
    return stranger.post("/auth/login", json=credentials, environ_base={"REMOTE_ADDR": address})


def statuses(client, number, *arguments):
    """The statuses of so many attempts, one after the other."""
    return [log_in(client, *arguments).status_code for _ in range(number)]
