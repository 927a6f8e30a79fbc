"""The layout of the code: its rooms, what each may import, and rules for every view and model wherever it is."""

import ast
import functools
import inspect
import re
from pathlib import Path

import pytest

from carbonapi.db import Base

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "carbonapi"
FILES = sorted(PACKAGE.rglob("*.py"))
TEST_FILES = sorted((PROJECT / "tests").rglob("*.py"))

# From the bottom up: a room may import the rooms before it, unless ISOLATED or SIBLINGS says otherwise.
FLOOR = ("settings", "errors", "observability", "local_time", "db", "auth", "rate_limiting", "rest")
FEATURES = (
    "audit",
    "accounts",
    "catalogue",
    "sites",
    "periods",
    "usages",
    "changes",
    "imports",
    "exports",
    "emissions",
    "restatements",
)
ISOLATED = {"settings", "errors", "observability", "local_time"}
# Exports may use the file formats of imports. Figures depend on neither.
SIBLINGS = {"emissions": {"imports", "exports"}, "restatements": {"imports", "exports"}}
OTHERS = {
    "dashboard": {"settings", "rest"},
    "postman": {"errors", "auth", "rest"},
    "postgres": {"settings", "errors", "db"},
    "serving": {"", "settings", "errors", "observability", "db", "auth", "rest", "imports", "postgres"},
    "": {*FLOOR, *FEATURES, "dashboard", "postman"},  # create_app.
    "commands": {"", *FLOOR, *FEATURES, "postgres", "postman", "serving"},
}
WITHOUT_TABLES = {"changes", "exports", "emissions"}
ROUTES = {"route", "get", "post", "put", "patch", "delete"}
QUERIES = {"select", "insert", "update", "delete", "query"}
DATABASE_CALLS = {"execute", "scalar", "scalars", "commit", "flush", "rollback"}
DATABASE_NAMES = {"sa", "sqlalchemy", "db", "session"}
# The readiness check asks the database itself.
DIRECT_VIEWS = {"Ready"}
ERROR_CODES = {400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 415, 422, 428, 429, 503}
LONGEST_FILE = 330
LONGEST_TEST_NAME = 60


def may_import(room):
    """Return the rooms that a room may import."""
    if room in OTHERS:
        return OTHERS[room]
    rooms = (*FLOOR, *FEATURES)
    return set() if room in ISOLATED else {*rooms[: rooms.index(room)]} - SIBLINGS.get(room, set())


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def room_of(path):
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    return "" if room == "__init__" else room


def name_of(path):
    return str(path.relative_to(PACKAGE))


