"""`dccrn score`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dccrn_cli.cli.console import INTERRUPTED, SOME_FAILED, error_line, plain_errors
from dccrn_cli.cli.options import FILES, WORK, AsJson, Jobs, Listen, Quiet, option

if TYPE_CHECKING:
    from dccrn_cli.scoring.measurement import Record
    from dccrn_cli.scoring.run import ScorePlan

MEASURES, TABLE, PICTURES = "Measures", "Table", "Pictures"


@plain_errors
def score(
    reference: Annotated[
        Path | None,
        option("Folder of clean files, or one file. DNSMOS needs none.", "--ref", metavar="PATH", show_default=False),
    ] = None,
    estimates: Annotated[
        list[Path] | None,
        option(
            "Folder of results, or one file; repeat it to compare systems, the first being the baseline.",
            "--est",
            "--compare",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    noisy: Annotated[
        Path | None, option("What the results were made from: shown beside them.", metavar="PATH", show_default=False)
    ] = None,
    pairs: Annotated[
        Path | None,
        option(
            "Pairs as a table with the columns ref, est and perhaps noisy; its names start from --ref, --est "
            "and --noisy, or from its own folder.",
            panel=FILES,
            metavar="FILE.csv",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        option(
            "si_snr, si_snr_improvement, snr, segmental_snr, pesq_wb, pesq_nb, pesq_raw, stoi, estoi, lsd, "
            "pause_attenuation, csig, cbak, covl, dnsmos_sig, dnsmos_bak, dnsmos_ovrl (dnsmos for these "
            "three); or all, which leaves out what needs files not given. May be repeated.",
            panel=MEASURES,
            metavar="A,B,…",
            show_default="si_snr,pesq_wb,stoi; with --noisy si_snr_improvement too; without --ref dnsmos",
        ),
    ] = None,
    align: Annotated[
        bool,
        option("Find and remove a constant delay of each result, up to 1 s to both sides.", "--align", panel=MEASURES),
    ] = False,
    max_length_difference: Annotated[
        float,
        option(
            "Cut the end of the longer signal by at most this; beyond it the file fails.",
            panel=MEASURES,
            min=0.0,
            metavar="SECONDS",
        ),
    ] = 0.1,
    dnsmos_model: Annotated[
        Path | None,
        option(
            "Microsoft's sig_bak_ovr.onnx.",
            panel=MEASURES,
            metavar="FILE.onnx",
            show_default="that of an installed speechmos",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        option(
            "Group by snr, folder, or a column of the metadata; repeat it for groups within groups.",
            panel=TABLE,
            metavar="COLUMN",
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        option(
            "Table of what is known of each file, by the column name, file or filename.",
            panel=TABLE,
            metavar="FILE.csv",
            show_default="metadata.csv beside or above --noisy or --ref",
        ),
    ] = None,
    long: Annotated[
        bool, option("A line for each mean, with interval, median and counts.", "--long", panel=TABLE)
    ] = False,
    as_json: AsJson = False,
    as_latex: Annotated[bool, option("Print the table in LaTeX.", "--latex", panel=TABLE)] = False,
    as_markdown: Annotated[bool, option("Print the table in Markdown.", "--markdown", panel=TABLE)] = False,
    csv: Annotated[
        Path | None, option("Also write one row for each file.", "--csv", panel=TABLE, metavar="FILE")
    ] = None,
    plot: Annotated[
        Path | None,
        option(
            "Draw the scores (.png, .pdf or .svg): against SNR, as boxes, against the noisy input.",
            panel=PICTURES,
            metavar="FILE",
        ),
    ] = None,
    spectrograms: Annotated[
        Path | None,
        option("Draw noisy, clean and result of each file above each other.", panel=PICTURES, metavar="FOLDER"),
    ] = None,
    listen: Listen = None,
    jobs: Jobs = None,
    no_cache: Annotated[
        bool,
        option(
            "Measure everything, and keep nothing for the next run; else values are kept for 90 days.",
            "--no-cache",
            panel=WORK,
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Score results against clean references.

    The table has the mean of each metric over files with its 95 % interval (BCa
    bootstrap, Student's t below 15 files): a row for each group, and the row "all". With --noisy, the noisy
    files have rows of their own. Files pair by relative path, by that without
    suffix, by name alone, by the name with a mark before or after it
    (talk_enhanced.wav, enhanced_talk.wav, and what dccrn enhance --suffix or --name
    makes), or by the fileid_N of the DNS challenge. Originals that lie beside such
    results are left out. Signals that do
    not fit are repaired where that is honest (rate, a small difference in length,
    mono against stereo, with --align a delay), and every repair is said. A metric
    that is not defined for a file stays empty, with its reason, and out of the
    mean. Several systems are compared over the files that all have, with Wilcoxon's
    signed-rank test of their differences; with --by also group by group.

    Exit code: 0 all scored, 1 some files not scored or without partner, 2 wrong
    usage, 130 interrupted.

    Example:  dccrn score --ref clean/ --est out/ --noisy noisy/ --by snr
    """
    _one_thread_each()
    from dccrn_cli.cli.listen import check_page, score_page
    from dccrn_cli.cli.score_report import Form, check_places, draw, show, tell, tell_unmatched, write_csv
    from dccrn_cli.errors import OptionError
    from dccrn_cli.scoring.run import plan_scores

    if as_json + as_latex + as_markdown > 1:
        raise OptionError("--json, --latex and --markdown are different forms of one table; choose one")
    check_places(csv, plot, spectrograms)
    if listen is not None:
        check_page(listen)
        if noisy is None and pairs is None:
            raise OptionError("--listen compares with the noisy files; name them with --noisy")
    asked = _split(metrics)
    plan = plan_scores(
        reference, estimates or [], noisy, asked, pairs=pairs, by=by or (), metadata=metadata, align=align,
        max_length_difference_s=max_length_difference, dnsmos_model=dnsmos_model, jobs=jobs, cache=not no_cache,
    )  # fmt: skip
    if not quiet:
        _tell_aliases(asked or ())
    if not plan.pairing.pairs:
        tell_unmatched(plan.pairing)
        raise OptionError("no estimate matches a reference; --pairs FILE.csv says what belongs together")
    records = plan.arranged(_measure(plan, quiet, keeps=not no_cache))
    tell(records, plan.pairing, plan.columns, quiet)
    form: Form = "json" if as_json else "latex" if as_latex else "markdown" if as_markdown else "screen"
    show(records, plan.metrics, plan.columns, form, long)
    if csv is not None:  # after the table, which stays if this fails
        write_csv(csv, records, plan.columns)
    draw(records, plan.metrics, plot, spectrograms)
    if listen is not None:
        score_page(plan.pairing.pairs, plan.systems, records, listen, quiet)
    if plan.lacks_noisy or any(record["status"] != "scored" for record in records):
        raise typer.Exit(SOME_FAILED)


