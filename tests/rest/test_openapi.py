"""The OpenAPI document: complete, and consistent with the responses."""

import json
import re

import jsonschema_rs
import openapi_spec_validator
import pytest

from carbonapi.catalogue.models import UsageType
from carbonapi.db import db
from carbonapi.settings import DEFAULTS, Limit
from tests.support import factories
from tests.support.client import Client
from tests.support.documents import examples_of

METHODS = ("get", "post", "put", "patch", "delete")
WITHOUT_ACCESS_TOKEN = {
    "register_organization": [],
    "log_in": [],
    "accept_invitation": [],
    "check_liveness": [],
    "check_readiness": [],
    "refresh_tokens": [{"refresh_token": []}],
}
# Every operation, after those whose results it needs. The URL identifies what an operation creates.
WALK = """
    register_organization log_in list_sessions end_session log_in refresh_tokens get_yourself change_yourself
    list_organizations get_organization replace_organization change_organization
    create_organization delete_organization
    create_site list_sites get_site change_site replace_shares_of_site get_shares_of_site export_sites
    create_meter list_meters get_meter change_meter export_meters delete_meter
    add_user replace_sites_of_user get_sites_of_user list_users get_user replace_user change_user
    list_usages_of_user reset_password accept_invitation
    delete_user delete_site import_sites import_meters add_user delete_users
    make_api_key list_api_keys get_api_key delete_api_key
    create_usage_type list_usage_types get_usage_type replace_usage_type change_usage_type
    enter_emission_factor list_emission_factors get_emission_factor change_emission_factor delete_emission_factor
    enter_emission_factor supersede_emission_factor
    create_upstream_line list_upstream_lines get_upstream_line delete_upstream_line
    create_factor_set list_factor_sets get_factor_set get_effect_of_factor_set change_factor_set delete_factor_set
    create_factor_set revert_factor_set import_table_of_emission_factors list_global_warming_potentials
    record_usage list_usages get_usage replace_usage correct_usage get_trend get_summary get_bridge
    get_coverage delete_usage
    record_usage list_changes get_usage explain_usage list_versions_of_usage list_units_of_usage_type
    restate_usages list_restatements get_restatement delete_usages import_usages list_imports get_import
    list_errors_of_import export_rejected_lines revert_import
    export_usages verify_export
    close_period list_closed_periods get_closed_period reopen_period list_audit_entries export_audit_entries
    delete_usage_type check_liveness check_readiness change_password log_out
"""
CREATED = {
    "/api/v1/organizations": "organization_id",
    "/api/v1/users": "user_id",
    "/api/v1/api-keys": "api_key_id",
    "/api/v1/usage-types": "usage_type_id",
    "/api/v1/usage-types/{usage_type_id}/factors": "factor_id",
    "/api/v1/usage-types/{usage_type_id}/upstream-lines": "line_id",
    "/api/v1/factor-sets": "factor_set_id",
    "/api/v1/usages": "usage_id",
    "/api/v1/imports": "import_id",
    "/api/v1/restatements": "restatement_id",
    "/api/v1/closed-periods": "closed_period_id",
    "/api/v1/sites": "site_id",
    "/api/v1/meters": "meter_id",
}
PREVIEWS = ("restate_usages", "import_table_of_emission_factors")
LARGEST_ID = 2**63 - 1
VALIDATORS = {}  # By schema.
JSON = ("application/json", "application/problem+json")


