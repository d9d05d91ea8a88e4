"""`dccrn score`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dccrn_cli.cli.console import INTERRUPTED, SOME_FAILED, error_line, plain_errors
from dccrn_cli.cli.options import FILES, MEASURES, WORK, AsJson, DnsmosModel, Jobs, Listen, Quiet, option, split_names

if TYPE_CHECKING:
    from dccrn_cli.scoring.measurement import Record
    from dccrn_cli.scoring.score_folders import ScorePlan

TABLE, PICTURES = "Table", "Pictures"


@plain_errors
def score(
    reference: Annotated[
        Path | None,
        option(
            "Folder of clean files, or a single file. Not needed for DNSMOS.",
            "--ref",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    estimates: Annotated[
        list[Path] | None,
        option(
            "Folder of results, or a single file; repeat to compare systems, with the first as the baseline.",
            "--est",
            "--compare",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    noisy: Annotated[
        Path | None,
        option("Noisy files from which the results were made, scored too.", metavar="PATH", show_default=False),
    ] = None,
    pairs: Annotated[
        Path | None,
        option(
            "Table of pairs with the columns ref, est and optionally noisy; names are relative to --ref, --est "
            "and --noisy, or to the table's folder.",
            panel=FILES,
            metavar="FILE.csv",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        option(
            "si_snr, si_snr_improvement, snr, segmental_snr, pesq_wb, pesq_nb, pesq_raw, stoi, estoi, lsd, "
            "pause_attenuation, csig, cbak, covl, dnsmos_sig, dnsmos_bak, dnsmos_ovrl (dnsmos for all "
            "three); or all, for every metric the given files allow. May be repeated.",
            panel=MEASURES,
            metavar="A,B,…",
            show_default="si_snr,pesq_wb,stoi; with --noisy also si_snr_improvement; without --ref dnsmos",
        ),
    ] = None,
    align: Annotated[
        bool,
        option("Find and remove a constant delay of each result, up to ±1 s.", "--align", panel=MEASURES),
    ] = False,
    max_length_difference: Annotated[
        float,
        option(
            "Trim the end of the longer signal by at most this; files that differ more fail.",
            panel=MEASURES,
            min=0.0,
            metavar="SECONDS",
        ),
    ] = 0.1,
    dnsmos_model: DnsmosModel = None,
    by: Annotated[
        list[str] | None,
        option(
            "Group by snr, folder, or a column of the metadata; repeat for nested groups.",
            panel=TABLE,
            metavar="COLUMN",
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        option(
            "Table with metadata of each file, found by the column name, file or filename.",
            panel=TABLE,
            metavar="FILE.csv",
            show_default="metadata.csv beside or above --noisy or --ref",
        ),
    ] = None,
    long: Annotated[
        bool, option("Print one line per mean, with interval, median and counts.", "--long", panel=TABLE)
    ] = False,
    as_json: AsJson = False,
    as_latex: Annotated[bool, option("Print the table as LaTeX.", "--latex", panel=TABLE)] = False,
    as_markdown: Annotated[bool, option("Print the table as Markdown.", "--markdown", panel=TABLE)] = False,
    csv: Annotated[
        Path | None, option("Also write a table with one row per file.", "--csv", panel=TABLE, metavar="FILE")
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
        option("Draw spectrograms of noisy, clean and result of each file, stacked.", panel=PICTURES, metavar="FOLDER"),
    ] = None,
    listen: Listen = None,
    jobs: Jobs = None,
    no_cache: Annotated[
        bool,
        option(
            "Measure everything again and store nothing; otherwise values are kept for 90 days.",
            "--no-cache",
            panel=WORK,
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Score results against clean references.

    The table has the mean of each metric over files with its 95 % interval (BCa
    bootstrap, Student's t below 15 files): one row per group, and a row "all". With
    --noisy, the noisy files have their own rows.

    Files are paired by relative path, with or without suffix, by name, by a name
    with a mark before or after it (talk_enhanced.wav, enhanced_talk.wav, or the
    names made by dccrn enhance --suffix and --name), or by the fileid_N of the DNS
    challenge. Originals beside such results are skipped.

    Mismatched signals are repaired where that is legitimate (sample rate, a small
    difference in length, mono against stereo, a delay with --align), and every
    repair is reported. A metric that is undefined for a file stays empty, with the
    reason, and is excluded from the mean. Several systems are compared over the
    files that all have, with Wilcoxon's signed-rank test of their differences, and
    with --by also per group.

    Exit codes: 0 all scored, 1 some files not scored or without a partner,
    2 invalid usage, 130 interrupted.

    Example:  dccrn score --ref clean/ --est out/ --noisy noisy/ --by snr
    """
    _one_thread_each()
    from dccrn_cli.cli.listen import check_page, score_page
    from dccrn_cli.cli.score_report import Form, check_places, draw, show, tell, tell_unmatched, write_csv
    from dccrn_cli.errors import OptionError
    from dccrn_cli.scoring.score_folders import score_folders

    if as_json + as_latex + as_markdown > 1:
        raise OptionError("--json, --latex and --markdown cannot be combined")
    check_places(csv, plot, spectrograms)
    if listen is not None:
        check_page(listen)
        if noisy is None and pairs is None:
            raise OptionError("--listen needs the noisy files; give them with --noisy")
    asked = split_names(metrics)
    if not quiet:
        _tell_aliases(asked or ())
    try:
        with _Progress(enabled=not quiet) as shown:
            records = score_folders(
                reference, estimates or [], noisy, asked, pairs=pairs, by=by or (), metadata=metadata, align=align,
                max_length_difference_s=max_length_difference, dnsmos_model=dnsmos_model, jobs=jobs,
                cache=not no_cache, on_plan=shown.start, on_record=shown.take,
            )  # fmt: skip
    except KeyboardInterrupt:
        error_line("Interrupted." if no_cache else "Interrupted; rerun the same command to resume.")
        raise typer.Exit(INTERRUPTED) from None
    plan = shown.plan
    if not plan.pairing.pairs:
        tell_unmatched(plan.pairing)
        raise OptionError("no estimate matches a reference; use --pairs FILE.csv to pair them")
    tell(records, plan.pairing, plan.columns, quiet)
    form: Form = "json" if as_json else "latex" if as_latex else "markdown" if as_markdown else "screen"
    show(records, plan.metrics, plan.columns, form, long)
    if csv is not None:  # after the table, which is printed even if this fails
        write_csv(csv, records, plan.columns)
    draw(records, plan.metrics, plot, spectrograms)
    if listen is not None:
        score_page(plan.pairing.pairs, plan.systems, records, listen, quiet)
    if plan.lacks_noisy or any(record["status"] != "scored" for record in records):
        raise typer.Exit(SOME_FAILED)


class _Progress(ExitStack):
    """A bar that counts the files scored.

    Attributes:
        plan: what is scored; known after `start`.
    """

    plan: ScorePlan

    def __init__(self, enabled: bool) -> None:
        super().__init__()
        self._enabled = enabled

    def start(self, plan: ScorePlan) -> None:
        from dccrn_cli.cli.progress import file_bar

        self.plan = plan
        self._advance = self.enter_context(file_bar(len(plan.pairing.pairs), self._enabled))

    def take(self, record: Record) -> None:
        if record["status"] != "unmatched":
            self._advance()


def _one_thread_each() -> None:
    """Limit numpy to one thread, since processes scale better than threads for signals of a few seconds."""
    if "numpy" not in sys.modules:
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ[f"{library}_NUM_THREADS"] = "1"
        os.environ["VECLIB_MAXIMUM_THREADS"] = "1"


def _tell_aliases(names: Sequence[str]) -> None:
    from dccrn_cli.metrics.registry import ALIASES

    for name in dict.fromkeys(names):
        if len(meant := ALIASES.get(name, ())) == 1:
            error_line(f"Note: {name} is {meant[0]}: means removed, scale of the estimate free")
