"""Makes a test set in a folder, completing what is missing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from dccrn_cli.data.clips import find_clips
from dccrn_cli.data.lists import METADATA
from dccrn_cli.errors import AudioError, DataError, OptionError
from dccrn_cli.testsets.mixture import Mixture, save
from dccrn_cli.testsets.mixture_recipe import MixtureRecipe, protocol_named
from dccrn_cli.testsets.rows import COLUMNS, Row, read_rows
from dccrn_cli.testsets.sources import Sources
from dccrn_cli.testsets.testset import MixtureSet, noise_sets, remake
from dccrn_cli.utils.callbacks import notify
from dccrn_cli.utils.interrupt import Interrupt, run_to_end
from dccrn_cli.utils.locks import RunLock
from dccrn_cli.utils.paths import Paths, as_paths, exists, is_file, is_folder
from dccrn_cli.utils.records import RecordWriter

KINDS = ("noisy", "clean", "noise")

Step = tuple[Row | None, Callable[[], tuple[Row, Mixture]]]
"""The existing row of a mixture, if any, and a function that makes it."""


@dataclass(frozen=True)
class MixResult:
    """Result for one mixture.

    Attributes:
        name: name of its noisy file without suffix; empty if it could not be made.
        reason: why it failed.
        seconds: its length if it was made.
    """

    name: str
    status: Literal["made", "skipped", "failed"]
    reason: str = ""
    seconds: float = 0.0


class MixPlan:
    """The mixtures of a test set and their folder.

    Args:
        output: the folder.
        steps: the mixtures, in order.
        pools: sources of their recordings.
        keep_noise: also write the noise alone.
        overwrite: remake existing mixtures.
        note: note for the user, or "".
    """

    def __init__(
        self,
        output: Path,
        steps: Sequence[Step],
        pools: Sequence[Sources],
        *,
        keep_noise: bool,
        overwrite: bool,
        note: str = "",
    ) -> None:
        self.output = output
        self.steps = steps
        self.note = note
        self._pools = pools
        self._overwrite = overwrite
        self._keep_noise = keep_noise

    @property
    def unusable(self) -> set[str]:
        """Recordings that were chosen but could not be used, with reasons; others replaced them."""
        return {str(error) for pool in self._pools for error in pool.unusable.values()}

    def run(self, interrupt: Interrupt) -> Iterator[MixResult]:
        """Make missing mixtures in order, adding each one's metadata row once its files are in place.

        An interrupt ends the iteration; another run resumes where it stopped.

        Raises:
            OptionError: no recording is usable, or the metadata cannot be written.
            StorageError: another run writes to the folder, or the disk is full.
        """
        kinds = KINDS if self._keep_noise else KINDS[:2]

        def is_done(row: Row | None) -> bool:
            return row is not None and all(is_file(self.output / kind / row.file_name(kind)) for kind in kinds)

        with RunLock(self.output, inside=True):
            if self._overwrite:
                _clear(self.output)
            # Rows after a gap are rewritten to keep them in order.
            there = itertools.takewhile(lambda step: is_done(step[0]), self.steps)
            kept = {row.name for row, _ in there if row is not None}
            with RecordWriter(self.output / METADATA, COLUMNS, lambda row: row["name"] not in kept) as table:
                for known, make in self.steps:
                    if interrupt.requested:
                        return
                    if known is not None and is_done(known):
                        row, result = known, MixResult(known.name, "skipped")
                    else:
                        try:
                            row, mixture = make()
                            save(mixture, row, self.output, keep_noise=self._keep_noise, overwrite=self._overwrite)
                        except (AudioError, DataError) as error:
                            yield MixResult("", "failed", str(error))
                            continue
                        result = MixResult(row.name, "made", seconds=row.seconds)
                    if row.name not in table.kept:
                        table.write(asdict(row))
                    yield result


def mix(
    clean: Paths,
    noise: Paths,
    output: str | PathLike[str],
    *,
    rooms: Paths | None = None,
    unseen_noise: Paths | None = None,
    repeat: str | PathLike[str] | None = None,
    protocol: str | None = None,
    count: int | None = None,
    unseen_share: float | None = None,
    keep_noise: bool = False,
    overwrite: bool = False,
    on_plan: Callable[[MixPlan], object] | None = None,
    on_result: Callable[[MixResult], object] | None = None,
    **changes: Any,
) -> list[MixResult]:
    """Mix clean speech and noise into a test set: `noisy/`, `clean/` and `metadata.csv` with a row per mixture.

    The same recordings and options give the same bytes; repeating a stopped call resumes it.

    Args:
        clean, noise: one or more folders, `.tar` archives, lists or files.
        output: folder of the test set.
        rooms: measured room impulse responses; None for simulated ones.
        unseen_noise: noise unseen in training.
        repeat: a `metadata.csv` whose mixtures are reproduced bit for bit.
        protocol: `dccrn-wsj0`, `losses`, `crn` or `dns`; supplies settings not in `changes`.
        count: number of mixtures; None for one per speech recording.
        unseen_share: share of the noise files to treat as unseen.
        keep_noise: also write the noise alone to `noise/`.
        overwrite: remake existing mixtures.
        on_plan: called once, before the first mixture is made.
        on_result: called with each result as it becomes available.
        changes: fields of `MixtureRecipe`: `snr_db=(0.0, 5.0)`, `seconds=4.0`, `seed=1` …

    Returns:
        One result per mixture, in order.

    Raises:
        DataError: there is no audio, or `repeat` is not such a table.
        KeyboardInterrupt: Ctrl-C was pressed; no partial files are left.
        OptionError: invalid options, or another test set in the folder.
        StorageError: the folder cannot be written, or another run writes to it.
    """
    folder = Path(output)
    speech_paths, noise_paths, unseen_paths, room_paths = map(as_paths, (clean, noise, unseen_noise, rooms))
    _keep_apart(folder, [*speech_paths, *noise_paths, *room_paths, *unseen_paths])
    speech, noises = Sources(find_clips(speech_paths)), find_clips(noise_paths)
    unseen = find_clips(unseen_paths) if unseen_paths else []
    room_sources = Sources(find_clips(room_paths)) if room_paths else None
    pools = [speech, *([room_sources] if room_sources else [])]
    metadata = folder / METADATA
    earlier = read_rows(metadata, cut_off=True) if exists(metadata) and not overwrite else []
    steps: list[Step]
    note = ""
    if repeat is not None:
        if changes or protocol is not None or count is not None or unseen_share is not None:
            raise OptionError("--from sets the mixtures; give only the paths of recordings and results with it")
        if Path(repeat).resolve() == metadata.resolve():
            raise OptionError("would be overwritten; choose another folder for the results", repeat)
        rows = read_rows(Path(repeat))
        known = {row.name: row for row in earlier}
        differs = not set(earlier) <= set(rows)
        either = Sources([*noises, *unseen])
        steps = [(known.get(row.name), partial(_remade, row, speech, either, room_sources)) for row in rows]
    else:
        recipe = _recipe(protocol, changes, in_rooms=bool(room_paths))
        sets = noise_sets(noises, unseen, unseen_share, recipe.split)
        if "unseen" in sets and unseen_share is None and not unseen:
            aside = f"{len(sets['unseen'].clips):,} of {len(noises):,} recordings"
            note = f"{aside} of noise treated as unseen; use --unseen-noise or --unseen-share to change this"
        pools += sets.values()
        mixtures = MixtureSet(recipe, speech, sets, room_sources)
        numbered = {row.number: row for row in earlier}
        differs = any(row.recipe != mixtures.fingerprint for row in earlier)
        total = max([count or len(speech.clips), *(row.number + 1 for row in earlier)])
        steps = [(numbered.get(n), partial(mixtures.make, n)) for n in range(total)]
    if differs:
        raise OptionError("describes another test set; choose another folder, or --overwrite", metadata)
    plan = MixPlan(folder, steps, pools, keep_noise=keep_noise, overwrite=overwrite, note=note)
    notify(on_plan, plan)
    return run_to_end(plan.run, on_result)


def _recipe(name: str | None, given: Mapping[str, Any], in_rooms: bool) -> MixtureRecipe:
    recipe = MixtureRecipe() if name is None else protocol_named(name).recipe
    if in_rooms and not recipe.reverb:
        recipe = replace(recipe, reverb=1.0)
    try:
        return replace(recipe, **given)
    except TypeError as error:
        raise OptionError(str(error)) from None


def _keep_apart(output: Path, sources: Sequence[Path]) -> None:
    """Reject results among the sources, where they would be sources of the next run."""
    for source in sources:
        for target in (output / kind for kind in KINDS):
            if is_folder(source) and target.resolve().is_relative_to(source.resolve()):
                raise OptionError("the results would be among the sources; choose another folder", output)


def _remade(row: Row, clean: Sources, noise: Sources, rooms: Sources | None) -> tuple[Row, Mixture]:
    try:
        return row, remake(row, clean, noise, rooms)
    except DataError as error:
        raise error if error.path == row.name else DataError(str(error), row.name) from None


def _clear(output: Path) -> None:
    """Remove the files listed in the metadata of an earlier set, since their names may differ from the new ones."""
    metadata = output / METADATA
    with contextlib.suppress(DataError):
        for row in read_rows(metadata, cut_off=True) if exists(metadata) else ():
            for kind in KINDS:
                (output / kind / row.file_name(kind)).unlink(missing_ok=True)
