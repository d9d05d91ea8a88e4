"""Tables as text that any program can read, whatever file names contain.

Three rules apply to all CSV, JSON Lines and `--json` output:

- bytes of a name that are not UTF-8 are written as `\\xNN`, so that all output is valid UTF-8;
- in CSV, text that a spreadsheet would take for a formula (starting with `=`, `+`, `-`, `@`, a tab or a
  carriage return, and not a number) is prefixed with `'`;
- in CSV, cells with commas, quotes or line ends of any kind are quoted as in RFC 4180.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain_text(text: str) -> str:
    """Make text valid Unicode: bytes that were not UTF-8 become `\\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def plain_data(value: Any) -> Any:
    """Apply `plain_text` to all text in plain data, including keys."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, Mapping):
        return {plain_data(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in value]
    return value


def csv_line(cells: Iterable[object]) -> str:
    """Format one row with its line end; None gives an empty cell."""
    return ",".join(_cell(cell) for cell in cells) + "\n"


def read_csv(text: str) -> tuple[list[str], list[dict[str, str | None]]]:
    """Parse CSV text into columns and rows, removing the `'` before would-be formulas.

    Raises:
        csv.Error: the text is not CSV.
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
