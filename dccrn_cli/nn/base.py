"""What the configurations of all networks share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from dccrn_cli.errors import OptionError

SAMPLE_RATE = 16_000
"""Sample rate in Hz at which every network of this package works."""

Window = Literal["hann", "sqrt_hann", "hamming"]
_WINDOWS = ("hann", "sqrt_hann", "hamming")

Rule = tuple[bool, str]
"""Whether something holds, and what to say if not."""


@dataclass(frozen=True)
class NetworkConfig:
    """The STFT and the timing of a network; each architecture adds its sizes.

    Attributes:
        n_fft, win_length, hop_length: STFT sizes in samples at 16 kHz.
        window: analysis and synthesis window, periodic.
        look_ahead: frames of future that an output frame depends on.
        clamp: limit the output to full scale.
        level_tracking: divide what the network sees by the running level of the input, so that
            the output follows the input's gain exactly.
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
        """What must be whole numbers before the rules are looked at."""
        return self.n_fft, self.win_length, self.hop_length, self.look_ahead

    def _rules(self) -> list[Rule]:
        """What must hold."""
        return [
            (0 < self.hop_length <= self.win_length // 2, "hop_length must be at most half of win_length"),
            (self.win_length <= self.n_fft, "win_length must not exceed n_fft"),
            (self.n_fft % 2 == 0, "n_fft must be even"),
            (self.look_ahead >= 0, "look_ahead must not be negative"),
            (self.window in _WINDOWS, f"window must be one of {', '.join(_WINDOWS)}"),
        ]

    @property
    def overlap(self) -> int:
        """Samples by which neighbouring windows overlap; the padding at each end."""
        return self.win_length - self.hop_length

    @property
    def latency_samples(self) -> int:
        """Samples of input after sample n that are needed before output n is final."""
        return self.look_ahead * self.hop_length + self.win_length - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for metadata."""
        return {"architecture": self.architecture, **dataclasses.asdict(self)}
