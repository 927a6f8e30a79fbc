"""The arrows of the README's "Rooms and arrows", and the rules that hold the house together."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "carbonapi"
FLOOR = {"access", "db", "errors", "logs", "metrics", "settings", "tenancy", "throttling"}
FEATURES = ("audit", "accounts", "catalogue", "usages", "imports", "emissions", "restatements")
# Which rooms a room may import. `cli` and `__init__`, at the top, may import any.
MAY_IMPORT = {
    "settings": set(),
    "errors": set(),
    "logs": set(),
    "metrics": set(),
    "tenancy": set(),
    "db": {"metrics", "tenancy"},
    "access": {"db", "errors", "settings", "tenancy"},
    "throttling": {"access", "db", "errors", "metrics", "settings"},
    "rest": FLOOR,
    "audit": FLOOR | {"rest"},
    "accounts": FLOOR | {"rest", "audit"},
    "catalogue": FLOOR | {"rest", "audit", "accounts"},
    "usages": FLOOR | {"rest", "audit", "accounts", "catalogue"},
    "imports": FLOOR | {"rest", "audit", "accounts", "catalogue", "usages"},
    "emissions": FLOOR | {"rest", "accounts", "catalogue", "usages"},
    "restatements": FLOOR | {"rest", "audit", "accounts", "catalogue", "usages", "emissions"},
    "dashboard": set(),
    "postman": {"errors", "rest"},
    "embedded": set(),
    "keeper": set(),
    "leash": set(),
    "listening": set(),
    "server": {"embedded", "settings", "tenancy"},
    "programs": {"db", "errors", "keeper", "tenancy"},
    "backup": {"db", "programs"},
    "admission": {"errors"},
    "web": {"", "access", "admission", "errors", "imports", "listening", "logs", "rest"},
    "import_options": {"imports"},
    "demo": {"access", "accounts", "catalogue", "db", "imports"},
    "cli": {
        "",
        *FLOOR,
        "demo",
        "import_options",
        "rest",
        "accounts",
        "backup",
        "catalogue",
        "usages",
        "embedded",
        "imports",
        "postman",
        "server",
    },
    "": {"access", "db", "settings", "throttling", "rest", "dashboard", "postman", *FEATURES},
}
ERROR_CODES = {400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 415, 422, 428, 429, 503}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    return "" if room == "__init__" else room


def imported_rooms(path):
    """The rooms that a file imports; "" is the package itself."""
    here = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1]
            target = (*base, *(node.module.split(".") if node.module else ()))
            names = [target[0]] if target else [alias.name for alias in node.names]
            yield from (
                name if (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists() else "" for name in names
            )
        elif isinstance(node, ast.ImportFrom | ast.Import):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (module.partition(".")[2] for module in modules if module.split(".")[0] == "carbonapi")


def calls(path):
    """Every call in a file, as the source text of what is called, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_every_room_is_on_the_map():
    assert {room_of(path) for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path):
    room = room_of(path)

    assert set(imported_rooms(path)) - {room} <= MAY_IMPORT[room]


def test_the_reader_of_imports_sees_them():
    assert set(imported_rooms(PACKAGE / "usages/views.py")) == {"access", "accounts", "rest", "usages"}
    assert "" in set(imported_rooms(PACKAGE / "cli.py"))


def test_models_know_nothing_of_http():
    for path in PACKAGE.rglob("models.py"):
        source = path.read_text()
        assert not any(f"import {word}" in source or f"from {word}" in source for word in ("flask", "marshmallow"))
        assert "..rest" not in source


def test_views_leave_rows_to_access_and_writes_to_their_verbs():
    views = list(PACKAGE.rglob("views.py"))
    assert len(views) == len(FEATURES)
    for path in views:
        for node, called in calls(path):
            last = called.rpartition(".")[2]
            assert last not in {"select", "insert", "update", "query", "commit"}, f"{path}:{node.lineno}"
            assert "session." not in called or called.startswith("sessions."), f"{path}:{node.lineno}"


def test_only_the_rest_floor_knows_the_status_codes_of_errors():
    for path in FILES:
        if room_of(path) != "rest":
            for node in ast.walk(ast.parse(path.read_text())):
                is_code = isinstance(node, ast.Constant) and node.value in ERROR_CODES
                assert not is_code, f"{path}:{node.lineno}"


def test_only_the_ledger_writes_usages():
    writers = set()
    for path in FILES:
        for node, called in calls(path):
            arguments = [ast.unparse(argument) for argument in node.args]
            writes = called in ("sa.insert", "sa.update", "sa.delete") and {"Usage", "UsageVersion"} & {*arguments}
            if writes or called in ("Usage", "UsageVersion"):
                writers.add(str(path.relative_to(PACKAGE)))
    assert writers == {"usages/ledger/many.py", "usages/ledger/one.py", "usages/ledger/statements.py"}


def test_rest_names_no_feature():
    for path in (PACKAGE / "rest").glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"Usage", "UsageType", "EmissionFactor", "User", "Organization", "Import"}, path


def test_migrations_import_nothing_of_ours():
    for path in (PACKAGE.parent / "migrations").rglob("*.py"):
        assert not re.search(r"(from|import) carbonapi", path.read_text())


def test_no_file_has_outgrown_its_subject():
    long = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: lines for name, lines in long.items() if lines > 330} == {}
