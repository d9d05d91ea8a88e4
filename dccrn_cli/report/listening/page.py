"""A page for comparing recordings by ear, which works from disk, without a network or server."""

from __future__ import annotations

import base64
import contextlib
import html
import importlib.resources
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from dccrn_cli.errors import DccrnError, OptionError
from dccrn_cli.metrics.registry import DEFAULT_METRICS, METRICS
from dccrn_cli.report.listening.recordings import (
    Excerpt,
    Pick,
    Quality,
    Versions,
    choose,
    expected_bytes,
    group_pairs,
    make_clip,
)  # fmt: skip
from dccrn_cli.scoring.cache import Store, default_folder
from dccrn_cli.scoring.measurement import Record, Repairs
from dccrn_cli.scoring.pairing import FilePair, Pairing, label_folders, pair_paths
from dccrn_cli.scoring.score_pairs import choose_metrics, score_pairs
from dccrn_cli.utils.csv_text import plain_data, plain_text
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.paths import Paths, as_paths
from dccrn_cli.utils.storage import write_whole

FILES = 12
"""Default number of recordings on a page."""

SECONDS = 30.0
"""Default length limit of an excerpt."""

MAX_PAGE_BYTES = 80_000_000
"""A larger page becomes a folder, whose audio is loaded file by file."""

_SCRIPTS = ("player.js", "pictures.js", "page.js", "blind.js")


@dataclass(frozen=True)
class ListenOptions:
    """Contents of a page.

    Attributes:
        files: largest number of recordings.
        pick: which recordings: `most` for those changed most, `worst` or `best` by score, `random` or `all`.
        by: metric that decides for `worst` and `best`; None for the first one measured.
        seconds: longest excerpt of each recording, taken from where it changes most.
        quality: `flac`, 16 bit, or `opus`, about an eighth of the size.
        metrics: metrics measured if there are references; None for the default ones.
        jobs: number of processes that measure; None for as many as are worthwhile.
        cache: store scores and reuse those of earlier runs.
    """

    files: int = FILES
    pick: Pick = "most"
    by: str | None = None
    seconds: float = SECONDS
    quality: Quality = "flac"
    metrics: tuple[str, ...] | None = None
    jobs: int | None = None
    cache: bool = True

    def check(self) -> None:
        """Validate the options.

        Raises:
            OptionError: an option is invalid.
        """
        if self.pick not in get_args(Pick):
            raise OptionError(f"--pick must be one of {', '.join(get_args(Pick))}, not {self.pick!r}")
        if self.quality not in get_args(Quality):
            raise OptionError(f"--quality must be flac or opus, not {self.quality!r}")
        if self.files < 1 or not self.seconds > 0:
            raise OptionError("a page needs at least one file and more than 0 s of it")
        if self.by is not None and self.by not in METRICS:
            raise OptionError(f"unknown metric {self.by}; choose from {', '.join(METRICS)}")


@dataclass(frozen=True)
class ListeningPage:
    """A page that was written.

    Attributes:
        path: the page to open.
        size: total size of its files in bytes.
        files: names of the recordings on it.
        notes: recordings that could not be used, with reasons.
    """

    path: Path
    size: int
    files: tuple[str, ...]
    notes: tuple[str, ...]


def _nothing(*_: object) -> None:
    pass


def listening_page(
    noisy: str | PathLike[str],
    clean: Paths,
    output: str | PathLike[str],
    reference: str | PathLike[str] | None = None,
    options: ListenOptions | None = None,
) -> ListeningPage:
    """Write a page that plays noisy recordings and the results of systems in lockstep.

    Args:
        noisy: folder or file.
        clean: folder or file of results, or several of them, one per system.
        output: the page, `.html`; replaced by a folder of the same name if it would exceed `MAX_PAGE_BYTES`.
        reference: folder or file of clean recordings, used to score results.
        options: contents of the page; None for the defaults.

    Raises:
        OptionError: invalid paths or options, or nothing to compare.
        StorageError: the page cannot be written.
    """
    several = as_paths(clean)
    if not several:
        raise OptionError("give at least one folder of results")
    systems = label_folders(several)
    pairing = pair_paths(None if reference is None else Path(reference), systems, Path(noisy))
    notes = [f"{it.file}: {it.reason}" for it in pairing.unmatched]
    return write_page(pairing.pairs, list(systems), Path(output), options or ListenOptions(), notes=notes)


