"""The metrics of one file. Mismatched signals are repaired where that is legitimate, and every repair is reported.

Counts, tables and pictures all work on `Record`, plain data that can be written to JSON directly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import soxr

from dccrn_cli.audio.decode import MAX_SAMPLES, Sound
from dccrn_cli.errors import AudioError, MetricError
from dccrn_cli.metrics.align import MAX_DELAY_S, find_shift
from dccrn_cli.metrics.pair import measure_pair
from dccrn_cli.metrics.registry import METRICS, select_metrics
from dccrn_cli.scoring.sound_cache import SoundCache

MAX_LENGTH_DIFFERENCE_S = 0.1
"""Default limit on how much longer one signal of a pair may be."""


class Record(TypedDict):
    """One row of a score.

    Keys:
        file: the estimate's path relative to its folder, with `/`; the reference's if there is no estimate.
        system: label of the folder of estimates.
        reference, estimate, noisy: the files, or None.
        status: `scored`, `failed` if no metric could be measured, or `unmatched` if a partner is missing.
        values: values by metric, in display order; None if it could not be measured.
        noisy_values: values of the noisy file itself, except metrics that need one; empty without a noisy file.
        snr_db: SNR of the noisy file, or None; snr_source: `metadata`, `name`, `measured` or "".
        groups: value of each column of `--by`: a number, text, or None if unknown.
        seconds, sample_rate: those of the reference, or of the estimate if there is none; 0 if unknown.
        delay_samples: delay of the estimate, removed with `align`; otherwise None.
        note: repairs, and the reasons for missing values.
    """

    file: str
    system: str
    reference: str | None
    estimate: str | None
    noisy: str | None
    status: Literal["scored", "failed", "unmatched"]
    values: dict[str, float | None]
    noisy_values: dict[str, float | None]
    snr_db: float | None
    snr_source: str
    groups: dict[str, float | str | None]
    seconds: float
    sample_rate: int
    delay_samples: int | None
    note: str


@dataclass(frozen=True)
class Repairs:
    """Repairs allowed for mismatched signals.

    Attributes:
        max_length_difference_s: a longer signal is trimmed at its end by at most this.
        align: remove a constant delay of the estimate.
    """

    max_length_difference_s: float = MAX_LENGTH_DIFFERENCE_S
    align: bool = False


@dataclass
class Measurement:
    """Measurement of one estimate.

    Attributes:
        values, reasons: values by metric, and the reasons for those that are None.
        notes: repairs.
        error: why nothing could be measured, or "".
        seconds, sample_rate: length and sample rate of the reference, or of the estimate if there is none.
        delay_samples: delay of the estimate that was removed, or None.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0
    sample_rate: int = 0
    delay_samples: int | None = None

    def note(self) -> str:
        """Repairs and reasons in one line, grouping metrics that fail for the same reason."""
        by_reason: dict[str, list[str]] = {}
        for name, why in self.reasons.items():
            by_reason.setdefault(why, []).append(name)
        every = list(by_reason.values()) == [list(self.values)]
        reasons = [why if every else f"{', '.join(names)}: {why}" for why, names in by_reason.items()]
        measured = [METRICS[name] for name, value in self.values.items() if value is not None]
        raised = [it.name for it in measured if it.rate_for(self.sample_rate) > self.sample_rate]
        narrow = [f"only {self.sample_rate} Hz: {', '.join(raised)} upsampled"] if raised else []
        return "; ".join([*([self.error] if self.error else []), *self.notes, *narrow, *reasons])

    def joined(self, other: Measurement) -> Measurement:
        """A copy with the values of another measurement of the same files added."""
        both = replace(self, values=other.values | self.values, reasons=other.reasons | self.reasons)
        return both.select(both.values)

    def select(self, metrics: Iterable[str]) -> Measurement:
        """A copy with only these metrics."""
        names = [metric.name for metric in select_metrics(metrics)]
        values = {name: self.values.get(name) for name in names}
        reasons = {name: self.reasons[name] for name in names if name in self.reasons}
        return replace(self, values=values, reasons=reasons)


