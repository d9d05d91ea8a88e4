"""Tables as text: grids of cells, Markdown, LaTeX, CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dccrn_cli.metrics.registry import METRICS
from dccrn_cli.scoring.measurement import Record
from dccrn_cli.scoring.table import Difference, DifferenceStatistic, Statistic, SummaryRow, label
from dccrn_cli.utils.csv_text import csv_line

NONE = "–"

GAP = 2
"""Spaces between columns on screen."""


class Grid(NamedTuple):
    """A table of text.

    Attributes:
        head: column titles.
        body: rows.
        texts: number of leading columns that contain text; the others contain numbers.
        sections: indices of rows before which a new section begins.
    """

    head: list[str]
    body: list[list[str]]
    texts: int
    sections: frozenset[int] = frozenset()


def title(name: str) -> str:
    """Title of a metric with its scale or unit."""
    metric = METRICS[name]
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def mean_grid(rows: Sequence[SummaryRow], metrics: Sequence[str], by: Sequence[str]) -> Grid:
    """Each mean with the half-width of its interval."""
    several = len({row["system"] for row in rows}) > 1
    fixed = [*(["system"] if several else []), "files", *map(title, metrics)]
    head = [*unique_columns(by, fixed), *fixed]
    body = [
        [
            *(label(column, row) for column in by),
            *([row["system"]] if several else []),
            f"{row['files']:,}",
            *(mean_text(row["metrics"][name], METRICS[name].decimals) for name in metrics),
        ]
        for row in rows
    ]
    starts = (n for n in range(1, len(rows)) if rows[n]["group"] != rows[n - 1]["group"])
    sections = frozenset(n for n in starts if several or len(rows[n]["group"]) < len(by))
    return Grid(head, body, len(by) + several, sections)


def long_grid(rows: Sequence[SummaryRow], metrics: Sequence[str], by: Sequence[str]) -> Grid:
    """One row per mean, with the ends of its interval, median and counts."""
    fixed = ["system", "metric", "mean", "from", "to", "median", "files", "without value"]
    head = [*unique_columns(by, fixed), *fixed]
    body = []
    for row in rows:
        for name in metrics:
            it, decimals = row["metrics"][name], METRICS[name].decimals
            body.append(
                [
                    *(label(column, row) for column in by), row["system"], title(name),
                    *(number(value, decimals) for value in (it["mean"], it["low"], it["high"], it["median"])),
                    f"{it['count']:,}", f"{it['missing']:,}",
                ]
            )  # fmt: skip
    sections = frozenset(range(len(metrics), len(body), len(metrics)))
    return Grid(head, body, len(by) + 2, sections)


def difference_grid(found: Sequence[Difference], metrics: Sequence[str], by: Sequence[str] = ()) -> Grid:
    """Signed paired differences with the p-value of Wilcoxon's test."""
    fixed = [f"difference to {found[0]['baseline']}", "files", *map(title, metrics)]
    body = []
    for row in found:
        counts = sorted({row["metrics"][name]["count"] for name in metrics})
        files = "–".join(f"{n:,}" for n in dict.fromkeys((counts[0], counts[-1])))
        cells = [_difference_text(row["metrics"][name], METRICS[name].decimals) for name in metrics]
        body.append([*(label(column, row) for column in by), row["system"], files, *cells])
    starts = (n for n in range(1, len(found)) if found[n]["group"] != found[n - 1]["group"])
    return Grid([*unique_columns(by, fixed), *fixed], body, len(by) + 1, frozenset(starts) if by else frozenset())


def _difference_text(it: DifferenceStatistic, decimals: int) -> str:
    """Format a difference: `+0.31 ± 0.08 (p < 0.001)`."""
    p = it["p_value"]
    test = "" if p is None else " (p < 0.001)" if p < 0.001 else f" (p = {p:.3f})"
    return mean_text(it, decimals, signed=True) + test