class Operation:
    """An operation of the document. `answer` compares a real response with it."""

    def __init__(self, document, path, method, described):
        self.document, self.path, self.method, self.described = document, path, method, described
        self.id = described["operationId"]
        self.parameters = document["paths"][path].get("parameters", []) + described.get("parameters", [])

    @property
    def media(self):
        """Return the request bodies by media type."""
        return self.described.get("requestBody", {}).get("content", {})

    @property
    def success(self):
        # The examples of PREVIEWS create nothing, which is 200. 202 needs a Prefer header.
        statuses = [int(status) for status in self.described["responses"].keys() - {"202"} if status.startswith("2")]
        return min(statuses) if self.id in PREVIEWS else max(statuses)

    def response(self, status):
        response = self.described["responses"][str(status)]
        named = self.document["components"]["responses"]
        return named[response["$ref"].split("/")[-1]] if "$ref" in response else response

    def request(self, client, ids, **changes):
        """Send the documented example, with these ids in its path and query."""
        path = re.sub(r"\{(\w+)\}", lambda name: str(ids[name[1]]), self.path)
        arguments = {}
        query = {
            parameter["name"]: parameter["schema"].get("example")
            for parameter in self.parameters
            if parameter["in"] == "query" and parameter.get("required")
        }
        if "id" in query:
            query["id"] = ids[CREATED[self.path]]
        if query:
            arguments["query_string"] = query
        if self.media:
            media_type, content = next(iter(self.media.items()))
            example = examples_of(content)[0]
            arguments |= {
                "data": example if isinstance(example, str) else json.dumps(example),
                "content_type": media_type,
            }
        return client.open(path, self.method.upper(), **(arguments | changes))

    def renamed(self):
        """The documented example with another name, where it has one."""
        example = examples_of(self.media["application/json"])[0]
        return json.dumps(
            example | {name: f"For {self.id}" for name in ("name", "source", "edition") if name in example}
        )

    def check(self, answer, status):
        """Assert that this answer has the status, and is as the document says."""
        assert answer.status_code == status, (self.id, answer.status_code, answer.text)
        response = self.response(status)
        for name, header in response.get("headers", {}).items():
            assert name in answer.headers, (self.id, name)
            if "content" in header:
                value, schema = json.loads(answer.headers[name]), header["content"]["application/json"]["schema"]
            else:
                value, schema = answer.headers[name], header["schema"]
            check(value, schema, self.document)
        if "content" not in response:
            assert answer.data == b"", self.id
            return
        assert answer.mimetype in response["content"], self.id
        is_json = answer.mimetype in JSON
        content = response["content"][answer.mimetype]
        check(answer.json if is_json else answer.text, content["schema"], self.document)


def validator_of(schema, document):
    """Return the validator of a schema, compiled once: the document is the same in all tests."""
    key = json.dumps(schema)
    if key not in VALIDATORS:
        whole = {"components": document["components"], **schema}
        VALIDATORS[key] = jsonschema_rs.validator_for(whole, validate_formats=True)
    return VALIDATORS[key]


def check(value, schema, document):
    """Assert that the value is as the schema says, formats too."""
    validator_of(schema, document).validate(value)


@pytest.fixture
def document(stranger):
    return stranger.get("/openapi.json").json


