"""`dccrn inspect`."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from dccrn_cli.cli.console import (
    INTERRUPTED,
    SOME_FAILED,
    STANDARD,
    count,
    duration,
    error_line,
    plain_errors,
    printable,
)
from dccrn_cli.cli.options import FILES, MEASURES, RESULTS, WORK, AsJson, DnsmosModel, Jobs, Quiet, option, split_names

if TYPE_CHECKING:
    from dccrn_cli.report.inspection.inspection import Inspection

_SHOWN = 40


@plain_errors
def inspect(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...", help="Files, folders (searched recursively) and glob patterns.", show_default=False
        ),
    ] = None,
    include: Annotated[
        list[str] | None, option("Inspect only matching files; repeatable.", panel=FILES, metavar="GLOB")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        option("Skip matching files and folders; repeatable.", panel=FILES, metavar="GLOB"),
    ] = None,
    input_list: Annotated[
        str | None,
        option("Inspect the files in this list, one per line; - for standard input.", panel=FILES, metavar="FILE"),
    ] = None,
    csv: Annotated[
        Path | None,
        option("Also write all measurements, one row per file.", "--csv", panel=RESULTS, metavar="FILE"),
    ] = None,
    list_out: Annotated[
        Path | None,
        option("Write a list of the files to enhance, for dccrn enhance --input-list.", panel=RESULTS, metavar="FILE"),
    ] = None,
    plot: Annotated[
        Path | None,
        option("Plot the distributions of SNR and bandwidth (.png, .pdf or .svg).", panel=RESULTS, metavar="FILE"),
    ] = None,
    every: Annotated[bool, option("Print all files, not only the worst.", "--all", panel=RESULTS)] = False,
    metrics: Annotated[
        list[str] | None,
        option(
            "Add scores without a reference: dnsmos_sig, dnsmos_bak, dnsmos_ovrl (dnsmos for all three); "
            "takes over ten times as long.",
            panel=MEASURES,
            metavar="A,B,…",
            show_default=False,
        ),
    ] = None,
    dnsmos_model: DnsmosModel = None,
    jobs: Jobs = None,
    no_cache: Annotated[
        bool,
        option("Measure everything, and cache nothing for the next run.", "--no-cache", panel=WORK),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find out which recordings need work, and why.

    Each file is read once to measure its true length, bandwidth and levels, the SNR as estimated
    from what the small network keeps and removes, the share of speech, clipping, DC offset, hum,
    dropouts, and faults of channels and header. The verdict is enhance, look at it or leave alone.
    The worst files come first. After an interruption, rerun the same command to resume.

    Exit codes: 0 all inspected, 1 some unreadable, 2 invalid usage, 130 interrupted.

    Example:  dccrn inspect archive/ --list-out needs.txt && dccrn enhance --input-list needs.txt -o clean/
    """
    if "numpy" not in sys.modules:
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from dccrn_cli.cli.progress import file_bar
    from dccrn_cli.engine.files.plan import PlanOptions, listed_files, read_file_list
    from dccrn_cli.errors import OptionError
    from dccrn_cli.report.inspection.inspect_files import by_need, plan_inspection, run_inspection
    from dccrn_cli.utils.interrupt import Interrupt

    if not paths and input_list is None:
        raise OptionError("give files or folders to inspect, or an --input-list")
    _check_places(csv, list_out, plot)
    names = (
        []
        if input_list is None
        else (listed_files(sys.stdin.buffer.read()) if input_list == STANDARD else read_file_list(input_list))
    )
    selection = PlanOptions(include=tuple(include or ()), exclude=tuple(exclude or ()))
    scores = split_names(metrics) or ()
    plan = plan_inspection(paths or [], selection, names, metrics=scores, dnsmos_model=dnsmos_model)
    for path, reason in plan.unusable:
        error_line(f"FAILED {path}: {reason}")
    if not plan.files:
        raise OptionError("no audio files found")
    found: list[Inspection] = []
    with Interrupt() as interrupt, file_bar(len(plan.files), enabled=not (quiet or as_json)) as advance:
        for inspection in run_inspection(plan, jobs, interrupt, cache=not no_cache):
            found.append(inspection)
            advance()
    found = by_need(found)
    if interrupt.requested:
        error_line("Interrupted." if no_cache else "Interrupted; rerun the same command to resume.")
        raise typer.Exit(INTERRUPTED)
    _write(found, csv, list_out, plot)
    if as_json:
        from dccrn_cli.utils.csv_text import plain_data

        typer.echo(json.dumps(plain_data([it.as_data() for it in found])))
    else:
        _show(found, every)
    for it in found:
        if it.verdict == "unreadable":
            error_line(f"FAILED {it.file}: {it.reason}")
    if plan.unusable or any(it.verdict == "unreadable" for it in found):
        raise typer.Exit(SOME_FAILED)


