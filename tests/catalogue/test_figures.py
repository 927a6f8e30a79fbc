"""Figures of published tables."""

from decimal import Decimal

import pytest

from carbonapi.catalogue.figures import parse_figure, to_factor


@pytest.mark.parametrize(
    ("text", "decimal", "value", "noisy"),
    [
        ("0.177", ".", "0.177", False),
        ("2.5e-04", ".", "0.00025", False),
        ("0.13388999999999998", ".", "0.13389", True),
        ("0.207074288590604", ".", "0.207074288590604", False),
        ("3,943", ".", "3943", False),
        ("1,548.530", ".", "1548.53", False),
        ("0,38", ",", "0.38", False),
        ("1.548,53", ",", "1548.53", False),
        ("0.38", ",", "0.38", False),
        ("0", ".", "0", False),
    ],
)
def test_figure_is_read_exactly(text, decimal, value, noisy):
    figure = parse_figure(text, decimal)
    assert (figure.value, figure.noisy) == (Decimal(value), noisy)


@pytest.mark.parametrize("text", ["", "NA", "n/a", "#N/A", "--", "–", "..", "NaN", "< 1"])
def test_missing_figure_is_not_zero(text):
    assert parse_figure(text) is None


@pytest.mark.parametrize("text", ["new", "0,38", "1,2,3", "12.5 %", "1e400", "0x1"])
def test_other_text_is_no_figure(text):
    with pytest.raises(ValueError, match="is not a number"):
        parse_figure(text)


def test_factor_is_rounded_half_to_even_once():
    assert to_factor(Decimal("0.0000000000005")) == 0
    assert to_factor(Decimal("0.0000000000015")) == Decimal("0.000000000002")