def measure_files(
    sounds: SoundCache,
    reference: Path | None,
    estimate: Path,
    noisy: Path | None,
    metrics: Iterable[str],
    repairs: Repairs,
    dnsmos_model: Path | None = None,
) -> Measurement:
    """Read, repair and measure; problems with the files are reported in the result.

    The estimate is resampled to the reference's rate, and the longer signal trimmed if within tolerance. A
    mono reference is compared with each channel, a mono estimate with the mean of the reference's channels.
    Without a reference only metrics that need none have values.

    Raises:
        OptionError: an unknown metric, or DNSMOS without its file.
        CheckpointError, MissingDependency: DNSMOS cannot be loaded.
    """
    names = [metric.name for metric in select_metrics(metrics)]
    found = Measurement()
    if reference is None:
        return _measure_alone(sounds, estimate, names, dnsmos_model)
    try:
        clean, scored = _read(sounds, reference, "reference"), _read(sounds, estimate, "estimate")
        found.sample_rate, found.seconds = clean.sample_rate, len(clean.samples) / clean.sample_rate
        found.notes += [f"{what}: {it.note}" for what, it in (("reference", clean), ("estimate", scored)) if it.note]
        target, output = _fit(clean, scored, found, repairs)
        start = max(-(found.delay_samples or 0), 0)  # samples removed by alignment
    except MetricError as error:
        found.error = error.message
        found.values = dict.fromkeys(names)
        return found
    rate = clean.sample_rate
    alone = [name for name in names if not METRICS[name].needs_noisy]
    score = measure_pair(target, output, rate, alone, dnsmos_model=dnsmos_model, axis=0)
    values, reasons = dict(score.values), dict(score.reasons)
    if len(alone) < len(names):
        rest = [name for name in names if METRICS[name].needs_noisy]
        try:
            if noisy is None:
                raise MetricError("no noisy file")
            before = _fit_noisy(_read(sounds, noisy, "noisy file"), start, target, rate, repairs)
            length = len(before)  # a shorter noisy file affects only these metrics
            score = measure_pair(target[:length], output[:length], rate, rest, before, axis=0)
            values, reasons = values | score.values, reasons | score.reasons
        except MetricError as error:
            values |= dict.fromkeys(rest)
            reasons |= dict.fromkeys(rest, error.message)
    found.values, found.reasons = {name: values[name] for name in names}, reasons
    return found


def _measure_alone(sounds: SoundCache, estimate: Path, names: Sequence[str], dnsmos_model: Path | None) -> Measurement:
    """Measure metrics that need no reference."""
    try:
        sound = _read(sounds, estimate, "estimate")
    except MetricError as error:
        return Measurement(dict.fromkeys(names), error=error.message)
    score = measure_pair(None, sound.samples, sound.sample_rate, names, dnsmos_model=dnsmos_model, axis=0)
    notes = [f"estimate: {sound.note}"] if sound.note else []
    seconds = len(sound.samples) / sound.sample_rate
    return Measurement(score.values, score.reasons, notes, seconds=seconds, sample_rate=sound.sample_rate)


def _read(sounds: SoundCache, path: Path, what: str) -> Sound:
    try:
        return sounds.get(path)
    except AudioError as error:
        raise MetricError(f"{what}: {error.message}") from None


