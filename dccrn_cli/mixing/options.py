"""How training examples are made: probabilities and ranges, checked, and read from a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dccrn_cli.errors import OptionError
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.utils.toml_options import from_table

Target = Literal["reverberant", "early", "dry"]
"""What is kept of speech in a room."""

_PROBABILITIES = (
    "clean", "second_noise", "babble", "synthetic", "reverb", "equaliser", "band_limit", "clipping", "codec", "speed"
)  # fmt: skip

_LIMITS: Mapping[str, tuple[float, float]] = {
    "seconds": (0.1, 600.0),
    "snr_db": (-100.0, 100.0),
    "level_db": (-100.0, 0.0),
    "floor_db": (-200.0, 0.0),
    "clipping_db": (0.0, 60.0),
    "speed_range": (0.0, 0.5),
    "t60_s": (0.05, 20.0),
    "simulated_rooms": (1, 1_000_000),
}


@dataclass(frozen=True)
class MixingOptions:
    """How examples are made. Probabilities are per example.

    Speech and noise go through the same processing, each by its own chance or both together: what
    only one of them had, such as the edge of a resampler at the top of the band, would give it away.

    Attributes:
        seconds: length of an example.
        snr_db: range of the ratio of active speech to noise.
        level_db: range of the level of active speech, dBFS.
        clean: no noise at all.
        second_noise: a second noise on top.
        babble: several other speakers as the noise.
        synthetic: a generated noise as the noise, of those that babble leaves; see `noises`.
        reverb: speech, and half of the time the noise elsewhere, in a room.
        target: what the target holds of speech in a room: `reverberant` all of it, `early` the
            direct sound and the first 50 ms after it, `dry` the direct sound.
        t60_s: range of the reverberation time of simulated rooms.
        simulated_rooms: how many of them there are.
        equaliser: a random tilt and resonance on speech and noise.
        band_limit: speech and noise lose their high frequencies.
        clipping: the mixture is cut off at its peaks; the target is not.
        clipping_db: range of how far below the highest peak.
        codec: the mixture is coded and decoded; see `codecs`. The target is not, but has no more
            than the band that the codec leaves: noise of coding is to be removed, nothing invented.
        speed: share of clips, of speech and of noise, whose speed is changed.
        speed_range: largest relative change, either way.
        floor_db: range of the faint noise that speech and target both carry, below active speech.

    Raises:
        OptionError: a value that cannot be meant.
    """

    seconds: float = 4.0
    snr_db: tuple[float, float] = (-8.0, 22.0)
    level_db: tuple[float, float] = (-45.0, -15.0)
    clean: float = 0.04
    second_noise: float = 0.25
    babble: float = 0.1
    synthetic: float = 0.1
    reverb: float = 0.4
    target: Target = "reverberant"
    t60_s: tuple[float, float] = (0.15, 2.5)
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
        for name in _PROBABILITIES:
            _check(name, getattr(self, name), 0.0, 1.0)
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            span = value if isinstance(value, tuple) else (value, value)
            for end in span:
                _check(name, end, low, high)
            if span[0] > span[1]:
                raise OptionError(f"{name} ends below its start: {span[0]:g} to {span[1]:g}")
        if self.target not in get_args(Target):
            raise OptionError(f"target must be one of {', '.join(get_args(Target))}, not {self.target!r}")

    @property
    def samples(self) -> int:
        """Length of an example in samples."""
        return round(self.seconds * SAMPLE_RATE)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> MixingOptions:
        """Options from a table as TOML gives it; names with dashes or underscores, ranges as lists.

        Raises:
            OptionError: an unknown name, or a value that cannot be meant; it names the field.
        """
        return from_table(cls(), table, "mixing")


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")
