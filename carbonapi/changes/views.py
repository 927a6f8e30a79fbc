"""The feed of changes, to keep a copy of the ledger in step."""

from typing import Any

from flask import Response
from flask.views import MethodView

from ..rest import Blueprint
from ..rest.cursor import decode_cursor
from ..rest.paging import cursor_link
from ..usages.models import Usage
from .schemas import ChangeQuery, ChangeSchema
from .service import BEGINNING, changes_after

changes = Blueprint("Changes", __name__, description="Every change of a usage, to keep a copy of the ledger in step.")


@changes.route("/changes")
class Changes(MethodView):
    @changes.get(ChangeSchema(many=True), ChangeQuery)
    def get(self, query: dict[str, Any]) -> Any:
        """List changes

        Returns the changes after `cursor`, oldest first: each version of each usage exactly once, and each deletion.
        Members see those of their own usages and of their sites. `Link` always has `next`: store its cursor together
        with what you made of the changes, and continue there, also after the last change. With `wait`, the response
        comes with the next change, or empty after that many seconds or earlier.
        """
        columns = (Usage.recorded_at, Usage.id)
        after = decode_cursor(query["cursor"], columns) if query["cursor"] else BEGINNING
        body, last = changes_after((after[0], after[1]), query["page_size"], query["wait"])
        return Response(body, mimetype="application/json", headers={"Link": cursor_link(last)})
