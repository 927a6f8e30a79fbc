"""Read the figures of published tables: marks for missing ones, thousands marks, decimal commas and float noise."""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

# "NA" is not zero: the publisher has no figure.
MISSING = frozenset(
    {"", "-", "--", "---", "–", "—", ".", "..", "...", ":", "na", "n/a", "n.a.", "#n/a", "nan", "null", "none"}
    | {"no data", "not available", "not applicable"}
)
_BOUND = re.compile(r"[<>≤≥~] ?[0-9.,]+")  # Such as "< 1": no figure to calculate with.
SIGNIFICANT_DIGITS = 15  # A spreadsheet calculates with 15 to 17. More are noise: 0.13388999999999998 is 0.13389.
FRACTION_DIGITS = 12  # Of an emission factor.
_SHORTEST = Context(prec=SIGNIFICANT_DIGITS, rounding=ROUND_HALF_EVEN)
_PLAIN = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}([,  '’][0-9]{3})+(\.[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?([0-9]{1,30}|[0-9]{1,3}([. ][0-9]{3})+),[0-9]{1,40}")


@dataclass(frozen=True)
class Figure:
    """A published number. noisy: whether it had more digits than a spreadsheet calculates with."""

    value: Decimal
    noisy: bool


def parse_figure(text: str, decimal: str = ".") -> Figure | None:
    """Return the number of a cell, or None for a missing one and for a bound.

    decimal: the decimal mark of the table.
    Raise ValueError for other text.
    """
    text = text.strip()
    if text.casefold() in MISSING or _BOUND.fullmatch(text):
        return None
    if decimal == "," and _DECIMAL_COMMA.fullmatch(text):
        text = re.sub(r"[. ]", "", text).replace(",", ".")
    elif decimal == "." and _THOUSANDS.fullmatch(text):
        text = re.sub(r"[,  '’]", "", text)
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"{text[:40]} is not a number.")
    number = Decimal(text)
    shortened = _SHORTEST.plus(number)
    return Figure(shortened, noisy=shortened != number)


def to_factor(number: Decimal) -> Decimal:
    """Return the number rounded once, half to even, to the decimals of an emission factor."""
    return number.quantize(Decimal(1).scaleb(-FRACTION_DIGITS), ROUND_HALF_EVEN)