def _check_places(csv: Path | None, list_out: Path | None, plot: Path | None) -> None:
    from dccrn_cli.utils.storage import check_writable

    for path in (csv, list_out, plot):
        if path is not None:
            check_writable(path)
    if plot is not None:
        from dccrn_cli.report.figure import check_form

        check_form(plot)


def _write(found: Sequence[Inspection], csv: Path | None, list_out: Path | None, plot: Path | None) -> None:
    from dccrn_cli.utils.csv_text import csv_line
    from dccrn_cli.utils.storage import write_whole

    if csv is not None:
        rows = [it.as_data() for it in found]
        lines = [csv_line(rows[0]), *(csv_line(row.values()) for row in rows)]
        write_whole(csv, "".join(lines).encode())
    if list_out is not None:
        needy = [os.fsencode(os.path.abspath(it.file)) for it in found if it.verdict == "enhance"]
        # Names that contain a line end need another separator, which --input-list also accepts.
        end = b"\0" if any(b"\n" in name or b"\r" in name for name in needy) else b"\n"
        write_whole(list_out, b"".join(name + end for name in needy))
    if plot is not None:
        from dccrn_cli.report.inspection.plot import draw_inspections

        draw_inspections(found, plot)


def _show(found: Sequence[Inspection], every: bool) -> None:
    """Print a table, the worst files first, and the number of files per verdict."""
    from dccrn_cli.metrics.registry import METRICS

    metrics = [METRICS[name] for name in found[0].scores]
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    for name in ("verdict", "SNR dB", "band kHz", "length"):
        table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    for metric in metrics:
        table.add_column(metric.title, justify="right", width=6)
    table.add_column("file", overflow="fold", ratio=5)
    table.add_column("why", overflow="fold", ratio=3, style="dim")
    root = os.path.commonpath([os.path.dirname(os.path.abspath(it.file)) for it in found])
    shown = found if every else found[:_SHOWN]
    for it in shown:
        snr = "" if it.snr_db is None else f"{it.snr_db:.0f}"
        band = "" if it.bandwidth_hz is None else f"{it.bandwidth_hz / 1000:.1f}"
        values = [(it.scores[metric.name], metric.decimals) for metric in metrics]
        scores = ["" if value is None else f"{value:.{decimals}f}" for value, decimals in values]
        name = printable(os.path.relpath(it.file, root))
        table.add_row(it.verdict, snr, band, duration(it.seconds), *scores, name, printable(it.reason))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # do not wrap output to a file
        console.width, table.expand = 1000, False
    console.print(table)
    if len(shown) < len(found):
        console.print(f"… and {len(found) - len(shown):,} more (--all prints them, --csv FILE writes them)")
    verdicts = Counter(it.verdict for it in found)
    parts = [f"{number:,} {verdict}" for verdict, number in verdicts.most_common()]
    console.print(f"{count(len(found), 'file')}, {duration(sum(it.seconds for it in found))}: {', '.join(parts)}")
