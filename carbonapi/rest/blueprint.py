"""What a view looks like: decorators say who, what and which; the body says one sentence of the domain."""

from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from typing import Any

import flask_smorest
import marshmallow as ma
import sqlalchemy as sa
from flask import Response, request

from ..auth import EVERYONE, WRITERS, require_login
from ..db import db, is_retryable, use_autocommit
from ..errors import CarbonError
from ..rate_limiting import IMPORTS, WRITES, RateLimit
from .copy_stream import example_file, export_response
from .etag import matches_if_none_match
from .fields import MEDIA_TYPES
from .idempotency import idempotent
from .paging import CountRows, List, render_page
from .query import ExportQuerySchema, ListQuerySchema, QuerySchema
from .rate_limit_headers import rate_limited
from .request_parsing import StrictParser, uploaded_file

ACCEPTED = {"Preference-Applied": "respond-async", "Retry-After": "1"}  # RFC 7240; RFC 9110, section 10.2.3.
MAX_ATTEMPTS = 3
View = Callable[..., Any]
Decorator = Callable[[View], View]
Errors = tuple[type[CarbonError], ...]
Roles = frozenset[str] | None  # None: whoever asks, signed in or not.


def commit_after(view: View) -> View:
    """Commit when the view returns. An exception leaves the session to the error handler, which rolls back."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = view(*args, **kwargs)
        db.session.commit()
        return result

    return wrapper


def retry_on_conflict(act: View) -> View:
    """Act again, MOST_REPETITIONS times at most, if PostgreSQL undoes it because others write the same rows.

    Not for what takes a file, which is there to be read once.
    """

    @wraps(act)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for _ in range(MAX_ATTEMPTS):
            try:
                return act(*args, **kwargs)
            except sa.exc.DBAPIError as error:
                if not is_retryable(error):
                    raise
                db.session.rollback()
        return act(*args, **kwargs)

    return wrapper


class Blueprint(flask_smorest.Blueprint):
    """A feature's routes, under the conventions of this service."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, name: str, import_name: str, *, description: str, url_prefix: str = "/api/v1") -> None:
        super().__init__(name, import_name, url_prefix=url_prefix, description=description)
        self._prepare_doc_cbks.append(_note_conventions)

    def listing(
        self,
        schema: type[ma.Schema],
        query: type[ListQuerySchema],
        *,
        roles: frozenset[str] = EVERYONE,
        count_rows: CountRows | None = None,
        in_person: bool = False,
    ) -> Decorator:
        """GET of a list. The view returns a SELECT; it is sorted, paged and written here.

        count_rows: returns the number of rows without counting them. in_person: whether it rejects API keys.
        """

        def decorate(view: View) -> View:
            @self.response(200, schema(many=True))
            @wraps(view)
            def wrapper(resource: Any, narrow: Any, **path: Any) -> Any:
                use_autocommit()
                body, headers = render_page(List(view(resource, narrow, **path), schema, narrow, count_rows))
                return Response(body, mimetype="application/json", headers=headers)

            return self._guarded(wrapper, roles, query, reads=True, in_person=in_person, paged=True)

        return decorate

    def exporting(
        self, schema: type[ma.Schema], query: type[ExportQuerySchema], name: str, *, roles: Roles = EVERYONE
    ) -> Decorator:
        """GET of all rows of a list as a file of this name. The view returns a SELECT, as that of a list does."""

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(resource: Any, narrow: Any, **path: Any) -> Any:
                rows = view(resource, narrow, **path).order_by(*narrow.order)
                return export_response(rows, schema, narrow.arguments["format"], name)

            content = {
                media_type: {"schema": {"type": "string"}, "example": example_file(schema, file_format)}
                for file_format, media_type in MEDIA_TYPES.items()
            }
            wrapper = self.doc(responses={"200": {"description": "The file.", "content": content}})(wrapper)
            return self._guarded(wrapper, roles, query, reads=True, attached=True)

        return decorate

    def reading(
        self,
        schema: type[ma.Schema] | ma.Schema,
        query: type[QuerySchema] | None = None,
        *,
        tagged: bool = False,
        roles: Roles = EVERYONE,
        raises: Errors = (),
    ) -> Decorator:
        """GET of one thing, or of figures. A `tagged` one carries its ETag and heeds If-None-Match.

        raises: the errors that do not follow from these arguments.
        """

        def decorate(view: View) -> View:
            @self.response(200, schema)
            @wraps(view)
            def wrapper(*args: Any, **path: Any) -> Any:
                if roles is not None:  # Whoever asks, perhaps only whether we are alive, may need no database.
                    use_autocommit()
                row = view(*args, **path)
                if not tagged:
                    return row
                tag = {"ETag": f'"{row.etag}"'}
                return Response(status=304, headers=tag) if matches_if_none_match(row) else (row, tag)

            return self._guarded(wrapper, roles, query, reads=True, tagged=tagged, raises=raises)

        return decorate

    def writing(
        self,
        takes: ma.Schema | type[ma.Schema] | None,
        gives: type[ma.Schema] | None,
        status: int = 200,
        *,
        roles: Roles = WRITERS,
        conflicts: bool = False,
        tagged: bool = True,
        is_one_statement: bool = False,
        in_person: bool = False,
        secret: str | None = None,
        collection: str | None = None,
        throttle: RateLimit = WRITES,
        raises: Errors = (),
    ) -> Decorator:
        """POST, PUT and PATCH. The view is given the body's fields and returns the row it wrote.

        conflicts: whether it can be 409. tagged: whether the row carries an ETag and If-Match is heeded.
        is_one_statement: whether a single statement writes all of it, which then needs no transaction around it.
        in_person: whether it takes no API key. secret: the field of the answer that is shown this once.
        collection: the path below which a new row is found, where it is not the one that was posted to.
        throttle: how often the actor may do it. For whoever is not signed in, the verb sees to that.
        raises: the errors that do not follow from these arguments.
        """

        def decorate(view: View) -> View:
            @self.response(status, gives)
            @wraps(view)
            def wrapper(*args: Any, **path: Any) -> Any:
                if is_one_statement:
                    use_autocommit()
                row = view(*args, **path)
                db.session.flush()
                headers = {"ETag": f'"{row.etag}"'} if tagged and gives else {}
                headers |= {"Cache-Control": "no-store"} if secret else {}
                if status != 201:
                    return row, headers
                if row.id is None:  # What was asked for made nothing.
                    return row, 200, headers
                return row, headers | {"Location": f"{collection or request.path.rstrip('/')}/{row.id}"}

            wrapper = retry_on_conflict(commit_after(wrapper if roles is None else idempotent(wrapper, secret=secret)))
            wrapper = self.arguments(takes() if isinstance(takes, type) else takes)(wrapper) if takes else wrapper
            conventions: dict[str, Any] = {"tagged": tagged and gives is not None, "conflicts": conflicts}
            conventions |= {"raises": raises, "created": status == 201, "once": roles is not None, "secret": secret}
            return self._guarded(wrapper, roles, None, throttle, in_person=in_person, **conventions)

        return decorate

    def uploading(
        self,
        gives: type[ma.Schema],
        query: type[QuerySchema] | None,
        examples: dict[str, str],
        status: int = 201,
        *,
        roles: frozenset[str] = WRITERS,
        conflicts: bool = False,
        defers: bool = False,
    ) -> Decorator:
        """POST of a file. The view is given the query's arguments and the file, and returns what it made of it.

        examples: of the kinds of file that are taken, keys of MEDIA_TYPES. With 201, the view returns a row it wrote.
        defers: whether that row may be pending, for a caller who prefers so: then it is 202.
        """

        def decorate(view: View) -> View:
            @self.response(status, gives)
            @wraps(view)
            def respond(*args: Any, **path: Any) -> Any:
                row = view(*args, **path)
                db.session.flush()
                if status != 201:
                    return row
                if row.id is None:  # What was asked for made nothing.
                    return row, 200
                location = {"Location": f"{request.path.rstrip('/')}/{row.id}"}
                return (row, 202, location | ACCEPTED) if defers and row.is_pending else (row, location)

            @wraps(respond)
            def wrapper(*args: Any, **path: Any) -> Any:
                with uploaded_file(*(MEDIA_TYPES[kind] for kind in examples)) as file:
                    return commit_after(idempotent(respond, file))(*args, file, **path)

            if defers:
                accepted = "It is kept, and worked off after this answer; `Location` tells how far it is."
                wrapper = self.alt_response(202, schema=gives, description=accepted)(wrapper)
            wrapper = self.doc(requestBody={"required": True, "content": _file_content(examples)})(wrapper)
            conventions = {"created": status == 201, "conflicts": conflicts, "defers": defers, "once": True}
            return self._guarded(wrapper, roles, query, IMPORTS, reads=status != 201, **conventions)

        return decorate

    def removing(
        self,
        query: type[QuerySchema] | None = None,
        *,
        roles: Roles = WRITERS,
        conflicts: bool = False,
        tagged: bool = True,
        in_person: bool = False,
    ) -> Decorator:
        """DELETE of one row, which heeds If-Match if it is `tagged`, or of those that the query names: 204.

        in_person: whether it takes no API key.
        """

        def decorate(view: View) -> View:
            conditional = tagged and (query is None or "id" not in query().fields)
            wrapper = self.response(204)(retry_on_conflict(commit_after(view)))
            conventions = {"conditional": conditional, "conflicts": conflicts}
            return self._guarded(wrapper, roles, query, WRITES, in_person=in_person, **conventions)

        return decorate

    def _guarded(
        self,
        view: View,
        roles: Roles,
        query: type[QuerySchema] | None,
        throttle: RateLimit | None = None,
        *,
        reads: bool = False,
        in_person: bool = False,
        **conventions: Any,
    ) -> View:
        """The view for signed-in actors of these roles; refuses query arguments that are not declared.

        reads: whether it writes nothing. in_person: whether it takes no API key.
        """
        # An instance, made once: a class would be made into one with every request.
        view = self.arguments(query(), location="query")(view) if query else self._without_arguments(view)
        if roles is not None:
            view = rate_limited(view, throttle) if throttle else view
            view = require_login(view, roles, reads=reads, in_person=in_person)
        documented: Any = view
        documented._apidoc = deepcopy(getattr(view, "_apidoc", {}))
        conventions |= {"roles": roles, "throttled": throttle is not None, "reads": reads, "in_person": in_person}
        documented._apidoc["conventions"] = conventions
        return view

    def _without_arguments(self, view: View) -> View:
        none = QuerySchema()

        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.ARGUMENTS_PARSER.parse(none, request, location="query")
            return view(*args, **kwargs)

        return wrapper


def _file_content(examples: dict[str, str]) -> dict[str, Any]:
    """The content of a request that brings a file: as the body, or as `file` of a form."""
    kinds = " or ".join(kind.upper() for kind in examples)
    # OpenAPI 3.1 tells a file by its media type; generators of clients still look for the format.
    file: dict[str, Any] = {"type": "string", "format": "binary", "description": f"A file: {kinds}."}
    content: dict[str, Any] = {
        MEDIA_TYPES[kind]: {"schema": file | {"contentMediaType": MEDIA_TYPES[kind]}, "example": example}
        for kind, example in examples.items()
    }
    form = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    content["multipart/form-data"] = {"schema": form, "example": {"file": next(iter(examples.values()))}}
    return content


def _note_conventions(doc: dict[str, Any], doc_info: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Leave what a decorator knows of an operation in its document, where documents.py makes it readable."""
    doc["x-conventions"] = doc_info.get("conventions", {})
    return doc
