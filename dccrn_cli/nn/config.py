"""What sets one DCCRN apart from another: a frozen dataclass, and presets by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dccrn_cli.errors import CheckpointError, OptionError

SAMPLE_RATE = 16_000
"""Sample rate in Hz at which every network of this package works."""

FREQ_KERNEL = 5
FREQ_STRIDE = 2
TIME_KERNEL = 2

MaskKind = Literal["R", "C", "E"]
Window = Literal["hann", "sqrt_hann"]


@dataclass(frozen=True)
class DCCRNConfig:
    """The shape of a DCCRN (Hu et al., Interspeech 2020).

    Attributes:
        channels: channels of each encoder layer, real and imaginary parts counted together.
        rnn_units: LSTM units per layer; with `complex_rnn`, real and imaginary together.
        rnn_layers: LSTM layers.
        complex_rnn: a complex LSTM (DCCRN-CL) in place of a real one.
        complex_norm: complex batch norm (whitening, Trabelsi et al. 2018) in place of plain.
        mask: how the mask meets the spectrum: R per part (paper eq. 7), C complex product
            (eq. 8), E polar with the magnitude bounded by tanh (eq. 9).
        n_fft, win_length, hop_length: STFT sizes in samples at 16 kHz.
        window: analysis and synthesis window, both periodic.
        look_ahead: frames of future that the decoder sees, one per decoder layer, deepest first.
        compression: exponent on the magnitudes that the encoder sees (1: as they are).
        level_tracking: divide what the encoder sees by the running level of the input, so that
            the output follows the input's gain exactly.
        magnitude_input: show the encoder the magnitudes as well, as a second complex channel
            with no imaginary part.
        clamp: limit the output to full scale, as the authors' public code does.
    """

    channels: tuple[int, ...] = (32, 64, 128, 128, 256, 256)
    rnn_units: int = 256
    rnn_layers: int = 2
    complex_rnn: bool = False
    complex_norm: bool = False
    mask: MaskKind = "E"
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 100
    window: Window = "hann"
    look_ahead: int = 6
    compression: float = 1.0
    level_tracking: bool = False
    magnitude_input: bool = False
    clamp: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        depth = len(self.channels)
        integers = (*self.channels, self.rnn_units, self.rnn_layers, self.n_fft)
        integers += (self.win_length, self.hop_length, self.look_ahead)
        if not all(isinstance(number, int) for number in integers):
            raise OptionError("sizes must be whole numbers")
        rules = [
            (depth > 0, "channels must not be empty"),
            (all(c > 0 and c % 2 == 0 for c in self.channels), "channels must be even"),
            (self.n_fft % FREQ_STRIDE ** (depth + 1) == 0, f"n_fft must be divisible by {FREQ_STRIDE ** (depth + 1)}"),
            (0 < self.hop_length <= self.win_length // 2, "hop_length must be at most half of win_length"),
            (self.win_length <= self.n_fft, "win_length must not exceed n_fft"),
            (0 <= self.look_ahead <= depth, f"look_ahead must be 0 to {depth}"),
            (self.rnn_layers > 0, "rnn_layers must be positive"),
            (self.rnn_units > 0 and self.rnn_units % 2 == 0, "rnn_units must be even"),
            (0.0 < self.compression <= 1.0, "compression must be above 0 and at most 1"),
            (self.mask in ("R", "C", "E"), "mask must be R, C or E"),
            (self.window in ("hann", "sqrt_hann"), "window must be hann or sqrt_hann"),
        ]
        for holds, message in rules:
            if not holds:
                raise OptionError(message)

    @property
    def bins(self) -> int:
        """Frequency bins that the network sees: all but the constant one."""
        return self.n_fft // 2

    @property
    def input_channels(self) -> int:
        """Channels that the encoder sees, real and imaginary counted together."""
        return 4 if self.magnitude_input else 2

    @property
    def rnn_features(self) -> int:
        """Features per frame between encoder and decoder."""
        return (self.bins >> len(self.channels)) * self.channels[-1]

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
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DCCRNConfig:
        """Inverse of `to_dict`.

        Raises:
            CheckpointError: unknown or impossible fields.
        """
        try:
            return cls(**data)
        except (TypeError, OptionError) as error:
            raise CheckpointError(f"not a DCCRN configuration: {error}") from None


_SMALL = DCCRNConfig(
    channels=(16, 32, 64, 64, 128, 128),
    rnn_units=128,
    mask="C",
    win_length=512,
    hop_length=256,
    window="sqrt_hann",
    compression=0.3,
    level_tracking=True,
    magnitude_input=True,
    clamp=False,
)

PRESETS: Mapping[str, DCCRNConfig] = {
    "dccrn-r": DCCRNConfig(mask="R"),
    "dccrn-c": DCCRNConfig(mask="C"),
    "dccrn-e": DCCRNConfig(mask="E"),
    "dccrn-cl": DCCRNConfig(channels=(32, 64, 128, 256, 256, 256), complex_rnn=True),
    "dccrn": dataclasses.replace(_SMALL, channels=(32, 64, 128, 128, 256, 256), rnn_units=256),
    "dccrn-small": _SMALL,
}


def preset(name: str) -> DCCRNConfig:
    """The configuration of that name.

    Raises:
        OptionError: no such preset.
    """
    try:
        return PRESETS[name.lower()]
    except KeyError:
        raise OptionError(f"no preset named {name!r}; there are {', '.join(PRESETS)}") from None
