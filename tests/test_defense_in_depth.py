"""Organizations are isolated by the filter of each statement and by row-level security; either is sufficient alone."""

import pytest

from carbonapi import create_app
from carbonapi.db import Base, Global, TenantScoped, db
from tests.support.apps import settings_for
from tests.support.canaries import CANARY, path_arguments, plant, requests_for_all_operations
from tests.support.databases import TABLES_WITHOUT_POLICIES, as_owner, cloned_database, execute


@pytest.fixture(scope="module", params=["both", "filter only", "policies only"])
def shared_app(server_url, request):
    """The app with these layers of defense; it replaces the app of other tests."""
    with cloned_database(server_url, "isolation") as url, pytest.MonkeyPatch.context() as patch:
        if request.param == "filter only":
            tables = set(Base.metadata.tables) - TABLES_WITHOUT_POLICIES
            execute(as_owner(url), *(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY" for table in tables))
        elif request.param == "policies only":
            models = {mapper.class_ for mapper in Base.registry.mappers} | {TenantScoped, Global}
            for model in models:
                if "visible_to" in vars(model):
                    patch.setattr(model, "visible_to", classmethod(lambda cls, viewer: ()))
        app = create_app(settings_for(url))
        app.testing = True
        app.config["PROPAGATE_EXCEPTIONS"] = False
        yield app
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def ids(app, sign_in):
    return plant(sign_in)


def test_other_organizations_manager_gets_404(app, as_other_manager, ids):
    reached = 0
    for rule, method, path, body in requests_for_all_operations(app, ids):
        own_rows = set(path_arguments(app, rule)) - {"usage_type_id", "factor_id"}
        if not own_rows:
            continue
        answer = as_other_manager.open(path, method, **body)
        # Only admins may delete an organization; the role is checked before the row.
        expected = 403 if (rule.endswith("<int:organization_id>") and method == "DELETE") else 404
        assert answer.status_code == expected, (method, path, answer.text)
        unknown = as_other_manager.open(path.replace(str(ids[own_rows.pop()]), "987654321"), method, **body)
        assert (answer.status_code, answer.json["type"]) == (unknown.status_code, unknown.json["type"])
        reached += 1
    assert reached >= 14


def test_lists_hold_no_rows_of_other_organizations(app, as_other_manager, ids):
    reached = 0
    for rule, method, path, _ in requests_for_all_operations(app, ids):
        if method == "GET" and not path_arguments(app, rule):
            assert CANARY not in as_other_manager.open(path).text, path
            reached += 1
    for path in (
        f"/usages?user_id={ids['user_id']}",
        f"/usages?import_id={ids['import_id']}",
        f"/usages?external_id={CANARY}%20id",
        f"/users?organization_id={ids['organization_id']}",
        "/emissions/trend?group_by=user&start=2023-01-01&end=2025-01-01",
        "/emissions/trend?group_by=organization",
        f"/emissions/summary?user_id={ids['user_id']}",
        f"/imports?recorded_by={ids['user_id']}",
    ):
        answer = as_other_manager.get(path)
        assert answer.status_code == 200
        assert CANARY not in answer.text
    assert reached >= 10


def test_ids_of_other_organizations_are_unknown_in_requests(as_other_manager, ids):
    usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}
    file = "usage_at,amount\n2024-01-01T00:00:00Z,1\n"
    for answer, status, field in (
        (as_other_manager.post("/usages", json=usage | {"user_id": ids["user_id"]}), 422, "user_id"),
        (as_other_manager.delete(f"/usages?id={ids['usage_id']}"), 404, None),
        (as_other_manager.delete(f"/users?id={ids['user_id']}"), 404, None),
        (
            as_other_manager.post(
                f"/imports?usage_type_id=100&user_id={ids['user_id']}", data=file, content_type="text/csv"
            ),
            422,
            "user_id",
        ),
    ):
        assert answer.status_code == status
        assert CANARY not in answer.text
        if field:
            assert field in str(answer.json["errors"])