def imported_modules(path, root):
    """Yield the dotted names that a file imports, relative imports resolved. `root` is the parent of its package."""
    package = path.relative_to(root).parts[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = [*base, *(node.module.split(".") if node.module else ())]
            yield from (".".join([*module, alias.name]) for alias in node.names)


def imported_rooms(path):
    """Yield the rooms that a file imports; "" is the package itself."""
    for name in imported_modules(path, PROJECT):
        first, _, rest = name.partition(".")
        if first == "carbonapi":
            room = rest.partition(".")[0]
            yield room if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").exists() else ""


def is_view(node, registered):
    """Return whether a definition is a view: a subclass of MethodView, or a function or class with a route."""
    bases = [ast.unparse(base) for base in getattr(node, "bases", ())]
    routes = [
        decorator
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in ROUTES
        and decorator.args
        and isinstance(decorator.args[0], ast.Constant)
        and isinstance(decorator.args[0].value, str)
    ]
    return bool(routes) or node.name in registered or any(base.endswith("MethodView") for base in bases)


def views():
    """Return the path and node of every view of the package."""
    found = []
    for path in FILES:
        rules = [node for node, called in calls(path) if called.endswith(".add_url_rule")]
        registered = {argument.id for node in rules for argument in node.args if isinstance(argument, ast.Name)}
        definitions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        found += [(path, node) for node in definitions if is_view(node, registered)]
    return found


def database_access(tree):
    """Yield the line and text of each query, statement and commit below a node.

    Decorators such as `@usages.delete(…)`, and verbs of a service such as `ledger.delete(…)`, are neither.
    """
    decorators = {
        id(decorator.func)
        for node in ast.walk(tree)
        for decorator in getattr(node, "decorator_list", ())
        if isinstance(decorator, ast.Call)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in decorators:
            receiver = ast.unparse(node.value).split(".")
            if (
                node.attr in DATABASE_CALLS
                or (node.attr in QUERIES and ({*receiver} & DATABASE_NAMES or receiver[-1][:1].isupper()))
                or receiver[0] in DATABASE_NAMES
            ):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in QUERIES:
            yield node.lineno, ast.unparse(node.func)


def calls(path):
    """Yield every call in a file, with the source text of the called expression."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def files_of_models():
    """Return the files that define a model."""
    return {Path(inspect.getsourcefile(mapper.class_)) for mapper in Base.registry.mappers}


def test_top_of_the_package_has_three_files():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "errors.py", "settings.py"}


def test_every_room_is_on_the_map():
    assert {room_of(path) for path in FILES} == {*FLOOR, *FEATURES, *OTHERS}


@pytest.mark.parametrize("feature", FEATURES)
def test_feature_has_its_four_files(feature):
    wanted = {"schemas.py", "views.py", "service.py"} | (set() if feature in WITHOUT_TABLES else {"models.py"})

    assert wanted - {path.name for path in (PACKAGE / feature).iterdir()} == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_follow_the_arrows(path):
    room = room_of(path)

    assert set(imported_rooms(path)) - {room} <= may_import(room)


def test_reader_of_imports_resolves_relative_ones():
    assert {"auth", "rest", "usages"} <= set(imported_rooms(PACKAGE / "usages/views.py"))
    assert "settings" in set(imported_rooms(PACKAGE / "__init__.py"))


def test_models_import_nothing_of_http(app):
    assert len(Base.registry.mappers) >= 15
    http = re.compile(r"flask\.(?!current_app)|(werkzeug|webargs|marshmallow|apispec)\b|carbonapi\.rest\b")
    for path in files_of_models():
        # Idempotency records are responses, so their model is a part of rest.
        if room_of(path) != "rest":
            assert [name for name in imported_modules(path, PROJECT) if http.match(name)] == [], path


def test_every_view_is_found(app):
    found = {(path, node.name) for path, node in views()}
    routed = [
        inspect.unwrap(getattr(view, "view_class", view))
        for endpoint, view in app.view_functions.items()
        if inspect.unwrap(getattr(view, "view_class", view)).__module__.startswith("carbonapi.")
    ]

    assert len(routed) >= 40
    for view in routed:
        assert (Path(inspect.getsourcefile(view)), view.__name__) in found, view


def test_views_leave_the_database_to_their_services():
    for path, view in views():
        if view.name not in DIRECT_VIEWS:
            # Functions beside a view are held to the same rule, or a view could call one.
            scope = tree_of(path) if room_of(path) in FEATURES else view
            found = [f"{name_of(path)}:{line} {text}" for line, text in database_access(scope)]
            assert found == []


@pytest.mark.parametrize(
    "statement",
    [
        "db.session.execute(statement)",
        "db.session.commit()",
        "session.scalars(statement)",
        "connection.scalar(statement)",
        "sa.select(Usage)",
        "select(Usage)",
        "sa.insert(Usage)",
        "update(Usage)",
        "db.delete(Usage)",
        "Usage.query.all()",
        "db.session.query(Usage)",
        "db.session.add(usage)",
    ],
)
def test_database_access_in_a_view_is_found(statement):
    assert list(database_access(ast.parse(f"class View(MethodView):\n    def get(self):\n        return {statement}")))


@pytest.mark.parametrize(
    "statement", ["ledger.delete(usage)", "service.update(user, changes)", "sessions.end(current)"]
)
def test_verbs_of_services_are_allowed_in_views(statement):
    source = f"class View(MethodView):\n    @usages.delete(Schema)\n    def delete(self):\n        return {statement}"

    assert list(database_access(ast.parse(source))) == []


def test_only_rest_knows_status_codes_of_errors():
    for path in FILES:
        if room_of(path) != "rest":
            for node in ast.walk(tree_of(path)):
                is_code = isinstance(node, ast.Constant) and node.value in ERROR_CODES
                assert not is_code, f"{path}:{node.lineno}"


def test_only_the_ledger_writes_usages():
    writers = set()
    for path in FILES:
        for node, called in calls(path):
            arguments = [ast.unparse(argument) for argument in node.args]
            writes = called in ("sa.insert", "sa.update", "sa.delete") and {"Usage", "UsageVersion"} & {*arguments}
            if writes or called in ("Usage", "UsageVersion"):
                writers.add(path.parent.relative_to(PACKAGE).as_posix())
    assert writers == {"usages/ledger"}


def test_rest_names_no_feature():
    for path in (PACKAGE / "rest").rglob("*.py"):
        names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
        assert not names & {"Usage", "UsageType", "EmissionFactor", "User", "Organization", "Import"}, path


def test_migrations_import_nothing_of_carbonapi():
    for path in PROJECT.rglob("migrations/**/*.py"):
        if ".venv" not in path.parts:
            assert not re.search(r"(from|import) carbonapi", path.read_text()), path


def test_files_have_at_most_330_lines():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in FILES}

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_inner_functions_are_named_for_what_they_do():
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in ("wrapper", "inner", "decorated")
    ]

    assert found == []


def test_test_names_are_short():
    long = [
        f"{path.relative_to(PROJECT)}::{node.name}"
        for path in TEST_FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and len(node.name) > LONGEST_TEST_NAME
    ]

    assert long == []


def test_tests_import_no_test_modules():
    found = [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in TEST_FILES
        for name in imported_modules(path, PROJECT)
        if name.startswith("tests.") and re.search(r"\.(test_\w+|conftest)\b", name)
    ]

    assert found == []
