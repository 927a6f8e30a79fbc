"""A published table below its header, from which the format of its publisher makes emission factors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ..rest.fields import format_decimal
from .figures import parse_figure, to_factor
from .tables import Line, file_error

# The fields of an emission factor, or the reason why a line has none.
Row = dict[str, Any]
Reading = tuple[Line, Row | str]
NO_FIGURE = "It has no figure."


@dataclass(frozen=True)
class TableOptions:
    """Properties of a table that the caller states.

    sheet: the only one to read. year, gwp: for tables that do not have them. decimal: the decimal mark; by default, a
    comma for cells that are not separated by commas. mapping: see `factor_formats.read_mapping`.
    """

    sheet: str | None = None
    year: int | None = None
    gwp: str | None = None
    decimal: str | None = None
    mapping: dict[str, Any] | None = None


@dataclass
class Edition:
    """The factor set of a table. note: what a user must know, for example what the factors include."""

    publisher: str
    edition: str
    gwp: str | None = None
    licence: str | None = None
    url: str | None = None
    note: str | None = None


@dataclass
class PublishedTable:
    """The lines below the header.

    titles: the lines before it, also of earlier sheets. rounded: line number, published and recorded figure.
    errors: messages by line number.
    """

    name: str
    sheet: str | None
    titles: list[list[str]]
    header: list[str]
    lines: Iterator[Line]
    decimal: str
    options: TableOptions
    rounded: list[tuple[int, str, str]] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)

    def find_column(self, *patterns: str) -> int | None:
        """Return the first column whose name matches a regular expression, in the order of these; case is ignored."""
        for pattern in patterns:
            for index, name in enumerate(self.header):
                if re.fullmatch(pattern, name, re.IGNORECASE):
                    return index
        return None

    def column(self, *patterns: str) -> int:
        """Return a column that the header must have."""
        index = self.find_column(*patterns)
        assert index is not None, "The format requires the column."
        return index

    def figure(self, line: Line, column: int | None, ratio: Decimal = Decimal(1)) -> Decimal | None:
        """Return the number of a cell times the ratio, rounded once; None for a figure that was not published.

        Other text is an error of the line.
        """
        if column is None:
            return None
        text = line.cells[column]
        try:
            parsed = parse_figure(text, self.decimal)
        except ValueError as error:
            self.errors[line.number] = f"{self.header[column]}: {error}"
            return None
        if parsed is None:
            return None
        factor = to_factor(parsed.value * ratio)
        if parsed.noisy or (ratio == 1 and factor != parsed.value):
            self.rounded.append((line.number, text, format_decimal(factor)))
        return factor

    def cite(self, line: Line, detail: str = "") -> str:
        """Return the place of a line in the table."""
        place = [f"sheet {self.sheet}"] if self.sheet else []
        return ", ".join([*place, f"row {line.number}", *([detail] if detail else [])])

    def require_year(self) -> str:
        """Return the year that the caller states. Raise ValidationFailed without one."""
        if self.options.year is None:
            message = "Set `year` to the year of the table."
            raise file_error(self.name, 1, message, "does not state the year of its factors")
        return str(self.options.year)


def validity(year: str) -> Row:
    """Return the calendar year as an interval. Another text stays in it, and is reported as invalid."""
    next_year = str(int(year) + 1) if re.fullmatch("[0-9]{4}", year) else year
    return {"valid_from": f"{year}-01-01", "valid_until": f"{next_year}-01-01"}
