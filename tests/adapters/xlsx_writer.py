"""Writes the smallest workbooks that Excel would open, so that the reader meets a real file."""

import datetime as dt
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def _cell(place: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    if isinstance(value, dt.datetime):
        days = (value - dt.datetime.fromisoformat("1899-12-30")) / dt.timedelta(days=1)
        return f'<c r="{place}" s="1"><v>{days!r}</v></c>'
    return f'<c r="{place}"><v>{value!r}</v></c>'


def _sheet(rows: list[list[object]]) -> str:
    texts = [
        f'<row r="{at}">' + "".join(_cell(f"{'ABCDEFGHIJ'[x]}{at}", v) for x, v in enumerate(row)) + "</row>"
        for at, row in enumerate(rows, 1)
    ]
    size = f'<dimension ref="A1:{"ABCDEFGHIJ"[len(rows[0]) - 1]}{len(rows)}"/>'
    return f'<worksheet xmlns="{_MAIN}">{size}<sheetData>{"".join(texts)}</sheetData></worksheet>'


def _relations(targets: list[tuple[str, str]]) -> str:
    texts = [
        f'<Relationship Id="r{at}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for at, (kind, target) in enumerate(targets, 1)
    ]
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{"".join(texts)}</Relationships>'


def write_workbook(path: Path, *sheets: list[list[object]]) -> Path:
    """Write a workbook with these sheets, each a list of rows."""
    names = [f"worksheets/sheet{at}.xml" for at in range(1, len(sheets) + 1)]
    listed = "".join(f'<sheet name="s{at}" sheetId="{at}" r:id="r{at}"/>' for at in range(1, len(sheets) + 1))
    book = f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>'
    xml = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    types = (
        f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
        f'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{xml}"/></Types>'
    )
    styles = (
        f'<styleSheet xmlns="{_MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>'
    )
    parts = {
        "[Content_Types].xml": types,
        "_rels/.rels": _relations([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": book,
        "xl/_rels/workbook.xml.rels": _relations(
            [("worksheet", name) for name in names] + [("styles", "styles.xml")]
        ),
        "xl/styles.xml": styles,
    } | {f"xl/{name}": _sheet(rows) for name, rows in zip(names, sheets, strict=True)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in parts.items():
            file.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + text)
    return path
