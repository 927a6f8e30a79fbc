"""The checker of the project's English: `python tests/support/language.py PATH…` lists what the word list forbids.

It reads docs, comments, docstrings, messages, schema descriptions, page texts and names.
"""

import ast
import functools
import re
import sys
from pathlib import Path

WORD_LIST = Path(__file__).parents[1] / "docs/word_list.md"
PLAIN_TEXT_SUFFIXES = (".js", ".css", ".html", ".toml", ".yml", ".yaml", ".sh", ".cfg", ".ini", ".conf", ".service")
PLAIN_TEXT_NAMES = ("Makefile", "Dockerfile", ".env.example", ".dockerignore", ".gitignore", "run")
SQL = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|CREATE|ALTER|SET|DELETE|LOCK|DROP|TRUNCATE|GRANT|REVOKE|COPY)\b")
COMMENT = re.compile(r"(?:^\s*|  )# .*")  # Also what looks like one in a string, which is text, too.
QUOTATION = re.compile(r"(`+)(?:[^`\n]|\n(?![ \t#]*\n))+?\1")  # Within one paragraph.
SPACE = r"(?:[ \t]+|[ \t]*\n[ \t#*/]*)"  # Also a line break, with the sign of a comment on the next line.


def table_rows(heading):
    """Yield the cells of each row of the word list's table under this heading, without backticks."""
    section = WORD_LIST.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            yield [cell.replace("\\|", "|").strip() for cell in cells]


# (expression, alternative, sentence that fails, sentence that passes)
CONSTRUCTIONS = [tuple(cell.strip("`") for cell in row) for row in table_rows("Texts")]
NAME_WORDS = {word: alternative for words, alternative in table_rows("Names") for word in re.findall(r"`(\w+)`", words)}
EXPRESSIONS = [re.compile(row[0].replace(" ", SPACE), re.I) for row in CONSTRUCTIONS]
# Each expression begins at the start of a word, which is tried once for all of them.
ANY_EXPRESSION = re.compile(r"\b(?:" + "|".join(expression.pattern for expression in EXPRESSIONS) + ")", re.I)
ANY_NAME_WORD = re.compile(r"\b(?:" + "|".join(NAME_WORDS) + r")\b", re.I)
# Between the words of a name, and between two strings that Python joins.
ROUGH_BREAK = re.compile(r"""(?<=[a-z0-9])(?=[A-Z])|_+|["']\s*\n\s*[rf]*["']""")


def blank(match):
    """Return a text of the same lines as a match, without its words."""
    return re.sub(r"[^\n`]", " ", match[0])


def forbidden_in_text(text):
    """Yield the offset, the words and the plain alternative of each forbidden construction in a text."""
    text = QUOTATION.sub(blank, text)
    for found in ANY_EXPRESSION.finditer(text):
        number = next(number for number, expression in enumerate(EXPRESSIONS) if expression.match(text, found.start()))
        yield found.start(), found[0], CONSTRUCTIONS[number][1]


@functools.cache
def forbidden_in_name(name):
    """Return the words and the plain alternative of each forbidden construction in an identifier."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", name).strip().lower()
    found = {words: alternative for _, words, alternative in forbidden_in_text(spaced)}
    single = {word: NAME_WORDS[word] for word in spaced.split() if word in NAME_WORDS}
    return list((single | found).items())


def names_of(node):
    """Yield the names that a node of a syntax tree introduces."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.arg():
            yield node.arg
        case ast.Name(ctx=ast.Store()):
            yield node.id


def check_python(source):
    """Yield (line, words, alternative) for the names, strings and comments of a Python module."""
    # Most modules have no such word anywhere, not even in code: they need no syntax tree.
    rough = ROUGH_BREAK.sub(" ", source)
    if not (ANY_EXPRESSION.search(rough) or ANY_NAME_WORD.search(rough)):
        return
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        for name in names_of(node):
            yield from ((node.lineno, words, alternative) for words, alternative in forbidden_in_name(name))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if " " not in text or SQL.match(text):
                continue
            for _, words, alternative in forbidden_in_text(text):
                first_word = words.split()[0]
                candidates = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                line = next((line for line in candidates if first_word in lines[line - 1]), node.lineno)
                yield line, words, alternative
    comments = "\n".join(found[0] if (found := COMMENT.search(line)) else "" for line in lines)
    for offset, words, alternative in forbidden_in_text(comments):
        yield comments.count("\n", 0, offset) + 1, words, alternative


def check_plain(text, suffix):
    """Yield (line, words, alternative) for a text that is read as a whole, except for code in Markdown."""
    if suffix == ".md":
        text = re.sub(r"^( *)```.*?^\1```", blank, text, flags=re.M | re.S)
        text = re.sub(r"\]\([^)\n]*\)", blank, text)
    elif suffix == ".js":
        text = re.sub(r'"[a-z_]+"', blank, text)  # A value, as in Python a string without a space.
        text = re.sub(r"^(?!\s*(//|\*|/\*)).*$", lambda match: match[0].replace("`", "'"), text, flags=re.M)
    for offset, words, alternative in forbidden_in_text(text):
        yield text.count("\n", 0, offset) + 1, words, alternative


def check_file(path):
    """Yield (line, words, alternative) for each forbidden construction in a file and in its name."""
    for words, alternative in forbidden_in_name(path.stem.replace("-", "_")):
        yield 0, words, alternative
    if path.suffix == ".py":
        yield from check_python(path.read_text())
    elif path.suffix in (".md", *PLAIN_TEXT_SUFFIXES, ".mako") or path.name in PLAIN_TEXT_NAMES:
        yield from check_plain(path.read_text(), path.suffix)


def files_below(path):
    """Return the files at a path, or below it if it is a folder."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in found if file.is_file() and "__pycache__" not in file.parts]


def on_one_line(words):
    """Return words without the line break, and the sign of a comment, that may be between them."""
    return re.sub(SPACE, " ", words)


def report(paths):
    """Return a line for each forbidden construction in the files below these paths."""
    return [
        f"{file}:{line}: {on_one_line(words)!r}, write: {alternative}"
        for path in paths
        for file in files_below(path)
        for line, words, alternative in sorted(set(check_file(file)))
    ]


if __name__ == "__main__":
    print(*report(map(Path, sys.argv[1:])), sep="\n")
