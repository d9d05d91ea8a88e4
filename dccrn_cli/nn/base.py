"""Configuration shared by all networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from dccrn_cli.errors import OptionError

SAMPLE_RATE = 16_000
"""Sample rate in Hz of every network in this package."""

Window = Literal["hann", "sqrt_hann", "hamming"]
_WINDOWS = ("hann", "sqrt_hann", "hamming")

MAX_FFT, MAX_LAYERS, MAX_FRAMES, MAX_OVERLAP = 2048, 64, 256, 64
"""Bounds on what a model file may ask for: FFT size, layers, frames in a kernel, and FFT size over hop length."""

Rule = tuple[bool, str]
"""A condition, and the message if it fails."""


@dataclass(frozen=True)
class NetworkConfig:
    """STFT and timing of a network; each architecture adds its own sizes.

    Attributes:
        n_fft, win_length, hop_length: STFT sizes in samples at 16 kHz.
        window: analysis and synthesis window, periodic.
        look_ahead: future frames that an output frame depends on.
        clamp: limit the output to full scale.
        level_tracking: divide the network's input by its running level, so that the output follows
            the gain of the input exactly.
    """

    architecture: ClassVar[str]

    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 100
    window: Window = "hann"
    look_ahead: int = 0
    clamp: bool = False
    level_tracking: bool = False

    def __post_init__(self) -> None:
        if not all(isinstance(number, int) for number in self._whole_numbers()):
            raise OptionError("sizes must be whole numbers")
        for holds, message in self._rules():
            if not holds:
                raise OptionError(message)

    def _whole_numbers(self) -> Iterable[object]:
        """Values that must be whole numbers before the rules are checked."""
        return self.n_fft, self.win_length, self.hop_length, self.look_ahead

    def _rules(self) -> list[Rule]:
        """Conditions that the configuration must meet."""
        return [
            (0 < self.hop_length <= self.win_length // 2, "hop_length must be at most half of win_length"),
            (self.win_length <= self.n_fft, "win_length must not exceed n_fft"),
            (self.n_fft % 2 == 0 and self.n_fft <= MAX_FFT, f"n_fft must be even and at most {MAX_FFT}"),
            (self.n_fft <= MAX_OVERLAP * self.hop_length, f"hop_length must be at least n_fft / {MAX_OVERLAP}"),
            (self.look_ahead >= 0, "look_ahead must not be negative"),
            (self.window in _WINDOWS, f"window must be one of {', '.join(_WINDOWS)}"),
        ]

    @property
    def overlap(self) -> int:
        """Samples by which adjacent windows overlap, which is also the padding at each end."""
        return self.win_length - self.hop_length

    @property
    def latency_samples(self) -> int:
        """Samples of input after sample n that are needed before output n is final."""
        return self.look_ahead * self.hop_length + self.win_length - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data for metadata."""
        return {"architecture": self.architecture, **dataclasses.asdict(self)}
