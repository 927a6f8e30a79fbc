"""`carbonapi openapi` and `postman`: the documents that describe the API."""

import json

import click
import flask

from ..auth import state
from ..postman import build_collection
from .application import application


@click.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    with application():
        click.echo(flask.current_app.json.dumps(state().api.document))


@click.command()
def postman() -> None:
    """Print the Postman collection."""
    with application():
        collection = build_collection(state().api.document)
        click.echo(json.dumps(collection, indent=2, ensure_ascii=False))
