"""`dccrn listen`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from dccrn_cli.cli.console import SOME_FAILED, count, error_line, plain_errors, printable
from dccrn_cli.cli.options import FILES, WORK, AsJson, Jobs, Quiet, option, split_names

if TYPE_CHECKING:
    from dccrn_cli.engine.files.folder import FileBatch
    from dccrn_cli.report.listening.blind_tests import ListeningResults
    from dccrn_cli.report.listening.page import ListeningPage
    from dccrn_cli.scoring.measurement import Record
    from dccrn_cli.scoring.pairing import FilePair

PAGE = "Page"
PLAIN_NAME = "listen.html"


@plain_errors
def listen(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="NOISY CLEAN...",
            help="The noisy folder or file, then one or more folders or files of results. "
            "With --collect: the JSON files saved by listeners.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, option("Page to write.", "-o", "--output", metavar="PAGE.html")] = Path(PLAIN_NAME),
    reference: Annotated[
        Path | None,
        option(
            "Clean recordings, played too and used to score the results.", "--ref", metavar="PATH", show_default=False
        ),
    ] = None,
    collect: Annotated[
        bool, option("Combine the results of blind tests: means with intervals, p-values.", "--collect")
    ] = False,
    files: Annotated[int, option("Largest number of recordings on the page.", panel=FILES, min=1)] = 12,
    pick: Annotated[
        Literal["most", "worst", "best", "random", "all"],
        option(
            "Recordings to show: those changed most; worst or best by --by or, without --ref, by how much is "
            "removed; a reproducible random choice; all.",
            panel=FILES,
        ),
    ] = "most",
    by: Annotated[
        str | None,
        option("Metric for --pick worst and best.", panel=FILES, metavar="METRIC", show_default="si_snr"),
    ] = None,
    seconds: Annotated[
        float,
        option("Longest excerpt of each recording, from where it changes most.", panel=PAGE, min=0.5),
    ] = 30.0,
    quality: Annotated[
        Literal["flac", "opus"], option("Audio in the page: lossless, or about a fifth of the size.", panel=PAGE)
    ] = "flac",
    metrics: Annotated[
        list[str] | None,
        option("Scores to show with --ref.", panel=PAGE, metavar="A,B,…", show_default="si_snr,pesq_wb,stoi"),
    ] = None,
    jobs: Jobs = None,
    no_cache: Annotated[
        bool, option("Store no scores, and reuse none from earlier runs.", "--no-cache", panel=WORK)
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a page for comparing recordings by ear.

    A single file that plays noisy recordings, results and references in lockstep: switching
    between them continues at the same moment, at matched loudness, with spectrograms on a
    common scale. It needs no network or server. Files are paired as in dccrn score. A page
    of more than 80 MB becomes a folder.

    The page also offers blind tests (preference, ABX, ratings), whose results listeners save
    as JSON or CSV; --collect combines them.

    Examples:  dccrn listen noisy/ clean/ -o page.html

    dccrn listen noisy/ ours/ theirs/ --ref clean/ --pick worst --by pesq_wb

    dccrn listen --collect results/*.json
    """
    from dccrn_cli.errors import OptionError

    if collect:
        from dccrn_cli.report.listening.blind_tests import collect_results

        if not paths:
            raise OptionError("--collect needs the JSON files saved by listeners")
        results = collect_results(paths)
        if as_json:
            typer.echo(json.dumps(results.as_data()))
        else:
            _show(results)
        return
    if len(paths or ()) < 2:
        raise OptionError("give the noisy folder and at least one folder of results")
    assert paths is not None
    from dccrn_cli.report.listening.page import ListenOptions, write_page
    from dccrn_cli.scoring.pairing import label_folders, pair_paths

    options = ListenOptions(files, pick, by, seconds, quality, split_names(metrics), jobs, not no_cache)
    check_page(output)
    systems = label_folders(paths[1:])
    pairing = pair_paths(reference, systems, paths[0])
    notes = [f"{it.file}: {it.reason}" for it in pairing.unmatched]
    with page_progress(quiet) as (on_size, advance):
        page = write_page(pairing.pairs, list(systems), output, options, notes=notes, on_size=on_size, advance=advance)
    if as_json:
        typer.echo(json.dumps({"page": str(page.path), "bytes": page.size, "files": page.files, "notes": page.notes}))
    tell_page(page, quiet=quiet or as_json)
    if page.notes:
        raise typer.Exit(SOME_FAILED)


