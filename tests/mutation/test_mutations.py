"""The holes of `make mutants` can still be planted, and the tests that must find them are there."""

import ast

import pytest

from tests.mutation.mutations import HOLES
from tests.mutation.run_mutations import PROJECT


def test_there_are_holes_enough_and_no_two_are_called_the_same():
    assert len({hole.name for hole in HOLES}) == len(HOLES) >= 25


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: hole.name)
def test_a_hole_can_be_planted_and_its_tests_are_there(hole):
    text = (PROJECT / hole.file).read_text()

    assert text.count(hole.old) == 1
    ast.parse(text.replace(hole.old, hole.new))
    for test in hole.tests:
        file, _, name = test.partition("::")
        assert name in names_of(file)


def names_of(file):
    """The tests of a file: its own, and those that it runs again."""
    tree = ast.parse((PROJECT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} | {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
