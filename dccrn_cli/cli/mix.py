"""`dccrn mix`."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from dccrn_cli.cli.console import INTERRUPTED, SOME_FAILED, count, duration, error_line, plain_errors, printable
from dccrn_cli.cli.options import RESULTS, Clean, Noise, OverwriteResults, Quiet, Rooms, option
from dccrn_cli.testsets.mixture_recipe import MixtureFormat, MixtureTarget, NoiseSplit, SnrOn

if TYPE_CHECKING:
    from dccrn_cli.testsets.mixture import Mixture
    from dccrn_cli.testsets.mixture_recipe import MixtureRecipe
    from dccrn_cli.testsets.rows import Row
    from dccrn_cli.testsets.sources import Sources

MIXTURES = "Mixtures"
KINDS = ("noisy", "clean", "noise")
METADATA = "metadata.csv"

Step: TypeAlias = "tuple[Row | None, Callable[[], tuple[Row, Mixture]]]"
"""What is there of a mixture already, and how it is made."""


@plain_errors
def mix(
    clean: Clean,
    noise: Noise,
    output: Annotated[Path, option("Folder for the test set.", "-o", "--output", metavar="OUT")],
    rooms: Rooms = None,
    unseen_noise: Annotated[
        list[Path] | None, option("Noise that no training has heard; --noise is then the seen one. May be repeated.")
    ] = None,
    repeat: Annotated[
        Path | None, option("Make the set of this metadata.csv again, bit for bit.", "--from", metavar="CSV")
    ] = None,
    protocol: Annotated[
        str | None,
        option(
            "Take what is not given from dccrn-wsj0 (0 to 20 dB by 5, whole utterances), losses (-10 to 20 "
            "dB by 5, 3 s, seen and unseen noise), crn (-5, 0, 5 dB) or dns (-5 to 20 dB at random, 10 s, "
            "half in rooms, the names of the DNS challenge).",
            panel=MIXTURES,
            metavar="NAME",
        ),
    ] = None,
    snr: Annotated[
        str | None,
        option(
            "Classes, each used equally often, such as 0,5,10; or a range to draw from, such as -5:20.",
            panel=MIXTURES,
            metavar="DB",
            show_default="0,5,10,15,20",
        ),
    ] = None,
    snr_on: Annotated[
        SnrOn | None,
        option(
            "Measure speech where it is active (20 ms frames within 40 dB of the loudest) or as a whole.",
            panel=MIXTURES,
            show_default="active",
        ),
    ] = None,
    number: Annotated[
        int | None,
        option(
            "Mixtures in all. A larger count later adds to the set.",
            "--count",
            panel=MIXTURES,
            min=1,
            show_default="one for each recording of speech",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        option(
            "Length; after short utterances come others of their folder.",
            panel=MIXTURES,
            min=0.1,
            show_default="that of the utterance",
        ),
    ] = None,
    level: Annotated[
        str | None,
        option(
            "Range of the level of active speech. What would clip is lowered, speech and noise alike.",
            panel=MIXTURES,
            metavar="DBFS",
            show_default="-35:-15",
        ),
    ] = None,
    reverb: Annotated[
        float | None,
        option(
            "Share of mixtures whose speech is in a room: of --rooms, else simulated.",
            panel=MIXTURES,
            min=0.0,
            max=1.0,
            metavar="SHARE",
            show_default="1 with --rooms, else 0",
        ),
    ] = None,
    target: Annotated[
        MixtureTarget | None,
        option(
            "In rooms, the clean file keeps the room or holds the direct sound only.",
            panel=MIXTURES,
            show_default="reverberant",
        ),
    ] = None,
    unseen_share: Annotated[
        float | None,
        option(
            "Take this share of the --noise files as unseen; which ones hangs on their names. With 0.2 it is "
            "those that dccrn finetune with this --noise sets aside.",
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
            show_default="both where they are told apart",
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

    OUT gets noisy/NAME.wav, clean/NAME.wav and metadata.csv with a row for each:
    SNR, recordings, offsets, room, level. The same recordings and options give the
    same bytes on every run. With --from, metadata.csv gives them elsewhere too, or
    names what differs. A run that was stopped goes on with the same command.
    `dccrn score --by` can group on any column of metadata.csv.

    Exit code: 0 all done, 1 some failed, 2 wrong usage, 130 interrupted.

    Example:  dccrn mix --clean speech/ --noise noise/ -o test/ --snr -5,0,5
    """
    from dccrn_cli.data.clips import find_clips
    from dccrn_cli.errors import OptionError
    from dccrn_cli.testsets.mixture_recipe import parse_snr, parse_span
    from dccrn_cli.testsets.rows import read_rows
    from dccrn_cli.testsets.sources import Sources
    from dccrn_cli.testsets.testset import MixtureSet, noise_sets
    from dccrn_cli.utils.locks import RunLock

    _keep_apart(output, [*clean, *noise, *(rooms or ()), *(unseen_noise or ())])
    chosen = {
        "snr_db": None if snr is None else parse_snr(snr), "snr_on": snr_on, "seconds": seconds,
        "level_db": None if level is None else parse_span(level), "reverb": reverb, "target": target,
        "split": split, "sample_rate": sample_rate, "sample_format": sample_format, "seed": seed,
    }  # fmt: skip
    given = {key: value for key, value in chosen.items() if value is not None}
    speech, noises = Sources(find_clips(clean)), find_clips(noise)
    unseen = find_clips(unseen_noise) if unseen_noise else []
    room_sources = Sources(find_clips(rooms)) if rooms else None
    pools = [speech, *([room_sources] if room_sources else [])]
    metadata = output / METADATA
    earlier = read_rows(metadata, cut_off=True) if metadata.exists() and not overwrite else []
    steps: list[Step]
    if repeat is not None:
        if given or protocol is not None or number is not None or unseen_share is not None:
            raise OptionError("--from sets the mixtures; give only where recordings and results are")
        if repeat.resolve() == metadata.resolve():
            raise OptionError("is rewritten by this; choose another folder for the results", repeat)
        rows = read_rows(repeat)
        known = {row.name: row for row in earlier}
        differs = not set(earlier) <= set(rows)
        either = Sources([*noises, *unseen])
        steps = [(known.get(row.name), partial(_remade, row, speech, either, room_sources)) for row in rows]
    else:
        recipe = _recipe(protocol, given, in_rooms=bool(rooms))
        sets = noise_sets(noises, unseen, unseen_share, recipe.split)
        if "unseen" in sets and unseen_share is None and not unseen and not quiet:
            aside = f"{len(sets['unseen'].clips):,} of {count(len(noises), 'recording')}"
            error_line(f"Note: {aside} of noise taken as unseen; --unseen-noise or --unseen-share says otherwise")
        pools += sets.values()
        mixtures = MixtureSet(recipe, speech, sets, room_sources)
        numbered = {row.number: row for row in earlier}
        differs = any(row.recipe != mixtures.fingerprint for row in earlier)
        total = max([number or len(speech.clips), *(row.number + 1 for row in earlier)])
        steps = [(numbered.get(n), partial(mixtures.make, n)) for n in range(total)]
    if differs:
        raise OptionError("tells of another test set; choose another folder, or --overwrite", metadata)
    with RunLock(output, inside=True):
        if overwrite:
            _clear(output)
        _run(output, steps, pools, keep_noise, overwrite, quiet)


