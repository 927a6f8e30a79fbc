"""Mutations of a module's syntax tree. A place is found by function and pattern, and must be unique."""

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType


class MutationError(Exception):
    """A mutation does not fit the code; the message says how to repair it."""


@dataclass(frozen=True)
class Replace:
    """Replace the expression whose source matches a pattern, or all such expressions."""

    pattern: str
    replacement: str
    is_repeated: bool = False

    def apply(self, scope: ast.AST) -> None:
        if self.is_repeated:
            places = list(_matches(scope, ast.expr, re.compile(self.pattern, re.DOTALL)))
        else:
            places = [find(scope, ast.expr, self.pattern)]
        for place in places:
            put(*place, [ast.parse(self.replacement, mode="eval").body])


@dataclass(frozen=True)
class Drop:
    """Remove the statement whose source matches a pattern."""

    pattern: str

    def apply(self, scope: ast.AST) -> None:
        put(*find(scope, ast.stmt, self.pattern), [ast.Pass()])


@dataclass(frozen=True)
class Unwrap:
    """Replace the `with` statement whose source matches a pattern by its body."""

    pattern: str

    def apply(self, scope: ast.AST) -> None:
        parent, field, place = find(scope, ast.With | ast.AsyncWith, self.pattern)
        put(parent, field, place, getattr(parent, field)[place].body)


@dataclass(frozen=True)
class Insert:
    """Insert statements before the statement whose source matches a pattern, or after it."""

    pattern: str
    statements: str
    after: bool = False

    def apply(self, scope: ast.AST) -> None:
        parent, field, place = find(scope, ast.stmt, self.pattern)
        present, added = getattr(parent, field)[place], ast.parse(self.statements).body
        put(parent, field, place, [present, *added] if self.after else [*added, present])


Change = Replace | Drop | Unwrap | Insert
Kind = type[ast.AST] | UnionType
Place = tuple[ast.AST, str, int | None]


@dataclass(frozen=True)
class Mutation:
    """One error, and the tests that must find it. `function` is a qualified name; "" stands for the whole module."""

    name: str
    module: str
    function: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]

    def mutate(self, project: Path) -> tuple[Path, str]:
        """Return the path of the module and its changed source. Raise MutationError if the mutation does not fit."""
        paths = sorted(project.glob(self.module))
        if len(paths) != 1:
            raise MutationError(f"{self.name}: {self.module} matches {len(paths)} files. Correct its module.")
        tree = ast.parse(paths[0].read_text())
        try:
            scope = find_function(tree, self.function) if self.function else tree
            for change in self.changes:
                change.apply(scope)
        except MutationError as error:
            raise MutationError(f"{self.name}: {self.module}: {error}") from None
        return paths[0], ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def find_function(tree: ast.Module, name: str) -> ast.AST:
    """Return the definition with this qualified name."""
    functions = dict(definitions(tree))
    if name not in functions:
        similar = difflib.get_close_matches(name, functions, 3, 0) or sorted(functions)
        raise MutationError(f"there is no function {name}. Similar ones: {', '.join(similar)}.")
    return functions[name]


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield the functions and classes below a node, each with its qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + child.name, child
            yield from definitions(child, f"{prefix}{child.name}.")


def find(scope: ast.AST, kind: Kind, pattern: str) -> Place:
    """Return the place of the only node of this kind whose source matches the pattern, outermost nodes first."""
    found = list(_matches(scope, kind, re.compile(pattern, re.DOTALL)))
    if len(found) != 1:
        source = ast.unparse(scope)
        hint = source if len(source) < 3000 else f"{source[:3000]} …"
        raise MutationError(f"{len(found)} places match {pattern!r}; one must. The code is now:\n{hint}")
    return found[0]


def _matches(node: ast.AST, kind: Kind, pattern: re.Pattern[str]) -> Iterator[Place]:
    for field, value in ast.iter_fields(node):
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, kind) and pattern.fullmatch(ast.unparse(child)):
                yield node, field, place
            else:
                yield from _matches(child, kind, pattern)


def put(parent: ast.AST, field: str, place: int | None, nodes: list[ast.AST]) -> None:
    """Put nodes in the place of one."""
    if place is None:
        (node,) = nodes
        setattr(parent, field, node)
    else:
        getattr(parent, field)[place : place + 1] = nodes
