"""Tables as text that every program reads alike, whatever is in the names of files.

Three rules hold in every CSV, JSON-lines and `--json` output:

- bytes of a name that are no UTF-8 are written as `\\xNN`, so that all output is valid UTF-8;
- in CSV, text that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or
  a carriage return, and is no number) gets a `'` before it;
- in CSV, cells with commas, quotes or line ends of any kind are quoted, as RFC 4180 has it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain_text(text: str) -> str:
    """Text as valid Unicode: what came from bytes that are no UTF-8 becomes `\\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def plain_data(value: Any) -> Any:
    """Plain data with all text in it, keys too, as `plain_text`."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, Mapping):
        return {plain_data(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in value]
    return value


def csv_line(cells: Iterable[object]) -> str:
    """One row with its line end; None is an empty cell."""
    return ",".join(_cell(cell) for cell in cells) + "\n"


def read_csv(text: str) -> tuple[list[str], list[dict[str, str | None]]]:
    """Columns and rows of a CSV text, without the `'` before what would be formulas.

    Raises:
        csv.Error: the text is no CSV.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = [
        {_unescaped(key): _unescaped(value) if isinstance(value, str) else None for key, value in row.items() if key}
        for row in reader
    ]
    return [_unescaped(name) for name in reader.fieldnames or ()], rows


def _cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = plain_text(value)
    if _is_formula(text.lstrip("'")):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _unescaped(text: str) -> str:
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


def _is_formula(text: str) -> bool:
    return text.startswith(_FORMULA) and not _is_number(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
