"""Small files that stand for large tables, by the name of what makes them large. For fuzz.py."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq


def _parquet_of(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def _feather_of(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def _texts(draw: random.Random) -> Any:
    count = draw.choice([1000, 20_000, 100_000])
    return pa.DictionaryArray.from_arrays(
        np.zeros(count, np.int32), ["x" * draw.choice([1000, 200_000, 1_000_000])]
    )


def _workbook(sheet: str, shared: str = "") -> bytes:
    """A workbook whose first sheet has these rows."""
    base, xml = "http://schemas.openxmlformats.org", "application/vnd.openxmlformats"
    main, office = f"{base}/spreadsheetml/2006/main", f"{base}/officeDocument/2006/relationships"
    package, kinds = f"{base}/package/2006", f"{xml}-officedocument.spreadsheetml"

    def override(part: str, kind: str) -> str:
        return f'<Override PartName="/xl/{part}.xml" ContentType="{kinds}.{kind}+xml"/>'

    def related(number: int, kind: str, target: str) -> str:
        return f'<Relationship Id="rId{number}" Type="{office}/{kind}" Target="{target}.xml"/>'

    def relations(inside: str) -> str:
        return f'<Relationships xmlns="{package}/relationships">{inside}</Relationships>'

    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        f'<Default Extension="rels" ContentType="{xml}-package.relationships+xml"/>'
        + override("workbook", "sheet.main")
        + override("worksheets/sheet1", "worksheet")
        + override("sharedStrings", "sharedStrings")
        + "</Types>",
        "_rels/.rels": relations(related(1, "officeDocument", "xl/workbook")),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(
            related(1, "worksheet", "worksheets/sheet1") + related(2, "sharedStrings", "sharedStrings")
        ),
        "xl/sharedStrings.xml": shared or f'<sst xmlns="{main}"><si><t>params</t></si></sst>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>',
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    + '<!ENTITY f SYSTEM "file:///etc/passwd">]><sst><si><t>&a9;&f;</t></si></sst>'
)
_ROW = b"1e9,2e10,2.5\n"
BOMBS: dict[str, Callable[[random.Random], bytes]] = {
    "rows of Parquet": lambda draw: _parquet_of(
        **dict.fromkeys("NDL", np.ones(draw.choice([10**5, 10**6, 8 * 10**6])))
    ),
    "texts of Parquet": lambda draw: _parquet_of(loss=_texts(draw)),
    "list of Parquet": lambda draw: _parquet_of(
        loss=[1.0], x=pa.array([np.zeros(draw.choice([10**4, 10**7]))])
    ),
    "columns of Parquet": lambda draw: _parquet_of(
        **{f"c{i}": [1] for i in range(draw.choice([500, 5000, 12_000]))}
    ),
    "nulls of Arrow": lambda draw: _feather_of(N=pa.nulls(draw.choice([10**5, 10**7, 10**8]))),
    "texts of Arrow": lambda draw: _feather_of(loss=_texts(draw)),
    "rows of CSV": lambda draw: b"N,D,L\n" + _ROW * draw.choice([10**5, 4 * 10**5, 3 * 10**6, 10**7]),
    "cells of CSV": lambda draw: b"N,D,L\n" + b"1," * draw.choice([10**5, 10**7, 6 * 10**7]),
    "columns of CSV": lambda draw: (
        b",".join(b"loss%d" % i for i in range(draw.choice([3000, 9000, 10**6]))) + b"\n1\n"
    ),
    "quotes": lambda draw: b'N,D,L\n"' + b"a," * draw.choice([10**4, 10**6, 5 * 10**7]),
    "line ends": lambda draw: (
        b"N,D,L\n" + draw.choice([b"\n", b"\r", b"#\n", b",\n"]) * draw.choice([10**5, 10**7])
    ),
    "blanks": lambda draw: b"N D L\n" + b" " * draw.choice([10**6, 10**8]) + b"1 2 3\n",
    "gz": lambda draw: gzip.compress(b"N,D,L\n" + b"\0" * draw.choice([10**6, 10**8, 3 * 10**8]), 1),
    "bz2": lambda draw: bz2.compress(b"N,D,L\n" + b"1" * draw.choice([10**6, 10**8]), 9),
    "xz": lambda draw: lzma.compress(b"N,D,L\n" + b"1" * draw.choice([10**6, 2 * 10**8]), preset=0),
    "zst": lambda draw: pa.compress(
        b"N,D,L\n" + b"1" * draw.choice([10**6, 2 * 10**8]), codec="zstd", asbytes=True
    ),
    "brackets": lambda draw: (
        draw.choice([b"[", b'{"a":', b'[{"a":']) * draw.choice([10**3, 10**5, 2 * 10**7])
    ),
    "closed brackets": lambda draw: b"[" * (n := draw.choice([500, 900, 10**5])) + b"]" * n,
    "objects": lambda draw: (
        b"[" + draw.choice([b"{},", b'{"N":1},']) * draw.choice([10**5, 10**6, 10**7]) + b"{}]"
    ),
    "fields": lambda draw: (
        "[{" + ",".join(f'"c{i}":1' for i in range(draw.choice([9000, 10**5, 10**6]))) + "}]"
    ).encode(),
    "doubled field": lambda draw: ("{" + ",".join(f'"c{i}":1' for i in range(10**5)) + ',"c9":2}').encode(),
    "fields of objects": lambda draw: json.dumps(
        [{f"c{i}": i} for i in range(draw.choice([5000, 50_000]))]
    ).encode(),
    "digits": lambda draw: b'[{"N":' + b"9" * draw.choice([4000, 10**5, 10**7]) + b"}]",
    "a far row": lambda draw: _workbook(
        f'<row r="{draw.choice([10**4, 1_048_576, 10**9])}"><c><v>1</v></c></row>'
    ),
    "a far column": lambda draw: _workbook(
        '<row><c r="XFD1"><v>1</v></c></row>' * draw.choice([10, 1000, 10**5])
    ),
    "cells of Excel": lambda draw: _workbook(
        "<row>" + "<c/>" * draw.choice([10**4, 10**6, 2 * 10**7]) + "</row>"
    ),
    "rows of Excel": lambda draw: _workbook("<row/>" * draw.choice([10**5, 10**7])),
    "texts of Excel": lambda draw: _workbook(
        "", "<sst>" + "<si><t>a</t></si>" * draw.choice([10**4, 10**6, 5 * 10**6]) + "</sst>"
    ),
    "entities": lambda draw: _workbook('<row><c t="s"><v>0</v></c></row>', _LAUGHS),
    "depth of Excel": lambda draw: _workbook("<a>" * (n := draw.choice([1000, 10**6])) + "</a>" * n),
}