def _fit(clean: Sound, scored: Sound, found: Measurement, repairs: Repairs) -> tuple[np.ndarray, np.ndarray]:
    """Bring both signals to one shape `(frames, channels)` at the reference's rate; repairs are noted in `found`."""
    rate, notes = clean.sample_rate, found.notes
    _check_lengths(clean, scored, repairs)
    target, output = clean.samples, _at_rate(scored, rate)
    if scored.sample_rate != rate:
        notes.append(f"estimate resampled from {scored.sample_rate} to {rate} Hz")
    target, output = _channels(target, output, notes)
    difference = len(output) - len(target)
    shift = find_shift(target, output, rate, believe_any=repairs.align)
    delay = 0
    if shift is not None:
        if shift.inverted:
            notes.append("estimate has inverted polarity (kept)")
        if repairs.align:
            delay = found.delay_samples = shift.delay_samples
            if delay:
                notes.append(f"estimate {_lag(delay, rate)}, removed")
        elif shift.delay_samples:
            notes.append(f"estimate {_lag(shift.delay_samples, rate)}, kept (--align removes it)")
    elif repairs.align:
        notes.append("delay could not be determined")
    target, output = target[max(-delay, 0) :], output[max(delay, 0) :]
    limit = repairs.max_length_difference_s * rate
    rest = len(output) - len(target)
    # A delayed file may be longer, or may be cut at its end.
    if min(abs(difference), abs(rest)) > limit:
        raise MetricError(
            f"the estimate is {abs(difference) / rate:.2f} s {'longer' if difference > 0 else 'shorter'} than the "
            f"reference (--max-length-difference {repairs.max_length_difference_s:g})"
        )
    if rest and not delay:
        longer = "estimate" if rest > 0 else "reference"
        count = "1 sample" if abs(rest) == 1 else f"{abs(rest)} samples"
        notes.append(f"{longer} trimmed by {count} ({abs(rest) / rate * 1000:.3g} ms) at its end")
    length = min(len(target), len(output))
    return target[:length], output[:length]


def _check_lengths(clean: Sound, scored: Sound, repairs: Repairs) -> None:
    """Reject lengths that no delay explains before resampling, which may take gigabytes."""
    longer_s = len(scored.samples) / scored.sample_rate - len(clean.samples) / clean.sample_rate
    if abs(longer_s) > MAX_DELAY_S + repairs.max_length_difference_s:
        raise MetricError(
            f"the estimate is {abs(longer_s):.2f} s {'longer' if longer_s > 0 else 'shorter'} than the "
            f"reference (--max-length-difference {repairs.max_length_difference_s:g})"
        )


def _fit_noisy(noisy: Sound, start: int, target: np.ndarray, rate: int, repairs: Repairs) -> np.ndarray:
    """The noisy signal from a sample on, in the reference's shape or shorter within tolerance."""
    samples = _at_rate(noisy, rate)[start:]
    if samples.shape[1] != target.shape[1]:
        if samples.shape[1] == 1 or target.shape[1] == 1:
            mono = samples.mean(axis=1, keepdims=True)
            samples = np.repeat(mono, target.shape[1], axis=1)
        else:
            raise MetricError(f"the noisy file has {samples.shape[1]} channels, not {target.shape[1]}")
    missing = len(target) - len(samples)
    if missing > repairs.max_length_difference_s * rate or not len(samples):
        raise MetricError(f"the noisy file is {missing / rate:.2f} s shorter than the reference")
    return samples[: len(target)]


def _at_rate(sound: Sound, rate: int) -> np.ndarray:
    if sound.sample_rate == rate:
        return sound.samples
    if len(sound.samples) / sound.sample_rate * rate * sound.samples.shape[1] > MAX_SAMPLES:
        raise MetricError(f"too long to resample from {sound.sample_rate} to {rate} Hz")
    resampled: np.ndarray = soxr.resample(sound.samples, sound.sample_rate, rate)
    if not len(resampled):
        raise MetricError(f"too short for {rate} Hz")
    return resampled


def _channels(target: np.ndarray, output: np.ndarray, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = target.shape[1], output.shape[1]
    if ours == theirs:
        return target, output
    if ours == 1:
        notes.append(f"mono reference compared with each of {theirs} channels")
        return np.repeat(target, theirs, axis=1), output
    if theirs == 1:
        notes.append(f"mono estimate compared with the mean of the reference's {ours} channels")
        return target.mean(axis=1, keepdims=True), output
    raise MetricError(f"the estimate has {theirs} channels, the reference {ours}")


def _lag(delay: int, rate: int) -> str:
    where = "delayed" if delay > 0 else "advanced"
    return f"{where} by {abs(delay)} samples ({math.copysign(abs(delay) / rate * 1000, delay):+.3g} ms)"
