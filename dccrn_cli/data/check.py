"""Checks training data before training starts: what cannot be used, and what should not be."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dccrn_cli.audio.extent import CUT_OFF
from dccrn_cli.data.clips import NO_SAMPLES, Clip, digest
from dccrn_cli.data.speech_level import active_rms
from dccrn_cli.data.speech_likeness import likeness
from dccrn_cli.errors import DataError
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.utils.callbacks import notify

MIN_CLIP_S = 0.3
"""Clips shorter than this are of little use."""

SILENT_DB = -70.0
"""Level of the active parts in dBFS below which a clip counts as silence."""

NOISY_DB = 22.0
"""Clean speech counts as noisy if its loud frames exceed its faint ones by less than this. Studio recordings reach
45 dB, speech mixed with noise at 10 dB SNR about 17 dB."""

NARROW_HZ = 5500.0
"""Speech with nothing above this frequency was probably upsampled from a lower rate."""

CLIPPED = 5e-4
"""Share of samples at full scale above which a clip counts as clipped."""

OFFSET = 0.005
"""Mean above which a clip has a DC offset, provided that it also exceeds a tenth of its level."""

_FULL_SCALE = 0.999
_BEYOND = 1.1  # a peak above this means unclipped floating-point samples; a resampler overshoots by less
_HEAD = 4096

Role = Literal["speech", "noise"]

KINDS: Mapping[str, str] = {
    "unreadable": "not readable as audio",
    "empty": "no samples",
    "cut off": "end missing",
    "silent": "silence",
    "short": f"shorter than {MIN_CLIP_S:g} s",
    "rate": f"recorded below {SAMPLE_RATE // 1000} kHz",
    "narrow": "no high frequencies, as if upsampled from a lower rate",
    "clipped": "clipped",
    "offset": "DC offset",
    "noisy": "noisy clean speech",
    "not speech": "clean speech that looks like noise",
    "duplicate": "same recording under two names",
    "little": "too little audio",
}
"""Kinds of findings and their descriptions."""


@dataclass(frozen=True)
class Finding:
    """A problem found in the data.

    Attributes:
        severity: with an error, training should not start.
        role: how the clip is used.
        kind: one of `KINDS`.
        name: name of the clip; empty for a finding about all clips together.
        message: description of the problem.
        badness: severity among findings of the same kind.
    """

    severity: Literal["error", "warning"]
    role: Role
    kind: str
    name: str
    message: str
    badness: float = 0.0


@dataclass(frozen=True)
class RoleReport:
    """How much speech or noise there is.

    Attributes:
        clips: number of clips.
        checked: how many of them were checked.
        seconds: usable duration of all clips, extrapolated from those checked.
    """

    clips: int
    checked: int
    seconds: float


@dataclass(frozen=True)
class DataReport:
    """Result of a check.

    Attributes:
        findings: errors first, then by kind, the worst of each kind first.
        roles: amounts of `speech` and `noise`.
    """

    findings: tuple[Finding, ...]
    roles: Mapping[Role, RoleReport]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings with which training should not start."""
        return tuple(one for one in self.findings if one.severity == "error")

    def raise_errors(self, but: frozenset[str] = frozenset()) -> None:
        """Raise an error for data with which training should not start.

        Args:
            but: kinds of findings that do not raise an error.

        Raises:
            DataError: there are errors of other kinds.
        """
        if final := [one.message for one in self.errors if one.kind not in but]:
            raise DataError("; ".join(final))

    @property
    def summary(self) -> dict[tuple[Role, str], int]:
        """Number of clips by role and kind of finding, in the order of the findings."""
        counts: dict[tuple[Role, str], int] = {}
        for one in self.findings:
            if one.name:
                counts[one.role, one.kind] = counts.get((one.role, one.kind), 0) + 1
        return counts


@dataclass
class _Look:
    """One clip and what was found in it."""

    clip: Clip
    role: Role
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def note(self, kind: str, message: str, badness: float = 0.0) -> None:
        self.findings.append(Finding("warning", self.role, kind, self.clip.name, message, badness))

    def has(self, *kinds: str) -> bool:
        return any(one.kind in kinds for one in self.findings)