def _clear(output: Path) -> None:
    """Remove the files of a set made before, as its metadata tell: those of another set may have other names."""
    from dccrn_cli.errors import DataError
    from dccrn_cli.testsets.rows import read_rows

    metadata = output / METADATA
    with contextlib.suppress(DataError):
        for row in read_rows(metadata, cut_off=True) if metadata.exists() else ():
            for kind in KINDS:
                (output / kind / row.file_name(kind)).unlink(missing_ok=True)


def _recipe(name: str | None, given: Mapping[str, Any], in_rooms: bool) -> MixtureRecipe:
    from dccrn_cli.testsets.mixture_recipe import MixtureRecipe, protocol

    recipe = MixtureRecipe() if name is None else protocol(name).recipe
    if in_rooms and not recipe.reverb:
        recipe = replace(recipe, reverb=1.0)
    return replace(recipe, **given)


def _keep_apart(output: Path, sources: list[Path]) -> None:
    """Results among the sources would be sources on the next run."""
    from dccrn_cli.errors import OptionError

    for source in sources:
        for target in (output / kind for kind in KINDS):
            if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
                raise OptionError("the results would lie among the sources; choose another folder", output)


def _remade(row: Row, clean: Sources, noise: Sources, rooms: Sources | None) -> tuple[Row, Mixture]:
    from dccrn_cli.errors import DataError
    from dccrn_cli.testsets.testset import remake

    try:
        return row, remake(row, clean, noise, rooms)
    except DataError as error:
        raise error if error.path == row.name else DataError(str(error), row.name) from None


