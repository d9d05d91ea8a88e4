"""Mixing options: probabilities and ranges, validated, and read from a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dccrn_cli.errors import OptionError
from dccrn_cli.nn.base import SAMPLE_RATE
from dccrn_cli.utils.toml_options import from_table

Target = Literal["reverberant", "early", "dry"]
"""The part of reverberant speech that the target contains."""

T60_S = (0.15, 2.5)
"""Range of the reverberation time of simulated rooms."""

PROBABILITIES = (
    "low_snr", "clean", "noise_only", "lead_in", "digital_start", "pauses", "second_noise", "babble", "synthetic",
    "tonal", "talkers", "reverb", "equaliser", "band_limit", "clipping", "codec", "speed",
)  # fmt: skip
"""Options that are probabilities."""

_LIMITS: Mapping[str, tuple[float, float]] = {
    "seconds": (0.1, 600.0),
    "snr_db": (-100.0, 100.0),
    "low_snr_db": (-100.0, 100.0),
    "level_db": (-100.0, 0.0),
    "lead_in_s": (0.0, 600.0),
    "pause_s": (0.0, 600.0),
    "talkers_db": (0.0, 100.0),
    "floor_db": (-200.0, 0.0),
    "clipping_db": (0.0, 60.0),
    "speed_range": (0.0, 0.5),
    "t60_s": (0.05, 20.0),
    "simulated_rooms": (1, 1_000_000),
}

AS_THEY_ARE: Mapping[str, float] = dict.fromkeys(PROBABILITIES, 0.0)
"""Options for plain mixtures of speech and recorded noise, without any further processing."""


@dataclass(frozen=True)
class MixingOptions:
    """How examples are made. Probabilities are per example.

    Speech and noise undergo the same processing, each at random or both together: a trace found in only
    one of them, such as a resampler's edge at the top of the band, would give it away.

    Attributes:
        seconds: length of an example.
        snr_db: range of the ratio of active speech to noise.
        low_snr: share of examples with an SNR from `low_snr_db` instead, where there is most to learn.
        low_snr_db: range of the SNR of these examples.
        level_db: range of the level of active speech in dBFS.
        clean: no noise at all.
        noise_only: no speech at all; the target is the faint noise of `floor_db`.
        lead_in: noise alone before the speech starts, as in recordings.
        lead_in_s: range of its length; at most half of the example.
        digital_start: share of the lead-ins whose first part is digital silence, in mixture and target.
        pauses: a long pause in the middle of speech.
        pause_s: range of its length; lead-in and pause take at most half of the example together.
        second_noise: a second noise on top.
        babble: three to ten other speakers as the noise, given for the middle of `snr_db`; more likely at a
            lower SNR. The SNR is raised if one of them would be louder than the target.
        synthetic: generated noise (`noises`) as the noise, given for the middle of `snr_db`.
        tonal: generated tones, motors and signals (`tonal`) as the noise, given for the middle of `snr_db`.
        talkers: one to four other speakers, with or without noise, silent in the lead-in. Needs a second
            group of speech.
        talkers_db: range of the level of each of them below the target.
        reverb: speech in a room, and half of the time the noise elsewhere in it.
        target: what the target keeps of speech in a room: `reverberant` all of it, `early` the
            direct sound and the first 50 ms after it, `dry` the direct sound.
        t60_s: range of the reverberation time of simulated rooms.
        simulated_rooms: number of simulated rooms.
        equaliser: a random tilt and resonance on speech and noise.
        band_limit: speech and noise lose their high frequencies.
        clipping: the peaks of the mixture are clipped; those of the target are not.
        clipping_db: range of the clipping level below the highest peak.
        codec: the mixture is encoded and decoded (`codecs`). The target is only limited to the band
            that the codec preserves: coding noise should be removed, but nothing invented.
        speed: share of clips, of speech and of noise, whose speed is changed.
        speed_range: largest relative change of speed in either direction.
        floor_db: range of the faint noise in both mixture and target, relative to active speech.

    Raises:
        OptionError: a value is out of range.
    """

    seconds: float = 4.0
    snr_db: tuple[float, float] = (-8.0, 22.0)
    low_snr: float = 0.0
    low_snr_db: tuple[float, float] = (-5.0, 5.0)
    level_db: tuple[float, float] = (-45.0, -15.0)
    clean: float = 0.04
    noise_only: float = 0.03
    lead_in: float = 0.33
    lead_in_s: tuple[float, float] = (0.2, 1.5)
    digital_start: float = 0.15
    pauses: float = 0.15
    pause_s: tuple[float, float] = (0.4, 1.5)
    second_noise: float = 0.25
    babble: float = 0.1
    synthetic: float = 0.07
    tonal: float = 0.15
    talkers: float = 0.12
    talkers_db: tuple[float, float] = (6.0, 24.0)
    reverb: float = 0.4
    target: Target = "reverberant"
    t60_s: tuple[float, float] = T60_S
    simulated_rooms: int = 1000
    equaliser: float = 0.3
    band_limit: float = 0.05
    clipping: float = 0.02
    clipping_db: tuple[float, float] = (2.0, 15.0)
    codec: float = 0.03
    speed: float = 0.4
    speed_range: float = 0.1
    floor_db: tuple[float, float] = (-80.0, -60.0)

    def __post_init__(self) -> None:
        for name in PROBABILITIES:
            _check(name, getattr(self, name), 0.0, 1.0)
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            span = value if isinstance(value, tuple) else (value, value)
            for end in span:
                _check(name, end, low, high)
            if span[0] > span[1]:
                raise OptionError(f"{name} must not end below its start: {span[0]:g} to {span[1]:g}")
        if self.target not in get_args(Target):
            raise OptionError(f"target must be one of {', '.join(get_args(Target))}, not {self.target!r}")

    @property
    def samples(self) -> int:
        """Length of an example in samples."""
        return round(self.seconds * SAMPLE_RATE)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> MixingOptions:
        """Options from a TOML table; names with dashes or underscores, ranges as lists.

        Raises:
            OptionError: an unknown name or an invalid value; the message names the field.
        """
        return from_table(cls(), table, "mixing")


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{name} must be between {low:g} and {high:g}, not {value:g}")