def write_page(
    pairs: Sequence[FilePair],
    systems: Sequence[str],
    output: Path,
    options: ListenOptions,
    *,
    records: Sequence[Record] = (),
    notes: Sequence[str] = (),
    on_size: Callable[[int, int], None] = _nothing,
    advance: Callable[[], None] = _nothing,
) -> ListeningPage:
    """Write a page of paired files.

    Args:
        pairs: pairs of all systems; those without a noisy file are skipped.
        systems: labels in their order on the page.
        output: the page.
        options: contents of the page.
        records: existing scores; if empty, recordings on the page with a reference are scored.
        notes: notes to pass on in addition to new ones.
        on_size: called beforehand with the number of recordings and the approximate size of the page in bytes.
        advance: called for each file read.

    Raises:
        OptionError: no recording is available from all systems, or none can be read.
        StorageError: the page cannot be written.
    """
    options.check()
    recordings, left = group_pairs(pairs, systems)
    found_notes = [*notes, *(f"{name}: skipped, since some versions are missing" for name in left)]
    if not recordings:
        raise OptionError("no noisy file has a partner in every folder of results")
    by_score = options.pick in ("worst", "best") and recordings[0].reference is not None
    known = list(records)
    if by_score and not known:
        known = _measured(pairs, recordings, options)
    recordings = _with_scores(recordings, known)
    by = options.by or (_first_metric(known) if by_score else None)
    chosen = choose(recordings, options.pick, options.files, by, advance, found_notes.append)
    if by is not None and not chosen:
        raise OptionError(f"no recording has a {METRICS[by].title} score to be picked by; add --ref, or omit --by")
    if not known and chosen and chosen[0].reference is not None:
        known = _measured(pairs, chosen, options)
        chosen = _with_scores(chosen, known)
    on_size(len(chosen), _expected_bytes(chosen, options))
    clips = []
    for recording in chosen:
        try:
            clips.append(make_clip(recording, options.seconds, options.quality))
        except DccrnError as error:
            found_notes.append(f"{recording.name}: {error.message}")
        advance()
    if not clips:
        raise OptionError("no recording could be read: " + "; ".join(found_notes[:3]))
    path, size = _write(clips, systems, output)
    return ListeningPage(path, size, tuple(clip.recording.name for clip in clips), tuple(found_notes))


def _expected_bytes(chosen: Sequence[Versions], options: ListenOptions) -> int:
    total = 0
    for recording in chosen:
        with contextlib.suppress(DccrnError):  # reported when the file is read
            total += expected_bytes(recording, options.seconds, options.quality)
    return total


def _measured(pairs: Sequence[FilePair], recordings: Sequence[Versions], options: ListenOptions) -> list[Record]:
    """Scores of all systems on these recordings."""
    noisy = {recording.noisy for recording in recordings}
    wanted = tuple(pair for pair in pairs if pair.noisy in noisy)
    by = () if options.by is None else (options.by,)
    metrics = choose_metrics((*(options.metrics or DEFAULT_METRICS), *by), with_noisy=True)
    store = Store(default_folder() if options.cache else None, Repairs())
    return list(score_pairs(Pairing(wanted, ()), metrics, store, options.jobs, Interrupt()))


def _with_scores(recordings: Sequence[Versions], records: Sequence[Record]) -> list[Versions]:
    scores: dict[str, dict[str, dict[str, float | None]]] = {}
    for record in records:
        if record["noisy"] is not None:
            of_file = scores.setdefault(record["noisy"], {})
            of_file[record["system"]] = record["values"]
            of_file[""] = record["noisy_values"]
    return [
        Versions(it.name, it.noisy, it.systems, it.reference, scores.get(str(it.noisy), it.scores)) for it in recordings
    ]


