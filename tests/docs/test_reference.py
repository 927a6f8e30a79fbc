"""The generated reference pages are those that follow from the code."""

import pytest

from carbonapi.rest.errors import STATUS
from carbonapi.settings import SETTINGS
from tools import reference


@pytest.mark.parametrize("name", reference.PAGES)
def test_reference_page_is_current(name):
    assert (reference.FOLDER / name).read_text() == reference.PAGES[name](), "run `make docs`"


def test_settings_page_has_every_setting():
    text = (reference.FOLDER / "settings.md").read_text()

    assert all(f"| `{setting.variable}` | " in text for setting in SETTINGS)


def test_errors_page_has_every_error():
    text = (reference.FOLDER / "errors.md").read_text()

    assert all(f"| `{reference.code_of(error)}` | {status} | " in text for error, status in STATUS.items())


def test_cli_page_has_every_command():
    text = (reference.FOLDER / "cli.md").read_text()

    for command in ("serve", "migrate", "demo", "users add", "usages import", "factors import", "backup", "restore"):
        assert f"\n## carbonapi {command}\n" in text
    assert "`--on-conflict`" in text


def test_table_escapes_bars_and_line_breaks():
    assert reference.table(("a", "b"), ("x|y", "1\n2")) == "| a | b |\n| --- | --- |\n| x\\|y | 1 2 |"
