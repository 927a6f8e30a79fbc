"""Read the lines of a table: CSV in any common encoding, or the sheets of an XLSX workbook, as text.

The size of a file, of what it contains uncompressed, and the number of cells are bounded: XLSX is a compressed archive.
"""

import csv
import datetime as dt
import io
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from ..errors import ValidationFailed

MAX_FILE_BYTES = 32 * 2**20
MAX_UNCOMPRESSED_BYTES = 128 * 2**20
MAX_CELLS = 2_000_000
EMPTY_LINE_CELLS = 20  # An empty line counts as much: a sheet can have a last cell far below the others.
DELIMITERS = ",;\t|"
_ZIP, _OLE2 = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Line:
    """A line of a table, with its number in the file or sheet."""

    number: int
    cells: list[str]


@dataclass(frozen=True)
class Sheet:
    """The lines of a file of text, which has no name, or of a sheet of a workbook. They can be read once."""

    lines: Iterator[Line]
    name: str | None = None
    delimiter: str | None = None


@dataclass
class TableFile:
    """An uploaded file. `name` appears in errors."""

    content: bytes
    name: str
    _cell_count: int = field(default=0, init=False)

    @classmethod
    def read(cls, file: IO[bytes], name: str) -> "TableFile":
        """Raise ValidationFailed for a file that is too large."""
        content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            problem = f"is larger than {MAX_FILE_BYTES // 2**20} MiB"
            raise file_error(name, 1, "Delete the sheets and rows that you do not need.", problem)
        return cls(content, name)

    def sheets(self) -> Iterator[Sheet]:
        """Yield the sheets, or the only one of a file of text.

        Raise ValidationFailed for a file that is neither CSV nor XLSX.
        """
        if self.content.startswith(_OLE2):
            # An encrypted workbook is such a container, too. The names in it are UTF-16.
            if "EncryptedPackage".encode("utf-16-le") in self.content:
                message = "Save the workbook without a password."
                raise file_error(self.name, 1, message, "is encrypted, so it cannot be read")
            raise file_error(self.name, 1, "Save it as .xlsx or CSV.", "is in the old format of Excel, .xls")
        yield from self._workbook() if self.content.startswith(_ZIP) else [self._text()]

    def _text(self) -> Sheet:
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if self.content.startswith(mark)), "utf-8")
        try:
            text = self.content.decode(encoding)
        except UnicodeDecodeError:
            text = self.content.decode("cp1252", errors="replace")  # What Excel on Windows writes as CSV.
        if "\0" in text:
            raise file_error(self.name, 1, "Save the table as .xlsx or CSV.", "is neither CSV nor XLSX")
        # The delimiter that most lines of the beginning have.
        start = text[:20_000].splitlines()[:60]
        delimiter = max(DELIMITERS, key=lambda mark: sum(mark in line for line in start))
        return Sheet(self._text_lines(text, delimiter), delimiter=delimiter)

    def _text_lines(self, text: str, delimiter: str) -> Iterator[Line]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                self._count(len(cells))
                yield Line(reader.line_num, [cell.strip() for cell in cells])
        except csv.Error as error:
            raise file_error(self.name, reader.line_num, f"{error}.", "is not a valid CSV file") from None

    def _workbook(self) -> Iterator[Sheet]:
        import openpyxl  # Imported here, because its import takes a while, and few processes need it.

        try:
            with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
                # zipfile reads no more of a file than the size in the directory, so openpyxl cannot either.
                if sum(entry.file_size for entry in archive.infolist()) > MAX_UNCOMPRESSED_BYTES:
                    problem = f"has more than {MAX_UNCOMPRESSED_BYTES // 2**20} MiB of uncompressed content"
                    raise file_error(self.name, 1, "Delete the sheets that you do not need.", problem)
            with warnings.catch_warnings():  # About styles and validations, which are not read.
                warnings.simplefilter("ignore")
                # Read-only workbooks are read line by line. Formulas have the values that were calculated last.
                workbook = openpyxl.load_workbook(io.BytesIO(self.content), read_only=True, data_only=True)
                for sheet in workbook.worksheets:
                    sheet.reset_dimensions()  # The file can state wrong ones.
                    yield Sheet(self._sheet_lines(sheet), name=sheet.title)
        except ValidationFailed:
            raise
        except Exception as error:  # openpyxl has no error of its own for damaged files.
            raise self._damaged(error) from None

    def _sheet_lines(self, sheet: Any) -> Iterator[Line]:
        try:
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                self._count(len(cells) or EMPTY_LINE_CELLS)
                yield Line(number, [_text_of(cell) for cell in cells])
        except ValidationFailed:
            raise
        except Exception as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> ValidationFailed:
        message = f"It cannot be read: {type(error).__name__}. Open it in a spreadsheet program and save it as .xlsx."
        return file_error(self.name, 1, message, "is not a valid XLSX workbook")

    def _count(self, cells: int) -> None:
        self._cell_count += cells
        if self._cell_count > MAX_CELLS:
            message = "Delete the rows and columns that you do not need."
            raise file_error(self.name, 1, message, f"has more than {MAX_CELLS} cells")


def file_error(name: str, line: int, message: str, problem: str) -> ValidationFailed:
    """Return the error of a file from which nothing is imported."""
    return ValidationFailed(f"{name} {problem}. Nothing was imported.", {"file": {str(line): [message]}})


def _text_of(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        # The shortest text that is this number. A whole one is what people typed as an integer.
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, dt.datetime) and cell.time() == dt.time():
        return cell.date().isoformat()
    return str(cell).strip()
