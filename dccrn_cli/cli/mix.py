"""`dccrn mix`."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from dccrn_cli.cli.console import INTERRUPTED, SOME_FAILED, count, duration, error_line, plain_errors, printable
from dccrn_cli.cli.options import RESULTS, Clean, Noise, OverwriteResults, Quiet, Rooms, option
from dccrn_cli.mixing.mixing_options import Target
from dccrn_cli.testsets.mixture_recipe import MixtureFormat, NoiseSplit, SnrOn

if TYPE_CHECKING:
    from dccrn_cli.testsets.mix import MixPlan, MixResult

MIXTURES = "Mixtures"


@plain_errors
def mix(
    clean: Clean,
    noise: Noise,
    output: Annotated[Path, option("Folder for the test set.", "-o", "--output", metavar="OUT")],
    rooms: Rooms = None,
    unseen_noise: Annotated[
        list[Path] | None, option("Noise unseen in training; --noise is then the seen noise. May be repeated.")
    ] = None,
    repeat: Annotated[
        Path | None, option("Reproduce the set described by this metadata.csv, bit for bit.", "--from", metavar="CSV")
    ] = None,
    protocol: Annotated[
        str | None,
        option(
            "Defaults for options not given: dccrn-wsj0 (0 to 20 dB in steps of 5, whole utterances), losses "
            "(-10 to 20 dB in steps of 5, 3 s, seen and unseen noise), crn (-5, 0, 5 dB) or dns (-5 to 20 dB at "
            "random, 10 s, half in rooms, DNS challenge file names).",
            panel=MIXTURES,
            metavar="NAME",
        ),
    ] = None,
    snr: Annotated[
        str | None,
        option(
            "SNR classes, each used equally often, such as 0,5,10; or a range to draw from, such as -5:20.",
            panel=MIXTURES,
            metavar="DB",
            show_default="0,5,10,15,20",
        ),
    ] = None,
    snr_on: Annotated[
        SnrOn | None,
        option(
            "Measure the SNR on active speech (20 ms frames within 40 dB of the loudest) or on the whole clip.",
            panel=MIXTURES,
            show_default="active",
        ),
    ] = None,
    number: Annotated[
        int | None,
        option(
            "Number of mixtures. A larger count later adds to the set.",
            "--count",
            panel=MIXTURES,
            min=1,
            show_default="one per speech recording",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        option(
            "Length of a mixture; short utterances are followed by others from their folder.",
            panel=MIXTURES,
            min=0.1,
            show_default="length of the utterance",
        ),
    ] = None,
    level: Annotated[
        str | None,
        option(
            "Range of the level of active speech. Mixtures that would clip are attenuated as a whole.",
            panel=MIXTURES,
            metavar="DBFS",
            show_default="-35:-15",
        ),
    ] = None,
    reverb: Annotated[
        float | None,
        option(
            "Share of mixtures with speech in a room: from --rooms, otherwise simulated by the image method.",
            panel=MIXTURES,
            min=0.0,
            max=1.0,
            metavar="SHARE",
            show_default="1 with --rooms, otherwise 0",
        ),
    ] = None,
    target: Annotated[
        Target | None,
        option(
            "For speech in rooms, what the clean file keeps: all reverberation, early reflections, or none (dry).",
            panel=MIXTURES,
            show_default="reverberant",
        ),
    ] = None,
    unseen_share: Annotated[
        float | None,
        option(
            "Share of the --noise files to treat as unseen, chosen by their names. With 0.2 these are the "
            "files that dccrn finetune holds out for the same --noise.",
            panel=MIXTURES,
            min=0.0,
            max=1.0,
            metavar="SHARE",
            show_default="0.2 if both are wanted and there is no --unseen-noise",
        ),
    ] = None,
    split: Annotated[
        NoiseSplit | None,
        option(
            "Use seen noise, unseen noise, or both equally often.",
            panel=MIXTURES,
            show_default="both if distinguished",
        ),
    ] = None,
    sample_rate: Annotated[
        int | None, option("", panel=MIXTURES, min=8000, max=192_000, metavar="HZ", show_default="16000")
    ] = None,
    sample_format: Annotated[MixtureFormat | None, option("", panel=MIXTURES, show_default="s16")] = None,
    seed: Annotated[int | None, option("", panel=MIXTURES, min=0, show_default="0")] = None,
    keep_noise: Annotated[
        bool, option("Also write the noise alone, OUT/noise.", "--keep-noise", panel=RESULTS)
    ] = False,
    overwrite: OverwriteResults = False,
    quiet: Quiet = False,
) -> None:
    """Mix clean speech and noise into a test set.

    Writes noisy/NAME.wav and clean/NAME.wav to OUT, and metadata.csv with a row for
    each mixture: SNR, recordings, offsets, room, level. The same recordings and
    options give the same bytes on every run. With --from, metadata.csv reproduces
    them elsewhere too, or reports what differs. Rerun the same command to resume a
    stopped run. `dccrn score --by` can group by any column of metadata.csv.

    Exit codes: 0 all done, 1 some failed, 2 invalid usage, 130 interrupted.

    Example:  dccrn mix --clean speech/ --noise noise/ -o test/ --snr -5,0,5
    """
    from dccrn_cli.testsets.mix import mix as make
    from dccrn_cli.testsets.mixture_recipe import parse_snr, parse_span

    chosen = {
        "snr_db": None if snr is None else parse_snr(snr), "snr_on": snr_on, "seconds": seconds,
        "level_db": None if level is None else parse_span(level), "reverb": reverb, "target": target,
        "split": split, "sample_rate": sample_rate, "sample_format": sample_format, "seed": seed,
    }  # fmt: skip
    given: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
    with _Output(quiet) as shown:
        make(
            clean, noise, output, rooms=rooms, unseen_noise=unseen_noise, repeat=repeat, protocol=protocol,
            count=number, unseen_share=unseen_share, keep_noise=keep_noise, overwrite=overwrite,
            on_plan=shown.start, on_result=shown.take, **given,
        )  # fmt: skip
    if shown.done["failed"]:
        raise typer.Exit(SOME_FAILED)


class _Output:
    """Shows a test set being made: a bar, failures and notes, and a summary on exit, also after Ctrl-C.

    Args:
        quiet: show only failures and unusable recordings.

    Attributes:
        done: number of mixtures by status.
    """

    def __init__(self, quiet: bool) -> None:
        self.done = Counter[str]()
        self._quiet = quiet
        self._seconds = 0.0
        self._started = 0.0
        self._reported: set[str] = set()
        self._plan: MixPlan | None = None
        self._bar = ExitStack()

    def start(self, plan: MixPlan) -> None:
        from dccrn_cli.cli.progress import file_bar

        if plan.note and not self._quiet:
            error_line(f"Note: {plan.note}")
        self._plan, self._started = plan, time.monotonic()
        self._advance = self._bar.enter_context(file_bar(len(plan.steps), enabled=not self._quiet))

    def take(self, result: MixResult) -> None:
        assert self._plan is not None
        self.done[result.status] += 1
        self._seconds += result.seconds
        if result.status == "failed":
            error_line(f"FAILED {result.reason}")
        else:
            self._advance()
        for problem in sorted(self._plan.unusable - self._reported):
            self._reported.add(problem)
            error_line(f"Note: {problem}; skipped")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        interrupted = isinstance(error, KeyboardInterrupt)
        if self._plan is None or (error is not None and not interrupted):
            return
        if not self._quiet:
            _summary(self._plan.output, self.done, self._seconds, time.monotonic() - self._started)
        if interrupted:
            error_line("Interrupted; rerun the same command to resume.")
            raise typer.Exit(INTERRUPTED)


def _summary(output: Path, done: Counter[str], seconds: float, elapsed_s: float) -> None:
    parts = [f"{count(done['made'], 'mixture')} made, {duration(seconds)} of audio in {duration(elapsed_s)}"]
    parts += [f"{done['skipped']:,} skipped, already done (use --overwrite to redo them)"] if done["skipped"] else []
    parts += [f"{done['failed']:,} failed"] if done["failed"] else []
    typer.echo(printable(f"{output}: {'; '.join(parts)}"))