def check_page(path: Path) -> None:
    """Check before any work that a page can be written.

    Raises:
        OptionError: the name does not end in .html, or the page cannot be written there.
    """
    from dccrn_cli.errors import OptionError
    from dccrn_cli.utils.storage import check_writable

    if path.suffix.lower() not in (".html", ".htm"):
        raise OptionError("the name of a listening page must end in .html", path)
    check_writable(path)


def batch_page(batch: FileBatch, output: Path, quiet: bool) -> None:
    """Write the page for the results of a batch, from this run or before."""
    from dccrn_cli.report.listening.page import ListenOptions, write_page
    from dccrn_cli.scoring.pairing import FilePair
    from dccrn_cli.utils.paths import is_file

    done = [job for job in batch.plan.jobs if is_file(job.target)]
    if not done:
        error_line(f"Note: nothing was enhanced, so there is no {output}")
        return
    label = Path(batch.options.model or "enhanced").stem
    root = os.path.commonpath([os.path.abspath(job.source.parent) for job in done])
    pairs = [FilePair(os.path.relpath(job.source, root), label, None, job.target, job.source) for job in done]
    with page_progress(quiet) as (on_size, advance):
        page = write_page(pairs, [label], output, ListenOptions(), on_size=on_size, advance=advance)
    tell_page(page, quiet=quiet)


def score_page(
    pairs: Sequence[FilePair], systems: Sequence[str], records: Sequence[Record], output: Path, quiet: bool
) -> None:
    """Write the page for scored files, with their scores."""
    from dccrn_cli.report.listening.page import ListenOptions, write_page

    with page_progress(quiet) as (on_size, advance):
        page = write_page(pairs, systems, output, ListenOptions(), records=records, on_size=on_size, advance=advance)
    for note in page.notes:
        error_line(f"Note: {note}")
    if not quiet:  # standard output is used for the table, possibly as JSON
        error_line(f"{page.path}: {count(len(page.files), 'recording')}, {megabytes(page.size)}")


@contextmanager
def page_progress(quiet: bool) -> Iterator[tuple[Callable[[int, int], None], Callable[[], None]]]:
    """Callbacks for `write_page`: one to announce the size beforehand, and one to keep a spinner turning."""
    console = Console(stderr=True)

    def on_size(files: int, size: int) -> None:
        if not quiet:
            error_line(f"{count(files, 'recording')}, about {megabytes(size)}")

    with console.status("Reading", spinner="dots") if console.is_terminal and not quiet else _nothing():
        yield on_size, lambda: None


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def megabytes(size: int) -> str:
    """Format a size: `0.4 MB`, `38 MB`."""
    return f"{size / 1e6:.1f} MB" if size < 10e6 else f"{size / 1e6:.0f} MB"


def tell_page(page: ListeningPage, *, quiet: bool) -> None:
    """Report what was written and what could not be used."""
    for note in page.notes:
        error_line(f"Note: {note}")
    if not quiet:
        typer.echo(printable(f"{page.path}: {count(len(page.files), 'recording')}, {megabytes(page.size)}"))


def _show(results: ListeningResults) -> None:
    """Print a table of answers for each method."""
    if results.ratings:
        ratings = [
            (it.system, f"{it.mean:.1f}", _interval(it.interval, 1), str(it.answers), str(it.listeners))
            for it in results.ratings
        ]
        _table("Ratings, 0 to 100", ("version", "mean", "95 % interval", "answers", "listeners"), ratings)
    if results.preferences:
        preferences = [
            (f"{it.system} over {it.other}", f"{100 * it.share:.0f} %", _interval(it.interval, 0, 100),
             f"{it.preferred} : {it.other_preferred}", str(it.undecided), str(it.listeners), _p_value(it.p_value))
            for it in results.preferences
        ]  # fmt: skip
        head = ("preference", "share", "95 % interval", "answers", "undecided", "listeners", "p")
        _table("Preference", head, preferences)
    if results.abx:
        abx = [
            (f"{it.a} or {it.b}", f"{it.correct} of {it.answers}", f"{100 * it.share:.0f} %",
             _interval(it.interval, 0, 100), str(it.listeners), _p_value(it.p_value))
            for it in results.abx
        ]  # fmt: skip
        _table("ABX", ("versions", "right", "share", "95 % interval", "listeners", "p"), abx)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    Console(highlight=False, markup=False).print(table)


def _interval(ends: tuple[float, float] | None, digits: int, factor: float = 1) -> str:
    return "" if ends is None else " to ".join(f"{factor * end:.{digits}f}" for end in ends)


def _p_value(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
