"""PgBouncer in front of the PostgreSQL of the tests, in transaction mode."""

import contextlib
import os
import pwd
import socket
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy.engine import make_url

from .databases import OWNER, ROLE
from .processes import wait_until
from .servers import free_port

POOL_SIZE = 4  # Of each role and database. Fewer than the connections of the service, so that they share.
WAIT_SECONDS = 30
CONFIGURATION = """
[databases]
{database} = host={host} port={server_port} dbname={database}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
logfile = {folder}/pgbouncer.log
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
query_wait_timeout = {wait_seconds}
"""


@contextlib.contextmanager
def pgbouncer(database_url, pool_size=POOL_SIZE, wait_seconds=WAIT_SECONDS):
    """Yield the URL of a PgBouncer in front of this database, with the same role."""
    url = make_url(database_url)
    host, server_port = url.host or url.query["host"], url.port or 5432
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="carbonapi-pgbouncer-") as name:
        folder = Path(name)
        values = {"database": url.database, "host": host, "server_port": server_port, "folder": folder, "port": port}
        limits = {"pool_size": pool_size, "wait_seconds": wait_seconds}
        (folder / "pgbouncer.ini").write_text(CONFIGURATION.format(**values, **limits))
        (folder / "users.txt").write_text("".join(f'"{role}" "{role}"\n' for role in (ROLE, OWNER)))
        process = subprocess.Popen(
            ["pgbouncer", "--quiet", str(folder / "pgbouncer.ini")], stderr=subprocess.DEVNULL, **_account(folder, host)
        )
        try:
            wait_until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, (folder / "pgbouncer.log").read_text()
            pooled = url.set(host="127.0.0.1", port=port, query={})
            yield pooled.render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait(20)


def _account(folder, host):
    """Return the account for PgBouncer. It does not run as root, and it must have access to PostgreSQL's socket."""
    if os.getuid() != 0:
        return {}
    owner = pwd.getpwuid(os.stat(host).st_uid) if host.startswith("/") else pwd.getpwnam("nobody")
    for path in (folder, *folder.iterdir()):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
