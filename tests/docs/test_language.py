"""The project's texts and names are plain English: none has a construction of the word list."""

from pathlib import Path

import pytest

from tests.support import language

PROJECT = Path(__file__).parents[2]
FOLDERS = ("carbonapi", "migrations", "tests", "benchmarks", "tools", "docs", "docker", ".ci")
KINDS_OF_TEXT = {
    "docstring.py": '"""Return the rows."""\n\ndef read():\n    """Return {}."""\n',
    "message.py": 'count = 1\n\nprint("a",\n      f"line {{count}} is {}")\n',
    "comment.py": "count = 1\n\n\n# Rows are {}.\ncount = 2\n",
    "trailing.py": "count = 1\n\n\ncount = 2  # They are {}.\n",
    "page.md": "# Title\n\nA line.\nThis is {}.\n",
    "dialog.js": "const a = 1;\n\n\nconst text = `Rows are {}.`;\n",
    "page.html": "<p>\n\n\n{}</p>\n",
    "settings.toml": "[a]\n\n\nhelp = '{}'\n",
    "workflow.yml": "a: 1\n\n\n# {}\n",
    "Makefile": "test:\n\n\ncheck: ## Look for {}\n",
}


def checked_files():
    inside = [file for folder in FOLDERS for file in language.files_below(PROJECT / folder)]
    return inside + [path for path in PROJECT.iterdir() if path.is_file()]


def test_word_list_forbids_nothing_that_is_written():
    assert language.report(checked_files()) == []


@pytest.mark.parametrize(
    ("wrong", "right"), [row[2:] for row in language.CONSTRUCTIONS], ids=[row[2] for row in language.CONSTRUCTIONS]
)
def test_word_list_examples_fail_and_pass(wrong, right):
    assert list(language.forbidden_in_text(wrong))
    assert list(language.forbidden_in_text(right)) == []


@pytest.mark.parametrize("number", range(len(language.CONSTRUCTIONS)))
def test_word_list_needs_each_expression(number):
    wrong = language.CONSTRUCTIONS[number][2]

    found = [expression for expression in language.EXPRESSIONS if expression.search(wrong)]

    assert language.EXPRESSIONS[number] in found


@pytest.mark.parametrize("word", language.NAME_WORDS)
def test_word_list_forbids_words_in_names(word):
    assert language.forbidden_in_name(f"test_{word}_rows")
    assert language.forbidden_in_name(f"{word.title()}Rows")
    assert language.forbidden_in_name(f"test_x{word}_rows") == []


@pytest.mark.parametrize("name", KINDS_OF_TEXT)
def test_checker_names_file_line_and_word(tmp_path, name):
    file = tmp_path / name
    file.write_text(KINDS_OF_TEXT[name].format("faulty"))
    assert language.report([tmp_path]) == [f"{file}:4: 'faulty', write: error, invalid"]

    file.write_text(KINDS_OF_TEXT[name].format("invalid"))
    assert language.report([tmp_path]) == []


@pytest.mark.parametrize(
    "source", ["def told(): ...", "class Told: ...", "def read(*, told): ...", "told = 1", "for told in (): ..."]
)
def test_checker_reads_names(tmp_path, source):
    file = tmp_path / "names.py"
    file.write_text(f"{source}\n")

    assert language.report([file]) == [f"{file}:1: 'told', write: reported, returned, shown"]


def test_checker_reads_file_names(tmp_path):
    (tmp_path / "refusals.py").touch()

    assert language.report([tmp_path]) == [f"{tmp_path}/refusals.py:0: 'refusals', write: reject, validate, error"]


@pytest.mark.parametrize(
    "text",
    [
        "Send `fault` or ``told``.\n",
        "```console\n$ curl faults\n```\n",
        "[settings](told.md)\n",
        "A line\nof code. Which one?\n",
    ],
)
def test_checker_exempts_code_and_quotations(tmp_path, text):
    (tmp_path / "page.md").write_text(text)

    assert language.report([tmp_path]) == []


def test_checker_reads_across_line_breaks(tmp_path):
    (tmp_path / "rows.py").write_text('"""Read a file, of\nwhich a part is read."""\n# It is so\n# many.\n')

    assert [line.partition(":")[2] for line in language.report([tmp_path])] == [
        "1: 'of which', write: whose, and … of them",
        "3: 'so many', write: a number of, 10",
    ]