def unique_columns(columns: Sequence[str], fixed: Sequence[str]) -> list[str]:
    """Names for user-chosen columns beside fixed ones, prefixed with `by_` where they would collide."""
    taken, names = set(fixed), []
    for column in columns:
        name = column
        while name in taken:
            name = f"by_{name}"
        taken.add(name)
        names.append(name)
    return names


def narrowed(grid: Grid, width: int) -> list[Grid]:
    """Split a table into parts that fit the width, each with the text columns and the first number column."""
    kept = grid.texts + 1
    widths = [
        max(max(map(len, head_lines(head))), *(len(row[n]) for row in grid.body), 0) + GAP
        for n, head in enumerate(grid.head)
    ]
    parts: list[list[int]] = [[]]
    for column in range(kept, len(grid.head)):
        if parts[-1] and sum(widths[:kept]) + sum(widths[n] for n in [*parts[-1], column]) - GAP > width:
            parts.append([])
        parts[-1].append(column)
    if len(parts) == 1:
        return [grid]
    shown = [[*range(kept), *part] for part in parts]
    return [
        Grid([grid.head[n] for n in part], [[row[n] for n in part] for row in grid.body], grid.texts, grid.sections)
        for part in shown
    ]


def head_lines(head: str) -> list[str]:
    """Split a column title for display, with its unit or scale on a line of its own."""
    return head.replace(" (", "\n(").split("\n")


def mean_text(it: Statistic, decimals: int, signed: bool = False) -> str:
    """Format a mean: `2.61 ± 0.11`."""
    text = number(it["mean"], decimals, signed)
    if it["low"] is None or it["high"] is None:
        return text
    return f"{text} ± {(it['high'] - it['low']) / 2:.{decimals}f}"


def number(value: float | None, decimals: int, signed: bool = False) -> str:
    """Format a value, or a dash for None."""
    if value is None:
        return NONE
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}"


def markdown(grid: Grid) -> str:
    """A table in Markdown."""
    rule = ["---" if column < grid.texts else "--:" for column in range(len(grid.head))]
    lines = [grid.head, rule, *grid.body]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def latex(grid: Grid) -> str:
    """A LaTeX `tabular` that needs no package."""
    columns = "l" * grid.texts + "r" * (len(grid.head) - grid.texts)
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\hline", _tex_row(grid.head), "\\hline"]
    for index, row in enumerate(grid.body):
        lines += ["\\hline"] * (index in grid.sections)
        lines.append(_tex_row(row))
    return "\n".join([*lines, "\\hline", "\\end{tabular}"])


_TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "–": "--"}
)


def _tex_row(cells: Iterable[str]) -> str:
    return " & ".join(map(_tex, cells)) + " \\\\"


def _tex(cell: str) -> str:
    # A leading hyphen is a minus sign.
    text = re.sub(r"^-(?=\d)", "\0", cell).translate(_TEX)
    return text.replace("\0", "$-$")


def file_table(records: Sequence[Record], by: Sequence[str] = ()) -> str:
    """CSV with one row per file: `file`, metrics, those of the noisy file, groups, `note`.

    Column names are unique: a group with the name of another column is prefixed with `by_`.
    """
    metrics = list(dict.fromkeys(name for record in records for name in record["values"]))
    before = [name for name in metrics if any(name in record["noisy_values"] for record in records)]
    several = len({record["system"] for record in records}) > 1
    fixed = ["file", *(["system"] if several else []), *metrics, *(f"noisy_{name}" for name in before)]
    lines = [csv_line([*fixed, *unique_columns(by, [*fixed, "note"]), "note"])]
    lines += [
        csv_line(
            [
                record["file"],
                *([record["system"]] if several else []),
                *(record["values"][name] for name in metrics),
                *(record["noisy_values"].get(name) for name in before),
                *(record["groups"].get(column) for column in by),
                record["note"],
            ]
        )
        for record in records
    ]
    return "".join(lines)
