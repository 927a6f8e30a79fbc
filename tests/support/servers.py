"""The service in processes of its own, on a free port."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

START_SECONDS = 180  # Several services start at the same time on few cores.


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(database_url, secret_key, workers=1, log=None, **settings):
    """Yield the URL of `carbonapi serve` on this database once it is ready. `log` is a file for its stderr."""
    port = free_port()
    environ = {
        **os.environ,
        "CARBONAPI_DATABASE_URL": database_url,
        "CARBONAPI_SECRET_KEY": secret_key,
        **{f"CARBONAPI_{name}": str(value) for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "carbonapi.commands", "serve", "--port", str(port), "--workers", str(workers)]
    with running(command, port, environ, log) as url:
        yield url


@contextlib.contextmanager
def serving_with_gunicorn(database_url, secret_key, **settings):
    """Yield the URL of gunicorn with the WSGI application, on a migrated database, once it is ready."""
    port = free_port()
    environ = {
        **os.environ,
        "CARBONAPI_DATABASE_URL": database_url,
        "CARBONAPI_SECRET_KEY": secret_key,
        **{f"CARBONAPI_{name}": str(value) for name, value in settings.items()},
    }
    options = ["--bind", f"127.0.0.1:{port}", "--threads", "4", "--log-level", "error", "--no-control-socket"]
    with running([sys.executable, "-m", "gunicorn", *options, "wsgi:app"], port, environ) as url:
        yield url


@contextlib.contextmanager
def running(command, port, environ, log=None):
    server = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def wait_until_ready(url, server):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{url}/health/ready"):
            return
        time.sleep(0.05)
    raise AssertionError("The service did not start.")