def _measure(plan: ScorePlan, quiet: bool, *, keeps: bool) -> list[Record]:
    """Measure, telling how far it is.

    Raises:
        typer.Exit: interrupted.
    """
    from dccrn_cli.cli.progress import file_bar
    from dccrn_cli.utils.interrupt import Interrupt

    found: list[Record] = []
    with Interrupt() as interrupt, file_bar(len(plan.pairing.pairs), enabled=not quiet) as advance:
        for record in plan.run(interrupt):
            found.append(record)
            if record["status"] != "unmatched":
                advance()
    if interrupt.requested:
        error_line("Interrupted; the same command goes on." if keeps else "Interrupted.")
        raise typer.Exit(INTERRUPTED)
    return found


def _one_thread_each() -> None:
    """Threads inside numpy wait more than they work on signals of seconds; processes share better."""
    if "numpy" not in sys.modules:
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ[f"{library}_NUM_THREADS"] = "1"
        os.environ["VECLIB_MAXIMUM_THREADS"] = "1"


def _split(names: Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    return [name.strip().lower().replace("-", "_") for text in names for name in text.split(",") if name.strip()]


def _tell_aliases(names: Sequence[str]) -> None:
    from dccrn_cli.metrics.registry import ALIASES

    for name in dict.fromkeys(names):
        if len(meant := ALIASES.get(name, ())) == 1:
            error_line(f"Note: {name} is {meant[0]}: means removed, scale of the estimate free")
