"""`carbonapi serve`."""

import os
import sys

import click

from ..serving import supervisor
from ..settings import DEFAULTS


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=supervisor.default_workers,
    envvar="CARBONAPI_WORKERS",
    show_default="one for each core, from 2 to 8",
    show_envvar=True,
    help="Number of processes that answer requests.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=DEFAULTS["WORKER_THREADS"],
    envvar="CARBONAPI_WORKER_THREADS",
    show_default=True,
    show_envvar=True,
    help="Maximum number of threads of a worker. Most of them wait for long uploads.",
)
@click.option(
    "--drain-seconds",
    type=click.IntRange(0),
    default=DEFAULTS["DRAIN_SECONDS"],
    envvar="CARBONAPI_DRAIN_SECONDS",
    show_default=True,
    show_envvar=True,
    help="Time between a stop signal and the stop. During it, the service still answers requests, but "
    "`/health/ready` returns 503.",
)
def serve(host: str, port: int, workers: int, threads: int, drain_seconds: int) -> None:
    """Migrate the database and start the service.

    Without CARBONAPI_DATABASE_URL, the service starts a PostgreSQL server of its own, with its data in .carbonapi in
    the working directory. Set CARBONAPI_EMBEDDED_DATA_DIR for another folder.
    """
    sys.exit(supervisor.serve(host, port, workers, threads, drain_seconds, os.environ))
