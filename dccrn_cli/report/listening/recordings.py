"""The recordings of a listening page: selection, excerpts and their audio."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import soundfile
import soxr

from dccrn_cli.audio.levels import EXCESS
from dccrn_cli.audio.reader import open_sound
from dccrn_cli.errors import AudioError, DccrnError, OptionError
from dccrn_cli.metrics.loudness import integrated_loudness
from dccrn_cli.metrics.registry import METRICS
from dccrn_cli.scoring.pairing import FilePair

Pick = Literal["most", "worst", "best", "random", "all"]
Quality = Literal["flac", "opus"]

MAX_MATCH_DB = 30.0
"""Largest attenuation of a version to match the quietest one."""

_BLOCK = 1 << 16
_PROFILES_PER_S = 10
_SEED = 0
_PEAK = 0.89  # -1 dBFS
_FLAC_SHARE, _OPUS_BYTES_PER_S = 0.6, 8000  # approximate
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)


@dataclass(frozen=True)
class Versions:
    """One recording in all its versions.

    Attributes:
        name: display name.
        noisy: input of the systems.
        systems: results by system label.
        reference: the clean recording, or None.
        scores: metrics by system label, and of the noisy file under "".
    """

    name: str
    noisy: Path
    systems: dict[str, Path]
    reference: Path | None = None
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def versions(self) -> list[tuple[str, str, Path]]:
        """Kind, label and file of each version: the noisy one, the systems, the reference."""
        systems = [("system", label, path) for label, path in self.systems.items()]
        reference = [] if self.reference is None else [("reference", "Reference", self.reference)]
        return [("noisy", "Noisy", self.noisy), *systems, *reference]


@dataclass(frozen=True)
class Excerpt:
    """An excerpt of a recording, ready for a page.

    Attributes:
        recording: the recording.
        sample_rate: sample rate of all versions in Hz.
        start_s, seconds: position of the excerpt.
        total_s: length of the whole recording.
        sounds: the encoded versions.
        loudness: loudness of each version in LUFS; None if nothing is above -70 LUFS.
        removed_db: attenuation of each version relative to the noisy one.
    """

    recording: Versions
    sample_rate: int
    start_s: float
    seconds: float
    total_s: float
    sounds: list[bytes]
    loudness: list[float | None]
    removed_db: list[float | None]

    @property
    def match_db(self) -> list[float]:
        """Gains, at most 0 dB, that make all versions as loud as the quietest."""
        known = [level for level in self.loudness if level is not None]
        quietest = max(min(known), max(known) - MAX_MATCH_DB) if known else 0.0
        return [0.0 if level is None else min(quietest - level, 0.0) for level in self.loudness]


def group_pairs(pairs: Sequence[FilePair], systems: Sequence[str]) -> tuple[list[Versions], list[str]]:
    """Recordings available from all systems, and the names of those skipped for lack of a version."""
    found: dict[Path, Versions] = {}
    left = []
    for pair in pairs:
        if pair.noisy is None:
            left.append(pair.file)
            continue
        recording = found.setdefault(pair.noisy, Versions(pair.file, pair.noisy, {}, pair.reference))
        recording.systems[pair.system] = pair.estimate
    whole = [recording for recording in found.values() if len(recording.systems) == len(systems)]
    left += [recording.name for recording in found.values() if len(recording.systems) < len(systems)]
    ordered = [
        Versions(it.name, it.noisy, {label: it.systems[label] for label in systems}, it.reference) for it in whole
    ]
    return sorted(ordered, key=lambda it: it.name), sorted(left)


def choose(
    recordings: Sequence[Versions],
    pick: Pick,
    count: int,
    by: str | None,
    advance: Callable[[], None],
    unreadable: Callable[[str], None],
) -> list[Versions]:
    """Choose recordings, the most interesting first.

    Args:
        recordings: all recordings.
        pick: `most`: those that the systems change most; `worst` and `best`: by a score of the first system, or
            without scores by how much it removes; `random`: a reproducible choice; `all`.
        count: number of recordings.
        by: metric to use; None for how much is removed.
        advance: called for each file read.
        unreadable: called with a message for each unreadable recording.

    Raises:
        OptionError: invalid `pick`.
    """
    if pick not in get_args(Pick):
        raise OptionError(f"--pick must be one of {', '.join(get_args(Pick))}, not {pick!r}")
    if pick == "all":
        return list(recordings)
    if pick == "random":
        chosen = random.Random(_SEED).sample(list(recordings), min(count, len(recordings)))
        return sorted(chosen, key=lambda it: it.name)
    first = next(iter(recordings[0].systems)) if recordings else ""
    values: list[tuple[float, int]] = []
    for number, recording in enumerate(recordings):
        if by is not None and pick != "most":
            score = recording.scores.get(first, {}).get(by)
            if score is not None:
                values.append((score if METRICS[by].higher_is_better else -score, number))
            continue
        try:
            changes = _changes_db(recording, advance)
        except DccrnError as error:
            unreadable(f"{recording.name}: {error.message}")
            continue
        values.append((max(map(abs, changes.values())) if pick == "most" else changes[first], number))
    values.sort(key=lambda item: (item[0] if pick == "worst" else -item[0], item[1]))
    return [recordings[number] for _, number in values[:count]]


def make_clip(recording: Versions, seconds: float, quality: Quality) -> Excerpt:
    """Read and encode the most changed excerpt of a recording in all versions.

    Versions are converted to the sample rate and length of the noisy one, and to at most two channels. A common
    gain brings the loudest peak to -1 dBFS.

    Raises:
        AudioError: a version cannot be read, or is empty.
    """
    profiles = [_profile(path) for _, _, path in recording.versions[: 1 + len(recording.systems)]]
    total_s = len(profiles[0]) / _PROFILES_PER_S
    start_s = _most_changed(profiles, round(seconds * _PROFILES_PER_S)) / _PROFILES_PER_S if total_s > seconds else 0.0
    rate, noisy = _excerpt(recording.noisy, start_s, seconds)
    signals = [noisy]
    for _, _, path in recording.versions[1:]:
        own, signal = _excerpt(path, start_s, seconds)
        if own != rate:
            signal = soxr.resample(signal, own, rate)
        signals.append(_of_length(signal, len(noisy)))
    loudness = [_finite(integrated_loudness(signal, rate)) for signal in signals]
    levels = [float(np.square(signal, dtype=np.float64).mean()) for signal in signals]
    removed = [_db(levels[0]) - _db(level) if min(level, levels[0]) > 0 else None for level in levels]
    peak = max(float(np.abs(signal).max()) for signal in signals)
    gain = _PEAK / peak if peak > 0 else 1.0
    sounds = [_coded(signal * gain, rate, quality) for signal in signals]
    return Excerpt(
        recording, rate, start_s, len(noisy) / rate, max(total_s, len(noisy) / rate), sounds, loudness, removed
    )


def expected_bytes(recording: Versions, seconds: float, quality: Quality) -> int:
    """Approximate size in bytes that a recording adds to a page.

    Raises:
        UnreadableAudio: the noisy file cannot be read.
    """
    with open_sound(recording.noisy) as reader:
        info = reader.info
    length, channels = min(info.seconds, seconds) if info.seconds else seconds, min(info.channels, 2)
    per_s = _OPUS_BYTES_PER_S * channels if quality == "opus" else info.sample_rate * channels * 2 * _FLAC_SHARE
    return round(length * per_s * len(recording.versions) * 4 / 3)


def _profile(path: Path) -> np.ndarray:
    """Mean square of each tenth of a second, `(steps,)`, read block by block."""
    sums: list[float] = []
    with open_sound(path) as reader:
        rate = reader.info.sample_rate
        rest = np.zeros(0, np.float32)
        step = max(rate // _PROFILES_PER_S, 1)
        for block in reader.blocks(_BLOCK):
            power = np.square(np.where(np.abs(block) <= EXCESS, block, np.float32(0))).mean(axis=1)
            joined = np.concatenate([rest, power])
            count = len(joined) // step
            sums += joined[: count * step].reshape(count, step).mean(axis=1, dtype=np.float64).tolist()
            rest = joined[count * step :]
    if len(rest):
        sums.append(float(rest.mean(dtype=np.float64)))
    if not sums:
        raise AudioError("contains no samples", path)
    return np.array(sums)


def _changes_db(recording: Versions, advance: Callable[[], None]) -> dict[str, float]:
    """Attenuation of the whole recording by each system."""
    before = _db(float(_profile(recording.noisy).mean()))
    advance()
    changes = {}
    for label, path in recording.systems.items():
        changes[label] = before - _db(float(_profile(path).mean()))
        advance()
    return changes


def _most_changed(profiles: Sequence[np.ndarray], width: int) -> int:
    """First step of the excerpt in which versions differ most from the first one, by the mean in decibels."""
    length = min(map(len, profiles))
    floor = 1e-10 + 1e-6 * max(float(profile.max()) for profile in profiles)
    decibels = [10 * np.log10(profile[:length] + floor) for profile in profiles]
    change = np.max([np.abs(level - decibels[0]) for level in decibels[1:]], axis=0)
    sums = np.concatenate([[0.0], np.cumsum(change)])
    width = min(width, length)
    return int(np.argmax(sums[width:] - sums[:-width]))


def _excerpt(path: Path, start_s: float, seconds: float) -> tuple[int, np.ndarray]:
    """Sample rate and samples `(frames, channels)` of an excerpt, with one or two channels."""
    with open_sound(path) as reader:
        rate = reader.info.sample_rate
        first, last = round(start_s * rate), round((start_s + seconds) * rate)
        kept, at = [], 0
        for block in reader.blocks(_BLOCK):
            kept.append(block[max(first - at, 0) : max(last - at, 0)])
            at += len(block)
            if at >= last:
                break
    samples = np.nan_to_num(np.concatenate(kept)) if kept else np.zeros((0, 1), np.float32)
    if not len(samples):
        raise AudioError("contains no samples there", path)
    return rate, samples if samples.shape[1] <= 2 else samples.mean(axis=1, keepdims=True)


def _of_length(signal: np.ndarray, length: int) -> np.ndarray:
    return signal[:length] if len(signal) >= length else np.pad(signal, ((0, length - len(signal)), (0, 0)))


def _coded(signal: np.ndarray, rate: int, quality: Quality) -> bytes:
    out = io.BytesIO()
    if quality == "opus":
        target = next((it for it in _OPUS_RATES if it >= rate), _OPUS_RATES[-1])
        if target != rate:
            signal = soxr.resample(signal, rate, target)
        soundfile.write(out, np.clip(signal, -1, 1), target, format="OGG", subtype="OPUS")
    else:
        soundfile.write(out, np.clip(signal, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def _db(power: float) -> float:
    return 10 * math.log10(power + 1e-12)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
