"""The blueprint of a feature: one decorator for each kind of view."""

from functools import wraps
from typing import Any

import flask_smorest
import marshmallow as ma
import sqlalchemy as sa
from flask import Response, current_app, request

from ..auth import EVERYONE, WRITERS, require_login
from ..db import Model, db, is_retryable, roll_back, use_autocommit
from ..rate_limiting.limits import IMPORTS, WRITES, RateLimit
from .arrays import ObjectOrArray, request_doc, response_doc
from .base_path import url_of
from .copy_stream import example_file, export_response
from .etag import matches_if_none_match
from .fields import MEDIA_TYPES, UPLOAD_TYPES
from .idempotency import idempotent
from .paging import CountRows, Parts, render_page
from .query import ExportQuerySchema, ListQuerySchema, QuerySchema
from .rate_limit_headers import consume_before, count_fields_before
from .request_parsing import StrictParser, uploaded_file
from .view_rules import Decorator, Roles, View, can_conflict, has_etag, returned_model, rules_of

ACCEPTED = {"Preference-Applied": "respond-async", "Retry-After": "1"}  # RFC 7240; RFC 9110, section 10.2.3.
MAX_ATTEMPTS = 3


def commit_after(view: View) -> View:
    """Commit when the view has returned. After an exception, the error handler rolls back."""

    @wraps(view)
    def run_and_commit(*args: Any, **kwargs: Any) -> Any:
        result = view(*args, **kwargs)
        db.session.commit()
        return result

    return run_and_commit


def retry_on_conflict(view: View) -> View:
    """Run the view again, up to MAX_ATTEMPTS times, if PostgreSQL aborts its transaction in favor of another one.

    Also if a prepared statement was lost, for example by a migration. Not for uploads: a file can be read only once.
    """

    @wraps(view)
    def run_with_retries(*args: Any, **kwargs: Any) -> Any:
        for _ in range(MAX_ATTEMPTS):
            try:
                return view(*args, **kwargs)
            except sa.exc.DBAPIError as error:
                if not is_retryable(error):
                    raise
                roll_back()
        return view(*args, **kwargs)

    return run_with_retries