def _first_metric(records: Sequence[Record]) -> str | None:
    return next((name for record in records for name in record["values"]), None)


def _write(clips: Sequence[Excerpt], systems: Sequence[str], output: Path) -> tuple[Path, int]:
    """Write the page, or a folder if it would be too large; returns path and size."""
    coded = [[base64.b64encode(sound).decode("ascii") for sound in clip.sounds] for clip in clips]
    if sum(len(sound) for sounds in coded for sound in sounds) <= MAX_PAGE_BYTES:
        sounds = "\n".join(
            f'<script type="text/plain" id="sound-{file}-{version}">{sound}</script>'
            for file, versions in enumerate(coded)
            for version, sound in enumerate(versions)
        )
        page = _page(clips, systems, sounds, in_folder=False)
        write_whole(output, page)
        return output, len(page)
    folder = output.with_suffix("") if output.suffix else output
    size = 0
    for file, versions in enumerate(coded):
        script = f"window.dccrnSounds[{file}] = {json.dumps(versions)};\n".encode()
        write_whole(folder / "sounds" / f"{file}.js", script)
        size += len(script)
    page = _page(clips, systems, "", in_folder=True)
    write_whole(folder / "index.html", page)
    return folder / "index.html", size + len(page)


def _page(clips: Sequence[Excerpt], systems: Sequence[str], sounds: str, *, in_folder: bool) -> bytes:
    title = f"Listen: {', '.join(systems)}"
    fields = {
        "title": html.escape(plain_text(title)),
        "style": _source("page.css"),
        "data": _script_text(_data(clips, systems, title, in_folder)),
        "sounds": sounds,
        "scripts": "\n".join(map(_source, _SCRIPTS)),
    }
    before, *parts = _source("page.html").split("{{")
    pieces = [before]
    for part in parts:  # in one pass: inserted text is not expanded again
        name, rest = part.split("}}", 1)
        pieces += [fields[name], rest]
    return "".join(pieces).encode()


def _data(clips: Sequence[Excerpt], systems: Sequence[str], title: str, in_folder: bool) -> dict[str, Any]:
    measured = {name for clip in clips for values in clip.recording.scores.values() for name in values}
    metrics = [metric for metric in METRICS.values() if metric.name in measured]
    seconds = sum(clip.seconds for clip in clips)
    return {
        "title": title,
        "subtitle": f"{len(clips)} recording{'s' * (len(clips) > 1)}, {_length(seconds)} in "
        f"{len(clips[0].sounds)} versions",
        "systems": list(systems),
        "folder": in_folder,
        "metrics": [
            {"name": it.name, "title": it.title.split(" (")[0], "unit": it.unit, "digits": it.decimals}
            for it in metrics
        ],
        "files": [_file_data(clip) for clip in clips],
    }


def _file_data(clip: Excerpt) -> dict[str, Any]:
    versions = []
    for number, (kind, label, _) in enumerate(clip.recording.versions):
        scores = clip.recording.scores.get("" if kind == "noisy" else label, {}) if kind != "reference" else {}
        versions.append(
            {
                "kind": kind,
                "label": label,
                "lufs": clip.loudness[number],
                "matchDb": clip.match_db[number],
                "removedDb": clip.removed_db[number] if kind == "system" else None,
                "scores": {name: value for name, value in scores.items() if value is not None},
            }
        )
    is_part = clip.total_s > clip.seconds + 0.2
    stretch = f"{_clock(clip.start_s)} to {_clock(clip.start_s + clip.seconds)} of {_clock(clip.total_s)}"
    note = f"{stretch if is_part else _length(clip.seconds)}, {clip.sample_rate / 1000:g} kHz"
    return {"name": clip.recording.name, "note": note, "rate": clip.sample_rate, "versions": versions}


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{_clock(seconds)} min"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _script_text(data: dict[str, Any]) -> str:
    """JSON that cannot close a script element, whatever names it contains."""
    return json.dumps(plain_data(data), allow_nan=False).replace("<", "\\u003c")


def _source(name: str) -> str:
    return (importlib.resources.files("dccrn_cli") / "report" / "listening" / "page" / name).read_text("utf-8")