def check_clips(
    speech: Sequence[Clip],
    noise: Sequence[Clip],
    limit: int = 400,
    min_seconds: float = 10.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Check clips of speech and of noise before they are used for training.

    Args:
        speech: clips of clean speech.
        noise: clips of noise.
        limit: number of clips decoded per role, spread evenly over all. All are searched for duplicates.
        min_seconds: less speech or noise than this is an error.
        on_progress: called after each clip with the number checked and the total.
    """
    sampled: list[_Look] = []
    for role, clips in _by_role(speech, noise):
        places = np.unique(np.linspace(0, len(clips) - 1, min(limit, len(clips))).astype(int))
        sampled += [_Look(clips[place], role) for place in places]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders and transforms release the GIL
        for done, _ in enumerate(pool.map(_look_at, sampled), 1):
            notify(on_progress, done, len(sampled))
    duplicates = _duplicates(speech, noise)
    findings = [one for look in sampled for one in look.findings] + duplicates
    in_both = sum(one.role == "noise" and one.badness > 0 for one in duplicates)
    if in_both > len(noise) / 2:
        message = f"{in_both} of {len(noise)} noise files are also given as clean speech"
        findings.append(Finding("error", "noise", "duplicate", "", message))
    roles: dict[Role, RoleReport] = {}
    for role, clips in _by_role(speech, noise):
        looks = [look for look in sampled if look.role == role]
        usable_s = sum(look.seconds for look in looks if not look.has("silent"))
        roles[role] = RoleReport(len(clips), len(looks), usable_s * len(clips) / max(len(looks), 1))
        findings += _whole(role, looks, roles[role].seconds, min_seconds)
    order = list(KINDS)
    findings.sort(key=lambda one: (one.severity, one.role != "speech", order.index(one.kind), -one.badness, one.name))
    return DataReport(tuple(findings), roles)


def _by_role(speech: Sequence[Clip], noise: Sequence[Clip]) -> Iterable[tuple[Role, Sequence[Clip]]]:
    return (("speech", speech), ("noise", noise))


def _look_at(look: _Look) -> None:
    """Decode a clip and note what is wrong with it."""
    try:
        content = look.clip.content()
        x = look.clip.decode(content, SAMPLE_RATE)
        with look.clip.open(content) as reader:
            rate, note = reader.info.sample_rate, reader.note
    except DataError as error:
        look.note("empty" if error.message == NO_SAMPLES else "unreadable", error.message)
        return
    look.seconds = len(x) / SAMPLE_RATE
    if CUT_OFF in note:
        look.note("cut off", note[note.index(CUT_OFF) :].removeprefix("the recording "), -look.seconds)
    if look.seconds < MIN_CLIP_S:
        look.note("short", f"{look.seconds:.2f} s long", -look.seconds)
    mean, level = float(x.mean()), active_rms(x - x.mean())
    if abs(mean) > max(OFFSET, 0.1 * level):
        look.note("offset", f"has a mean of {mean:+.3f} of full scale", abs(mean))
    if level < 10 ** (SILENT_DB / 20):
        look.note("silent", f"is at {20 * math.log10(level):.0f} dBFS" if level else "contains only silence", -level)
        return
    if rate < SAMPLE_RATE:
        look.note("rate", f"is recorded at {rate} Hz", -rate)
    loudness = np.abs(x)
    clipped = float((loudness >= _FULL_SCALE).mean())
    if clipped > CLIPPED and loudness.max() < _BEYOND:
        look.note("clipped", f"has {100 * clipped:.2g} % of samples at full scale", clipped)
    if look.role == "speech" and look.seconds >= 1:
        _look_for_speech(look, x, rate)


def _look_for_speech(look: _Look, x: np.ndarray, rate: int) -> None:
    found = likeness(x)
    if found.speech_logit < 0:
        look.note("not speech", "looks more like noise than clean speech", -found.speech_logit)
    elif found.snr_db < NOISY_DB:
        look.note("noisy", f"exceeds its background by only {found.snr_db:.0f} dB", -found.snr_db)
    if rate >= SAMPLE_RATE and found.band_hz <= NARROW_HZ:
        look.note("narrow", f"has nothing above {found.band_hz / 1000:.1f} kHz", -found.band_hz)


def _whole(role: Role, looks: Sequence[_Look], seconds: float, min_seconds: float) -> Iterable[Finding]:
    """Problems of all speech or noise together: a fault in more than half of the clips, or too little audio."""
    readable = [look for look in looks if not look.has("unreadable", "empty")]
    audible = [look for look in readable if not look.has("silent")]
    faults = (
        ("unreadable", len(looks), len(looks) - len(readable), f"{role} files cannot be read"),
        ("silent", len(readable), len(readable) - len(audible), f"{role} files contain only silence"),
        ("not speech", len(audible), sum(look.has("not speech") for look in audible),
         '"clean" files look like noise, not speech; are the folders swapped?'),
    )  # fmt: skip
    for kind, total, count, message in faults:
        if count > total / 2:
            yield Finding("error", role, kind, "", f"{count} of {total} {message}")
    if looks and seconds < min_seconds:
        message = f"only {seconds:.1f} s of usable {role} (at least {min_seconds:g} s needed)"
        yield Finding("error", role, "little", "", message)


def _duplicates(speech: Sequence[Clip], noise: Sequence[Clip]) -> list[Finding]:
    """Clips with the same content as an earlier one; only clips of equal size are read."""
    everything = [_Look(clip, role) for role, clips in _by_role(speech, noise) for clip in clips]
    groups = _split([everything], lambda look: _size(look.clip))
    groups = _split(groups, lambda look: _digest(look.clip, _HEAD))
    groups = _split(groups, lambda look: _digest(look.clip))
    found = []
    for first, *others in groups:
        for look in others:
            also = "" if look.role == first.role else f", used as {first.role}"
            same = "is given twice" if look.clip == first.clip else f"is the same as {first.clip.name}"
            look.note("duplicate", same + also, float(bool(also)))
            found += look.findings
    return found


def _split(groups: Iterable[list[_Look]], key: Callable[[_Look], object]) -> list[list[_Look]]:
    """Split groups by a key; drop those whose key is None and those left with a single member."""
    result: list[list[_Look]] = []
    for group in groups:
        parts: dict[object, list[_Look]] = {}
        for look in group:
            parts.setdefault(key(look), []).append(look)
        result += [part for value, part in parts.items() if value is not None and len(part) > 1]
    return result


def _size(clip: Clip) -> int | None:
    try:
        return clip.size if clip.size >= 0 else clip.source.stat().st_size or None
    except OSError:
        return None


def _digest(clip: Clip, head: int | None = None) -> str | None:
    """Digest of the content, or of `head` bytes from its middle."""
    try:
        if head is None:
            return digest(clip.content())
        middle = max((_size(clip) or 0) // 2 - head // 2, 0)
        return digest(dataclasses.replace(clip, offset=clip.offset + middle, size=head).content())
    except DataError:
        return None
