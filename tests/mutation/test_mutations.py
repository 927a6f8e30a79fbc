"""The mutations of `make mutants` fit the code, and their tests exist."""

import ast
import difflib
from pathlib import Path

import pytest

from tests.mutation.mutations import MUTATIONS
from tests.mutation.syntax import Drop, Mutation, MutationError, Replace, Unwrap

PROJECT = Path(__file__).parents[2]
SOURCE = """
def outer(a):
    if a.is_valid and check(a):
        record(a)
    with lock(a):
        record(a)
    return a.total
"""


def test_mutations_have_unique_names():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 56


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_fits_the_code(mutation):
    path, source = mutation.mutate(PROJECT)

    assert ast.dump(ast.parse(source)) != ast.dump(ast.parse(path.read_text()))
    for test in mutation.tests:
        file, _, name = test.partition("::")
        names = names_of(PROJECT / file)
        assert name in names, f"{file} has no {name}. Similar: {difflib.get_close_matches(name, names, 3, 0)}"


def names_of(path):
    return [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (Replace(r"check\(a\)", "True"), "a.is_valid and check(a)", "a.is_valid and True"),
        (Replace(r"record", "forget", is_repeated=True), "record(a)", "forget(a)"),
        (Drop(r"return a\..*"), "return a.total", "pass"),
        (Unwrap(r"with lock.*"), "    with lock(a):\n        record(a)", "    record(a)"),
    ],
)
def test_changes_apply_to_the_matching_place(tmp_path, change, before, after):
    (tmp_path / "module.py").write_text(SOURCE)

    _, source = Mutation("a change", "module.py", "outer", (change,), ()).mutate(tmp_path)

    assert source.strip() == SOURCE.replace(before, after).strip()


@pytest.mark.parametrize(
    ("module", "function", "change", "message"),
    [
        ("other.py", "outer", Drop("x"), "other.py matches 0 files"),
        ("module.py", "outter", Drop("x"), "there is no function outter. Similar ones: outer."),
        ("module.py", "outer", Drop(r"record\(a\)"), "2 places match"),
        ("module.py", "outer", Replace(r"unknown", "x"), "0 places match"),
    ],
)
def test_mutation_that_does_not_fit_is_an_error(tmp_path, module, function, change, message):
    (tmp_path / "module.py").write_text(SOURCE)

    with pytest.raises(MutationError, match=message.replace(".", r"\.")):
        Mutation("a change", module, function, (change,), ()).mutate(tmp_path)
