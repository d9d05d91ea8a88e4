"""Output of `dccrn score`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.table import Table

from dccrn_cli.cli.console import count, error_line, printable
from dccrn_cli.metrics.registry import METRICS
from dccrn_cli.scoring.grouping import SNR
from dccrn_cli.scoring.measurement import Record
from dccrn_cli.scoring.pairing import Pairing
from dccrn_cli.scoring.statistics import INTERVAL
from dccrn_cli.scoring.table import SummaryRow, differences, summarize
from dccrn_cli.scoring.text import (
    GAP,
    Grid,
    difference_grid,
    file_table,
    head_lines,
    latex,
    long_grid,
    markdown,
    mean_grid,
    narrowed,
)
from dccrn_cli.utils.csv_text import plain_data
from dccrn_cli.utils.storage import check_writable, write_whole

Form = Literal["screen", "json", "latex", "markdown"]

_LISTED = 10
_SOURCES = {"metadata": "from the metadata", "name": "from file names", "measured": "measured, in classes of 5 dB"}


def tell_unmatched(pairing: Pairing) -> None:
    """Print the first files without a partner, and how many more there are."""
    for alone in pairing.unmatched[:_LISTED]:
        path = alone.reference or alone.estimate
        error_line(f"UNMATCHED {path}: {alone.reason}" + (f" in {alone.system}" if alone.reference else ""))
    if (more := len(pairing.unmatched) - _LISTED) > 0:
        error_line(f"UNMATCHED … and {more:,} more (--csv and --json list all)")


def tell(records: Sequence[Record], pairing: Pairing, by: Sequence[str], quiet: bool) -> None:
    """Report files that failed or have no partner and, unless quiet, repairs of the others."""
    tell_unmatched(pairing)
    if pairing.originals and not quiet:
        some = f"such as {pairing.originals[0]}"
        error_line(f"Note: {count(len(pairing.originals), 'original')} beside the results skipped, {some}")
    failed = [record for record in records if record["status"] == "failed"]
    for record in failed[:_LISTED]:
        error_line(f"FAILED {record['estimate']}: {record['note']}")
    if len(failed) > _LISTED:
        error_line(f"FAILED … and {len(failed) - _LISTED:,} more (--csv and --json list all)")
    if quiet:
        return
    noted = [record for record in records if record["status"] == "scored" and record["note"]]
    for record in noted[:_LISTED]:
        error_line(f"Note: {record['file']}: {record['note']}")
    if len(noted) > _LISTED:
        error_line(f"Note: … and {len(noted) - _LISTED:,} more files with notes (--csv and --json list all)")
    if SNR in by:
        paired = [record for record in records if record["status"] != "unmatched"]
        sources = Counter(_SOURCES.get(record["snr_source"], "unknown") for record in paired)
        text = ", ".join(f"{number:,} {source}" for source, number in sources.items())
        error_line(f"Note: SNR of {count(len(paired), 'file')}: {text}")


def check_places(csv: Path | None, plot: Path | None, spectrograms: Path | None) -> None:
    """Check before any work that the requested files can be written.

    Raises:
        MissingDependency: matplotlib is not installed.
        OptionError: a file cannot be written, or a picture format is not supported.
    """
    if csv is not None:
        check_writable(csv)
    if plot is not None or spectrograms is not None:
        from dccrn_cli.report.score_pictures import check_pictures

        check_pictures(plot, spectrograms)


def draw(records: Sequence[Record], metrics: Sequence[str], plot: Path | None, spectrograms: Path | None) -> None:
    """Draw the requested pictures."""
    if plot is None and spectrograms is None:
        return
    from dccrn_cli.report.score_pictures import draw_all_spectrograms, plot_scores

    if plot is not None:
        plot_scores(records, metrics, plot)
    if spectrograms is not None:
        for problem in draw_all_spectrograms(records, spectrograms):
            error_line(f"Note: {problem}")


def write_csv(path: Path, records: Sequence[Record], by: Sequence[str]) -> None:
    """Write a table with one row per file.

    Raises:
        StorageError: the file cannot be written.
    """
    write_whole(path, file_table(records, by).encode())


def show(records: Sequence[Record], metrics: Sequence[str], by: Sequence[str], form: Form, long: bool) -> None:
    """Print the table on stdout."""
    rows = summarize(records, by)
    systems = list(dict.fromkeys(record["system"] for record in records))
    found = differences(records, by)
    if form == "json":
        unmatched = [record for record in records if record["status"] == "unmatched"]
        about = {
            name: {"title": METRICS[name].title, "unit": METRICS[name].unit,
                   "higher_is_better": METRICS[name].higher_is_better}
            for name in metrics
        }  # fmt: skip
        data = {"metrics": about, "by": by, "files": [r for r in records if r["status"] != "unmatched"],
                "unmatched": unmatched, "groups": rows, "differences": found}  # fmt: skip
        typer.echo(json.dumps(plain_data(data), indent=1, allow_nan=False))
        return
    grids = [(long_grid if long else mean_grid)(rows, metrics, by)]
    if found:
        grids.append(difference_grid(found, metrics, by))
    if form == "screen":
        console = Console(highlight=False, markup=False)
        if not console.is_terminal:  # do not wrap output to a file
            console.width = 1000
        for grid in grids:
            for part in narrowed(grid, console.width):
                console.print(as_rich(part))
        for line in footnotes(rows, metrics, systems):
            console.print(line, style="dim")
    else:
        typer.echo("\n\n".join(map(latex if form == "latex" else markdown, grids)))


def footnotes(rows: Sequence[SummaryRow], metrics: Sequence[str], systems: Sequence[str]) -> list[str]:
    """Notes below the table: its intervals, and missing values."""
    lines = [f"Mean over files ± half the {INTERVAL}."]
    several = len(systems) > 1
    if several:
        lines.append("Each metric over the files for which all systems have a value.")
        lines.append("p: two-sided Wilcoxon signed-rank test of the differences per file.")
    for row in rows:
        if row["group"] or row["system"] not in systems:
            continue
        of = f" of {row['system']}" if several else ""
        missing = [(name, row["metrics"][name]["missing"]) for name in metrics]
        lines += [f"{METRICS[name].title}: without {count(number, 'file')}{of}" for name, number in missing if number]
    return lines


def as_rich(grid: Grid) -> Table:
    """A table for the terminal."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for index, title in enumerate(grid.head):
        table.add_column(
            "\n".join(head_lines(title)), justify="left" if index < grid.texts else "right", overflow="fold"
        )
    for index, row in enumerate(grid.body):
        if index in grid.sections:
            table.add_section()
        table.add_row(*map(printable, row))
    return table
