"""The project's texts and names are plain English: none has a construction of the word list."""

from pathlib import Path

import pytest

from tests.support import language

PROJECT = Path(__file__).parents[2]
FOLDERS = ("carbonapi", "migrations", "tests", "benchmarks", "tools", "docs", "docker", ".ci")
WORD, ALTERNATIVE = "faulty", "error, invalid"
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
    file.write_text(KINDS_OF_TEXT[name].format(WORD))
    assert language.report([tmp_path]) == [f"{file}:4: {WORD!r}, write: {ALTERNATIVE}"]

    file.write_text(KINDS_OF_TEXT[name].format("invalid"))
    assert language.report([tmp_path]) == []


@pytest.mark.parametrize(
    "source", ["def {}(): ...", "class {}: ...", "def read(*, {}): ...", "{} = 1", "for {} in (): ..."]
)
def test_checker_reads_names(tmp_path, source):
    file = tmp_path / "names.py"
    file.write_text(source.format(WORD))

    assert language.report([file]) == [f"{file}:1: {WORD!r}, write: {ALTERNATIVE}"]


def test_checker_reads_file_names(tmp_path):
    (tmp_path / f"{WORD}.py").touch()

    assert language.report([tmp_path]) == [f"{tmp_path}/{WORD}.py:0: {WORD!r}, write: {ALTERNATIVE}"]


@pytest.mark.parametrize(
    "text",
    [
        "Send `{word}` or ``{word}``.\n",
        "```console\n$ curl {word}\n```\n",
        "[settings]({word}.md)\n",
        "A line\nof code. Which one?\n",
    ],
)
def test_checker_exempts_code_and_quotations(tmp_path, text):
    (tmp_path / "page.md").write_text(text.format(word=WORD))

    assert language.report([tmp_path]) == []


def test_checker_exempts_values_in_scripts(tmp_path):
    (tmp_path / "dialog.js").write_text(f'const a = "{WORD}";\n')

    assert language.report([tmp_path]) == []


@pytest.mark.parametrize("source", ['"""Read a file, {}\n{} lines."""\n', "# Read a file, {}\n# {} lines.\n"])
def test_checker_reads_across_line_breaks(tmp_path, source):
    file = tmp_path / "rows.py"
    file.write_text(source.format("so", "many"))

    assert language.report([file]) == [f"{file}:1: {' '.join(('so', 'many'))!r}, write: a number of, 10"]
