"""`dccrn mix`."""

from __future__ import annotations

import contextlib
import enum
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from dccrn_cli.cli.console import INTERRUPTED, SOME_FAILED, count, duration, error_line, plain_errors, printable

if TYPE_CHECKING:
    from dccrn_cli.testsets.mixture import Mixture
    from dccrn_cli.testsets.mixture_recipe import MixtureRecipe
    from dccrn_cli.testsets.rows import Row
    from dccrn_cli.testsets.sources import Sources

MIXTURES, RESULTS = "Mixtures", "Results"
KINDS = ("noisy", "clean", "noise")
METADATA = "metadata.csv"

Step: TypeAlias = "tuple[Row | None, Callable[[], tuple[Row, Mixture]]]"
"""What is there of a mixture already, and how it is made."""


class SnrOnChoice(enum.StrEnum):
    """What of the speech the SNR is measured on."""

    active = "active"
    whole = "whole"


class TargetChoice(enum.StrEnum):
    """What the clean file holds of speech in a room."""

    reverberant = "reverberant"
    dry = "dry"


class SplitChoice(enum.StrEnum):
    """Which noise is used."""

    seen = "seen"
    unseen = "unseen"
    both = "both"


class SampleFormatChoice(enum.StrEnum):
    """Sample formats of the results."""

    s16 = "s16"
    s24 = "s24"
    f32 = "f32"


@plain_errors
def mix(
    clean: Annotated[list[Path], typer.Option(help="Clean speech: folder, .tar archive or file; may be repeated.")],
    noise: Annotated[list[Path], typer.Option(help="Noise, in the same forms; may be repeated.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for the test set.")],
    rooms: Annotated[
        list[Path] | None, typer.Option(help="Room impulse responses, in the same forms; may be repeated.")
    ] = None,
    unseen_noise: Annotated[
        list[Path] | None,
        typer.Option(help="Noise that no training has heard; --noise is then the seen one. May be repeated."),
    ] = None,
    repeat: Annotated[
        Path | None,
        typer.Option("--from", metavar="CSV", help="Make the set of this metadata.csv again, bit for bit."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Take what is not given from dccrn-wsj0 (0 to 20 dB by 5, whole utterances), losses (-10 to 20 dB by "
            "5, 3 s, seen and unseen noise), crn (-5, 0, 5 dB) or dns (-5 to 20 dB at random, 10 s, half in rooms, "
            "the names of the DNS challenge).",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    snr: Annotated[
        str | None,
        typer.Option(
            metavar="DB",
            help="Classes, each used equally often, such as 0,5,10; or a range to draw from, such as -5:20.",
            show_default="0,5,10,15,20",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    snr_on: Annotated[
        SnrOnChoice | None,
        typer.Option(
            help="Measure speech where it is active (20 ms frames within 40 dB of the loudest) or as a whole.",
            show_default="active",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--count",
            min=1,
            help="Mixtures in all. A larger count later adds to the set.",
            show_default="one for each recording of speech",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Length; after short utterances come others of their folder.",
            show_default="that of the utterance",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            metavar="DBFS",
            help="Range of the level of active speech. What would clip is lowered, speech and noise alike.",
            show_default="-35:-15",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    reverb: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Share of mixtures whose speech is in a room: of --rooms, else simulated.",
            show_default="1 with --rooms, else 0",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    target: Annotated[
        TargetChoice | None,
        typer.Option(
            help="In rooms, the clean file keeps the room or holds the direct sound only.",
            show_default="reverberant",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    unseen_share: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Take this share of the --noise files as unseen; which ones hangs on their names. With 0.2 it is "
            "those that dccrn finetune with this --noise sets aside.",
            show_default="0.2 if both are wanted and there is no --unseen-noise",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    split: Annotated[
        SplitChoice | None,
        typer.Option(
            help="Use seen noise, unseen noise, or both equally often.",
            show_default="both where they are told apart",
            rich_help_panel=MIXTURES,
        ),
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(min=8000, max=192_000, metavar="HZ", show_default="16000", rich_help_panel=MIXTURES),
    ] = None,
    sample_format: Annotated[
        SampleFormatChoice | None, typer.Option(show_default="s16", rich_help_panel=MIXTURES)
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, show_default="0", rich_help_panel=MIXTURES)] = None,
    keep_noise: Annotated[
        bool, typer.Option("--keep-noise", help="Also write the noise alone, OUT/noise.", rich_help_panel=RESULTS)
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace results that exist; else they are skipped.", rich_help_panel=RESULTS),
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.", rich_help_panel=RESULTS)] = False,
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
    given = {key: str(value) if isinstance(value, enum.StrEnum) else value for key, value in chosen.items()}
    given = {key: value for key, value in given.items() if value is not None}
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