def _run(output: Path, steps: list[Step], pools: list[Sources], keep_noise: bool, overwrite: bool, quiet: bool) -> None:
    """Make what is missing, in order, each with its row once its files are in place."""
    from dccrn_cli.cli.progress import file_bar
    from dccrn_cli.errors import AudioError, DataError
    from dccrn_cli.testsets.mixture import save
    from dccrn_cli.testsets.rows import COLUMNS
    from dccrn_cli.utils.interrupt import Interrupt
    from dccrn_cli.utils.records import RecordWriter

    kinds = KINDS if keep_noise else KINDS[:2]

    def is_done(row: Row | None) -> bool:
        return row is not None and all((output / kind / row.file_name(kind)).is_file() for kind in kinds)

    # Rows after a gap are written anew, so that they come in order.
    kept = {row.name for row, _ in itertools.takewhile(lambda step: is_done(step[0]), steps) if row is not None}
    made, skipped, failed, seconds, started = 0, 0, 0, 0.0, time.monotonic()
    told: set[str] = set()

    def tell_unusable() -> None:
        for problem in sorted({str(error) for pool in pools for error in pool.unusable.values()} - told):
            told.add(problem)
            error_line(f"Note: {problem}; left out")

    with (
        Interrupt() as interrupt,
        RecordWriter(output / METADATA, COLUMNS, lambda row: row["name"] not in kept) as table,
        file_bar(len(steps), enabled=not quiet) as advance,
    ):
        for known, make in steps:
            if interrupt.requested:
                break
            if known is not None and is_done(known):
                row = known
                skipped += 1
            else:
                try:
                    row, mixture = make()
                    save(mixture, row, output, keep_noise=keep_noise, overwrite=overwrite)
                except (AudioError, DataError) as error:
                    failed += 1
                    error_line(f"FAILED {error}")
                    continue
                finally:
                    tell_unusable()
                made += 1
                seconds += row.seconds
            if row.name not in table.kept:
                table.write(asdict(row))
            advance()
    if not quiet:
        _summary(output, made, skipped, failed, seconds, time.monotonic() - started)
    if interrupt.requested:
        error_line("Interrupted; the same command goes on.")
        raise typer.Exit(INTERRUPTED)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _summary(output: Path, made: int, skipped: int, failed: int, seconds: float, elapsed_s: float) -> None:
    parts = [f"{count(made, 'mixture')} made, {duration(seconds)} of audio in {duration(elapsed_s)}"]
    parts += [f"{skipped:,} skipped, which exist (--overwrite redoes them)"] if skipped else []
    parts += [f"{failed:,} failed"] if failed else []
    typer.echo(printable(f"{output}: {'; '.join(parts)}"))
