"""Pictures of scores: of all files together, and of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr

from dccrn_cli.audio.decode import read_sound
from dccrn_cli.errors import AudioError, MissingDependency, OptionError, StorageError
from dccrn_cli.report.figure import check_form
from dccrn_cli.report.scores import ScoredFile, ScoredSystem, draw_scores
from dccrn_cli.report.spectrogram import draw_comparison
from dccrn_cli.scoring.snr_classes import SnrClasses
from dccrn_cli.utils.paths import below, path_kind
from dccrn_cli.utils.storage import check_writable

if TYPE_CHECKING:
    from dccrn_cli.scoring.measurement import Record


def check_pictures(plot: Path | None, spectrograms: Path | None) -> None:
    """Check before any work that the pictures can be drawn.

    Raises:
        OptionError: a picture format is not supported, or a path cannot be written.
        MissingDependency: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingDependency("matplotlib", "plots") from None
    if plot is not None:
        check_form(plot)
        check_writable(plot)
    if spectrograms is not None and path_kind(spectrograms)[0] not in ("folder", "missing"):
        why = path_kind(spectrograms)[1] or "is a file"
        raise OptionError(f"{why}; spectrograms need a folder", spectrograms)


def plot_scores(records: Sequence[Record], names: Sequence[str], path: Path) -> None:
    """Draw scores against SNR, as box plots, and against the noisy input."""
    systems: dict[str, list[ScoredFile]] = {}
    for record in records:
        if record["status"] == "scored":
            scored = ScoredFile(record["file"], record["values"], record["noisy_values"], record["snr_db"])
            systems.setdefault(record["system"], []).append(scored)
    if not systems:
        raise OptionError("nothing was scored, so there is nothing to draw", path)
    classes = SnrClasses.of_records(records)
    draw_scores([ScoredSystem(label, files) for label, files in systems.items()], names, path, classes)


def draw_all_spectrograms(records: Sequence[Record], folder: Path) -> Iterator[str]:
    """Draw one picture per file with noisy, clean and estimate stacked, keeping the folder structure.

    Yields:
        Reasons for files without a picture.
    """
    several = len({record["system"] for record in records}) > 1
    for record in records:
        if record["status"] == "unmatched" or record["estimate"] is None:
            continue
        path = below(folder / (record["system"] if several else ""), f"{record['file']}.png")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            reference, rate = None, None
            if record["reference"] is not None:
                reference, rate = _first_channel(record["reference"], None)
            estimate, rate = _first_channel(record["estimate"], rate)
            noisy = None if record["noisy"] is None else _first_channel(record["noisy"], rate)[0]
            draw_comparison(path, rate, noisy, reference, estimate, record["file"])
        except (AudioError, OSError, StorageError) as error:
            yield f"no picture of {record['file']}: {error}"


def _first_channel(path: str, sample_rate: int | None) -> tuple[np.ndarray, int]:
    sound = read_sound(Path(path))
    signal, own = np.nan_to_num(sound.samples[:, 0]), sound.sample_rate
    if sample_rate in (None, own):
        return signal, own
    return np.asarray(soxr.resample(signal, own, sample_rate)), sample_rate or own
