"""Reading CSV files and XLSX workbooks as tables."""

import io
import zipfile

import openpyxl
import pytest

from carbonapi.catalogue import tables
from carbonapi.catalogue.tables import TableFile
from carbonapi.errors import ValidationFailed

XML = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
OLE2 = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504


def lines_of(content, name="table"):
    return [[(line.number, line.cells) for line in sheet.lines] for sheet in TableFile(content, name).sheets()]


def workbook(**sheets):
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def with_sheet(content, xml):
    """Return the workbook with other XML as its first sheet."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry, xml if entry.filename == "xl/worksheets/sheet1.xml" else old.read(entry))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        "a,b\né,–\n".encode(),
        "a,b\né,–\n".encode("utf-8-sig"),
        "a,b\né,–\n".encode("cp1252"),
        "a,b\né,–\n".encode("utf-16"),
        "a;b\né;–\n".encode(),
        "a\tb\né\t–\n".encode(),
        "a , b\r\né,–".encode(),
    ],
)
def test_text_is_read_in_common_encodings(content):
    assert lines_of(content) == [[(1, ["a", "b"]), (2, ["é", "–"])]]


def test_workbook_is_read_sheet_by_sheet():
    content = workbook(Notes=[["title"], [], [None, 2025.0]], Data=[["x", 0.25, 1e-5, 3, None, True]])

    assert lines_of(content) == [
        [(1, ["title"]), (2, []), (3, ["", "2025"])],
        [(1, ["x", "0.25", "1e-05", "3", "", "True"])],
    ]
    noisy = with_sheet(content, f"{XML}<row><c><v>0.13388999999999998</v></c></row></sheetData></worksheet>")
    assert lines_of(noisy)[0] == [(1, ["0.13388999999999998"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OLE2, "is in the old format of Excel, .xls"),
        (OLE2 + "EncryptedPackage".encode("utf-16-le"), "is encrypted"),
        (b"PK\x03\x04 but no archive", "is not a valid XLSX workbook"),
        (b"%PDF-1.7\n\0\0\0", "is neither CSV nor XLSX"),
        (b'a,b\n"x,1\n', "is not a valid CSV file"),
    ],
)
def test_other_files_are_rejected(content, message):
    with pytest.raises(ValidationFailed, match=message):
        lines_of(content)


def test_file_without_workbook_is_rejected():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readings.csv", "a,b\n")
    with pytest.raises(ValidationFailed, match="is not a valid XLSX workbook"):
        lines_of(file.getvalue())


def test_large_file_is_rejected(monkeypatch):
    monkeypatch.setattr(tables, "MAX_FILE_BYTES", 10)
    with pytest.raises(ValidationFailed, match="is larger than"):
        TableFile.read(io.BytesIO(b"a" * 11), "table")


def test_archive_bomb_is_rejected_before_it_is_read():
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as entry,
    ):
        for _ in range(129):
            entry.write(b"0" * 2**20)
    assert len(file.getvalue()) < 200_000
    with pytest.raises(ValidationFailed, match="has more than 128 MiB of uncompressed content"):
        lines_of(file.getvalue())


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row><row r="99999999999"><c><v>1</v></c></row>',
        "".join(f'<row r="{row}"><c r="XFD{row}"><v>1</v></c></row>' for row in range(1, 200)),
    ],
)
def test_sparse_sheet_has_bounded_cells(rows):
    with pytest.raises(ValidationFailed, match="has more than 2000000 cells"):
        lines_of(with_sheet(workbook(Data=[[1]]), f"{XML}{rows}</sheetData></worksheet>"))


def test_entities_of_xml_are_bounded():
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    xml = f'<!DOCTYPE x [<!ENTITY l0 "lol">{lol}]><worksheet><sheetData><row><c><v>&l9;</v></c></row></sheetData>'
    with pytest.raises(ValidationFailed, match="is not a valid XLSX workbook"):
        lines_of(with_sheet(workbook(Data=[[1]]), f"{xml}</worksheet>"))