class Blueprint(flask_smorest.Blueprint):
    """The routes of a feature.

    Each method below decorates a view for one HTTP method. Decorators of view_rules.py state what differs from its
    defaults. A request passes these steps, from outside to inside:

    1. `require_login`: authenticate, and check the role and the scope (401, 403).
    2. `consume_before`: count a write against the rate limit (429).
    3. `arguments`: parse the query, then the body (400, 415, 422).
       Then `count_fields_before`, if the view has a limit that depends on the body (429).
    4. `retry_on_conflict`: repeat the steps below after a deadlock, or if a prepared statement was lost.
    5. `commit_after`: commit.
    6. `idempotent`: replay the stored response of a POST with the same Idempotency-Key, or store this one.
    7. `response`: serialize the result, with ETag and Location.
    8. The view.

    So an invalid request counts against the rate limit, and a stored response is committed together with its effect.
    The model in the view's return annotation decides about ETags (412) and conflicts (409).
    """

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, name: str, import_name: str, *, description: str, url_prefix: str = "/api/v1") -> None:
        super().__init__(name, import_name, url_prefix=url_prefix, description=description)

    def list(
        self,
        schema: type[ma.Schema],
        query: type[ListQuerySchema],
        *,
        count_rows: CountRows | None = None,
        parts: Parts | None = None,
    ) -> Decorator:
        """GET of a list. The view returns a SELECT, which is sorted and paged here.

        count_rows: returns the number of rows without counting them. parts: returns the criteria of parts of the list
        that an index has in order, where it has not the list as a whole.
        """

        def decorate(view: View) -> View:
            @self.response(200, schema(many=True))
            @wraps(view)
            def respond_with_page(resource: Any, narrow: Any, **path: Any) -> Any:
                use_autocommit()
                body, headers = render_page(view(resource, narrow, **path), schema, narrow, count_rows, parts)
                return Response(body, mimetype="application/json", headers=headers)

            return self._guard(retry_on_conflict(respond_with_page), EVERYONE, query, reads=True, paged=True)

        return decorate

    def export(self, schema: type[ma.Schema], query: type[ExportQuerySchema], name: str) -> Decorator:
        """GET of all rows of a list as a file with this name. The view returns a SELECT."""

        def decorate(view: View) -> View:
            @wraps(view)
            def respond_with_file(resource: Any, narrow: Any, **path: Any) -> Any:
                rows = view(resource, narrow, **path).order_by(*narrow.order)
                return export_response(rows, schema, narrow.arguments["format"], name)

            content = {
                media_type: {"schema": {"type": "string"}, "example": example_file(schema, file_format)}
                for file_format, media_type in MEDIA_TYPES.items()
            }
            documented = self.doc(responses={"200": {"description": "The file.", "content": content}})
            return self._guard(documented(respond_with_file), EVERYONE, query, reads=True, attached=True)

        return decorate

    def get(self, schema: type[ma.Schema] | ma.Schema, query: type[QuerySchema] | None = None) -> Decorator:
        """GET of one row, or of figures. A row with a version has an ETag, and If-None-Match is supported."""

        def decorate(view: View) -> View:
            tagged, is_public = has_etag(returned_model(view)), rules_of(view).is_public

            @self.response(200, schema)
            @wraps(view)
            def respond_with_row(*args: Any, **path: Any) -> Any:
                if not is_public:  # A public view, such as the liveness check, may need no database.
                    use_autocommit()
                row = view(*args, **path)
                if not tagged:
                    return row
                headers = {"ETag": f'"{row.etag}"'}
                return Response(status=304, headers=headers) if matches_if_none_match(row) else (row, headers)

            return self._guard(retry_on_conflict(respond_with_row), EVERYONE, query, reads=True, tagged=tagged)

        return decorate

    def post(
        self,
        takes: type[ma.Schema] | ma.Schema | None,
        gives: type[ma.Schema] | None,
        status: int | None = None,
        *,
        location: str | None = None,
        array: type[ma.Schema] | None = None,
    ) -> Decorator:
        """POST. The view gets the fields of the body, and returns the row that it wrote.

        status: 201 by default, or 204 if it gives nothing. location: the path of the new row's list, if it differs from
        the path of the request. It may have the arguments of the path in braces.
        array: the schema of the response to an array of up to MAX_ELEMENTS bodies. Then the view gets the list of their
        fields, and returns what this schema dumps, without ETag and Location. All of them have an effect, or none.
        """
        success = status or (201 if gives else 204)
        schema = takes() if isinstance(takes, type) else takes

        def decorate(view: View) -> View:
            rules, model = rules_of(view), returned_model(view)

            @self.response(success, gives)
            @wraps(view)
            def respond_with_row(*args: Any, **path: Any) -> Any:
                if rules.is_single_statement:
                    use_autocommit()
                row = view(*args, **path)
                if array and isinstance(args[-1], list):
                    return Response(current_app.json.dumps(array().dump(row)), success, mimetype="application/json")
                db.session.flush()
                headers = {"ETag": f'"{row.etag}"'} if has_etag(model) else {}
                headers |= {} if rules.is_cacheable else {"Cache-Control": "no-store"}
                if success != 201:
                    return row, headers
                if row.id is None:  # A preview creates no row.
                    return row, 200, headers
                new_in = location.format(**path) if location else request.path.rstrip("/")
                return row, headers | {"Location": f"{url_of(new_in)}/{row.id}"}

            step = respond_with_row if rules.is_public else idempotent(respond_with_row, secret=rules.secret)
            step = retry_on_conflict(commit_after(step))
            if rules.counts:
                step = count_fields_before(step, rules.counts)
            if schema:
                step = self.arguments(ObjectOrArray(schema) if array else schema)(step)
            if schema and gives and array:
                responses = {success: response_doc(gives, array)}
                step = self.doc(requestBody=request_doc(schema), responses=responses)(step)
            conventions: dict[str, Any] = {"tagged": has_etag(model), "conflicts": can_conflict(model)}
            conventions |= {"created": success == 201, "idempotent": not rules.is_public, "secret": rules.secret}
            conventions["array"] = array is not None
            return self._guard(step, WRITERS, None, WRITES, **conventions)

        return decorate

    def put(self, takes: type[ma.Schema] | ma.Schema | None, gives: type[ma.Schema] | None) -> Decorator:
        """PUT or PATCH. The view gets the fields of the body, and returns the changed row. If-Match is supported."""
        return self.post(takes, gives, 200 if gives else 204)

    patch = put

    def delete(self, model: type[Model] | None = None, query: type[QuerySchema] | None = None) -> Decorator:
        """DELETE of a row of `model`, or of the rows in the query's `id`.

        If rows of the model have a version, If-Match is supported, and a row that is in use is a conflict.
        """

        def decorate(view: View) -> View:
            deletes_several = query is not None and "id" in query().fields
            conventions = {"conditional": has_etag(model) and not deletes_several, "conflicts": has_etag(model)}
            respond_with_nothing = self.response(204)(retry_on_conflict(commit_after(view)))
            return self._guard(respond_with_nothing, WRITERS, query, WRITES, **conventions)

        return decorate

    def upload(
        self,
        gives: type[ma.Schema],
        query: type[QuerySchema] | None,
        examples: dict[str, str],
        status: int = 201,
        *,
        reads: bool = False,
        defers: bool = False,
        location: str | None = None,
    ) -> Decorator:
        """POST of a file. The view gets the query's arguments and the file.

        examples: of the accepted kinds of file, which are keys of UPLOAD_TYPES. With 201, the view returns a row.
        reads: whether API keys with the scope `read` are accepted. defers: whether the row can be pending, which is
        202. location: the path of the new row's list, if it differs from the path of the request.
        """

        def decorate(view: View) -> View:
            @self.response(status, gives)
            @wraps(view)
            def respond_with_row(*args: Any, **path: Any) -> Any:
                row = view(*args, **path)
                db.session.flush()
                if status != 201:
                    return row
                if row.id is None:  # A dry run creates no row.
                    return row, 200
                header = {"Location": f"{url_of(location or request.path.rstrip('/'))}/{row.id}"}
                return (row, 202, header | ACCEPTED) if defers and row.is_pending else (row, header)

            @wraps(respond_with_row)
            def receive_file(*args: Any, **path: Any) -> Any:
                with uploaded_file(*(UPLOAD_TYPES[kind] for kind in examples)) as file:
                    return commit_after(idempotent(respond_with_row, file))(*args, file, **path)

            documented = self.doc(requestBody={"required": True, "content": _file_content(examples)})(receive_file)
            if defers:
                accepted = "The file is stored and will be processed. `Location` shows the progress."
                documented = self.alt_response(202, schema=gives, description=accepted)(documented)
            conventions = {"created": status == 201, "defers": defers, "idempotent": True}
            return self._guard(documented, WRITERS, query, IMPORTS, reads=reads, reads_form=True, **conventions)

        return decorate

    def _guard(
        self,
        view: View,
        roles: Roles,
        query: type[QuerySchema] | None,
        limit: RateLimit | None = None,
        *,
        reads: bool = False,
        reads_form: bool = False,
        **conventions: Any,
    ) -> View:
        """Add the outer steps of the pipeline: login, rate limit and query. Note the conventions for the document.

        roles, limit: the defaults of the method. reads: whether API keys with the scope `read` are accepted.
        reads_form: whether the fields of an uploaded form are read like query arguments.
        """
        rules = rules_of(view)
        allowed = None if rules.is_public else rules.roles or roles
        # An instance: flask-smorest would instantiate a class in every request. QuerySchema rejects all arguments.
        arguments = query() if query else QuerySchema()
        arguments.reads_form = reads_form
        step = self.arguments(arguments, location="query", as_kwargs=query is None)(view)
        if allowed is not None:
            step = consume_before(step, rules.limit or limit) if limit else step
            step = require_login(step, allowed, reads=reads, in_person=not rules.accepts_api_keys)
        conventions |= {"roles": allowed, "rate_limited": limit is not None, "reads": reads, "raises": rules.errors}
        conventions["accepts_api_keys"] = rules.accepts_api_keys
        documented: View = self.doc(**{"x-conventions": conventions})(step)  # openapi.py turns them into documentation.
        return documented


def _file_content(examples: dict[str, str]) -> dict[str, Any]:
    """Return the OpenAPI content of an upload: the file as the body, or as `file` of a form."""
    kinds = " or ".join(kind.upper() for kind in examples)
    # OpenAPI 3.1 describes files by their media type. Some client generators still look for the format.
    file: dict[str, Any] = {"type": "string", "format": "binary", "description": f"A file: {kinds}."}
    content: dict[str, Any] = {
        UPLOAD_TYPES[kind]: {"schema": file | {"contentMediaType": UPLOAD_TYPES[kind]}, "example": example}
        for kind, example in examples.items()
    }
    description = "The file. All other fields are read like query parameters of the same name."
    form = {"type": "object", "description": description, "properties": {"file": file}, "required": ["file"]}
    content["multipart/form-data"] = {"schema": form, "example": {"file": next(iter(examples.values()))}}
    return content