@pytest.fixture
def operations(document):
    """The operations by their names."""
    found = [
        Operation(document, path, method, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
        if method in METHODS
    ]
    by_id = {operation.id: operation for operation in found}
    assert len(by_id) == len(found) > 40, "names of operations are unique"
    return by_id


def references(part):
    """The names of the schemas that a part of the document refers to."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref" and value.startswith("#/components/schemas/"):
                yield value.split("/")[-1]
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_document_is_valid_openapi_and_public(stranger):
    answer = stranger.http.get("/openapi.json")

    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json["openapi"] == "3.1.0"
    openapi_spec_validator.validate(answer.json)


def test_operations_have_name_description_and_tag(document, operations):
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert all(tags.values())
    used = set()
    for operation in operations.values():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation.id)
        assert operation.described["summary"].strip(".") == operation.described["summary"]
        assert operation.described["description"].endswith("."), operation.id
        used |= set(operation.described["tags"])
    assert used == tags.keys()


def test_parameters_have_descriptions(operations):
    for operation in operations.values():
        for parameter in operation.parameters:
            assert parameter["description"].endswith("."), (operation.id, parameter["name"])
            if parameter["in"] == "path":
                schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": LARGEST_ID}
                assert parameter["schema"] == schema, operation.id
            else:
                # Swagger UI would send it unasked, which is right for what must be sent.
                assert parameter.get("required") or "example" not in {**parameter, **parameter["schema"]}, (
                    operation.id,
                    parameter["name"],
                )


def test_schemas_are_used_and_named_once(document):
    schemas = document["components"]["schemas"]

    assert set(references(document)) == schemas.keys()
    assert [name for name in schemas if not re.fullmatch(r"([A-Z][a-z]+)+", name)] == []


def test_patch_schemas_have_no_defaults(document, operations):
    reached = 0
    for operation in operations.values():
        if operation.method == "patch":
            name = operation.media["application/json"]["schema"]["$ref"].split("/")[-1]
            fields = document["components"]["schemas"][name]["properties"]
            assert [field for field, schema in fields.items() if "default" in schema] == [], operation.id
            reached += 1
    assert reached == 9


def test_only_listed_operations_are_public(operations):
    security = {name: operation.described["security"] for name, operation in operations.items()}

    assert {name: kinds for name, kinds in security.items() if kinds != [{"access_token": []}]} == WITHOUT_ACCESS_TOKEN


def test_idempotency_key_is_for_authenticated_posts_only(operations):
    posts = {name for name, operation in operations.items() if operation.method == "post"}
    keys = {
        name: parameter["schema"]
        for name, operation in operations.items()
        for parameter in operation.parameters
        if parameter["name"] == "Idempotency-Key"
    }

    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
    assert keys == dict.fromkeys(posts - WITHOUT_ACCESS_TOKEN.keys(), schema)
    assert len(keys) >= 12
    for name in keys:
        assert {"409", "422"} <= operations[name].described["responses"].keys(), name


def test_possible_errors_are_documented_as_problems(operations):
    for operation in operations.values():
        statuses = {int(status) for status in operation.described["responses"]}
        expected = {422}
        if operation.described["security"]:
            expected.add(401)
        if "Allowed role" in operation.described["description"]:
            expected.add(403)
        if "{" in operation.path or any(parameter["name"] == "id" for parameter in operation.parameters):
            expected.add(404)
        if operation.media:
            expected |= {400, 411, 413, 415}
        if any(parameter["name"] == "If-Match" for parameter in operation.parameters):
            expected.add(412)
        if operation.method != "get":
            expected.add(429)
        if operation.path.startswith("/api/"):
            expected.add(503)
        assert expected - statuses == set(), operation.id
        assert statuses - expected <= {200, 201, 202, 204, 304, 401, 403, 409, 503}, operation.id
        for status in statuses:
            if status >= 400:
                assert list(operation.response(status)["content"]) == ["application/problem+json"]
                (content,) = operation.response(status)["content"].values()
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
                assert content["example"]["status"] == status


def test_bodies_have_valid_examples(document, operations):
    for operation in operations.values():
        bodies = [operation.described.get("requestBody", {})]
        bodies += [operation.response(status) for status in operation.described["responses"]]
        for body in bodies:
            for content in body.get("content", {}).values():
                for example in examples_of(content):
                    check(example, content["schema"], document)


def walk(app, as_admin, operations, renaming=False):
    """Send every operation's own example: yields the operation, its answer, and the status that it should have.

    renaming: put another name into what replaces or changes something, which its example need not change.
    """
    assert set(WALK.split()) == operations.keys(), "the walk leads through every operation"
    ada, ids = Client(app), {}
    for name in WALK.split():
        operation = operations[name]
        client = as_admin if operation.described["description"].endswith("Allowed role: admin.") else ada
        if name == "refresh_tokens":
            client = Client(app, {"access_token": ada.tokens["refresh_token"]})

        changes = {}
        if name == "accept_invitation":
            changes["data"] = json.dumps(operation.media["application/json"]["example"] | {"token": ids["token"]})
        if name in ("create_meter", "change_meter", "replace_sites_of_user"):
            of_site = {"site_id": ids["site_id"]} if "meter" in name else {"site_ids": [ids["site_id"]]}
            example = json.loads(operation.renamed()) if renaming else operation.media["application/json"]["example"]
            changes["data"] = json.dumps(example | of_site)
        elif renaming and operation.method in ("put", "patch"):
            changes["data"] = operation.renamed()
        answer = operation.request(client, ids, **changes)

        yield operation, answer, operation.success
        if name == "register_organization":
            ids["organization_id"] = answer.json["organization_id"]
        if name in ("log_in", "refresh_tokens"):
            ada.tokens = answer.json
        if name == "reset_password":
            ids["token"] = answer.json["token"]
        if name == "list_sessions":
            ids["session_id"] = answer.json[0]["id"]
        if name == "restate_usages":
            own = ada.get("/auth/me").json["organization_id"]
            factories.emission_factor(db.session.get_one(UsageType, 100), 2, organization_id=own)
            applied = operation.media["application/json"]["example"] | {"mode": "apply"}
            answer = operation.request(client, ids, data=json.dumps(applied))
            yield operation, answer, 201
        if answer.status_code == 201 and operation.path in CREATED:
            ids[CREATED[operation.path]] = answer.json["id"]


def test_operations_accept_their_own_examples(app, as_admin, operations):
    for operation, answer, status in walk(app, as_admin, operations):
        operation.check(answer, status)


def test_only_writing_operations_create_audit_entries(app, as_admin, operations):
    before = None
    for operation, _, status in walk(app, as_admin, operations, renaming=True):
        total = json.loads(as_admin.get("/audit-entries?page_size=1").headers["X-Pagination"])["total"]
        writes = operation.method != "get" and (operation.id, status) not in {
            ("refresh_tokens", 200),  # The session goes on.
            *((name, 200) for name in PREVIEWS),
            ("verify_export", 200),  # Reads alone.
        }
        assert before is None or (total > before) == writes, operation.id
        before = total


def test_operations_fail_as_documented(app, stranger, as_admin, as_auditor, operations, monkeypatch):
    reader = as_auditor.post("/api-keys", json={"name": "A reader", "scope": "read"}).json["key"]
    monkeypatch.setitem(app.config, "IMPORT_MAX_BYTES", 2**20)
    ids = dict.fromkeys([*CREATED.values(), "session_id"], LARGEST_ID)
    failures = {
        400: (as_admin, {"data": b"{"}),
        401: (stranger, {}),
        403: (Client(app, {"access_token": reader}), {}),
        404: (as_admin, {}),
        411: (as_admin, {"headers": {"Transfer-Encoding": "chunked"}}),
        413: (as_admin, {"data": b"x" * (2**20 + 1)}),
        415: (as_admin, {"content_type": "text/plain"}),
        422: (as_admin, {"query_string": {"no_such_argument": "1"}}),
    }
    # Whom a wrong password or a closed registration keeps out is tested with accounts.
    elsewhere = {("log_in", 401), ("register_organization", 403), ("import_usages", 400), ("verify_export", 400)}
    elsewhere |= {(name, 400) for name in ("import_table_of_emission_factors", "import_sites", "import_meters")}
    # The auditor is whom these are for.
    elsewhere |= {("list_audit_entries", 403), ("export_audit_entries", 403)}
    for name, operation in operations.items():
        for status, (client, changes) in failures.items():
            if str(status) in operation.described["responses"] and (name, status) not in elsewhere:
                operation.check(operation.request(client, ids, **changes), status)


def test_writing_operations_are_rate_limited_as_documented(
    app, stranger, as_admin, sign_in, organization, operations, monkeypatch
):
    for name in [name for name in DEFAULTS if name.startswith("RATE_LIMIT_")]:
        monkeypatch.setitem(app.config, name, Limit(1, 86_400))
    ids = dict.fromkeys([*CREATED.values(), "session_id"], LARGEST_ID)
    limited = set()
    for name, operation in operations.items():
        # Each from a new IP address, by a new user.
        someone = sign_in(factories.user(organization, "admin"))
        if name == "refresh_tokens":
            someone.tokens["access_token"] = someone.tokens["refresh_token"]
        address = {"environ_base": {"REMOTE_ADDR": f"192.0.2.{len(limited)}"}}
        # Authenticated requests are counted first, and the first must not log out.
        wrong = {} if name in WITHOUT_ACCESS_TOKEN else {"query_string": {"no_such_argument": "1"}}
        first, second = (operation.request(someone, ids, **address, **changes) for changes in (wrong, {}))
        if operation.method == "get":
            assert not {"RateLimit", "RateLimit-Policy"} & {*first.headers.keys()}, name
            continue
        assert first.status_code != 429 and '-per-ip";r=0;' in first.headers["RateLimit"], name
        operation.check(second, 429)
        limited.add(name)

    assert len(limited) >= 25


def test_other_methods_are_405_with_allow(document, as_admin):
    problem = validator_of({"$ref": "#/components/schemas/Problem"}, document)
    for path, methods in document["paths"].items():
        taken = {method.upper() for method in methods.keys() & set(METHODS)}
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"} - taken:
            answer = as_admin.open(re.sub(r"\{\w+\}", "1", path), method)

            assert (answer.status_code, answer.mimetype) == (405, "application/problem+json"), (path, method)
            assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == taken
            problem.validate(answer.json)


def test_outdated_if_match_fails_as_documented(sign_in, organization, operations):
    manager = sign_in(factories.user(organization, "manager"))
    usage_id = factories.usage(manager.user).id
    for name in ("replace_usage", "correct_usage", "delete_usage"):
        answer = operations[name].request(manager, {"usage_id": usage_id}, headers={"If-Match": '"7"'})

        operations[name].check(answer, 412)


def test_matching_if_none_match_is_304(as_admin, operations):
    for name, ids in (("get_usage_type", {"usage_type_id": 100}), ("get_yourself", {})):
        tag = operations[name].request(as_admin, ids).headers["ETag"]

        answer = operations[name].request(as_admin, ids, headers={"If-None-Match": tag})

        operations[name].check(answer, 304)
        assert answer.headers["ETag"] == tag


def test_async_processing_is_documented(as_member, operations):
    operation = operations["import_usages"]

    answer = operation.request(as_member, {}, headers={"Prefer": "respond-async"})

    operation.check(answer, 202)


def test_export_formats_are_documented(as_member, operations):
    factories.usage(as_member.user)
    operation = operations["export_usages"]
    for file_format, media_type in (("csv", "text/csv"), ("ndjson", "application/x-ndjson")):
        answer = operation.request(as_member, {}, query_string={"format": file_format})

        operation.check(answer, 200)
        assert answer.mimetype == media_type
        example = operation.response(200)["content"][media_type]["example"]
        assert re.findall("[a-z_0-9]+_[a-z]+", example.splitlines()[0])[:3] == [
            "organization_id",
            "user_id",
            "usage_type_id",
        ]
        assert example.count("\n") == answer.text.count("\n")
