"""Configurations of the systems that the DCCRN paper compares with (Hu et al. 2020, sec. 3.2).

All track the level of their input: the streaming equivalent of normalising each recording before the network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from dccrn_cli.nn.base import MAX_FRAMES, MAX_LAYERS, NetworkConfig, Rule, Window

CRN_FREQ_KERNEL, CRN_TIME_KERNEL = 3, 2


@dataclass(frozen=True)
class CRNConfig(NetworkConfig):
    """A convolutional recurrent network that maps spectra to spectra.

    The defaults are the network of Tan & Wang (Interspeech 2018) for magnitudes.

    Attributes:
        channels: channels of each encoder layer; the decoder mirrors them.
        freq_padding: bins of zero padding on either side of each convolution's input.
        rnn_units, rnn_layers: size of the LSTM; a linear layer follows if its units differ in number
            from the features of a frame.
        target: `magnitude` with the noisy phase, or `complex` with one decoder for the real part
            and one for the imaginary part (Tan & Wang, ICASSP 2019).
        look_ahead: future frames that the decoder sees, one per layer, deepest first.
    """

    architecture: ClassVar[str] = "crn"

    n_fft: int = 320
    win_length: int = 320
    hop_length: int = 160
    window: Window = "hamming"
    level_tracking: bool = True
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    freq_padding: int = 0
    rnn_units: int = 1024
    rnn_layers: int = 2
    target: Literal["magnitude", "complex"] = "magnitude"

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        super().__post_init__()

    def _whole_numbers(self) -> Iterable[object]:
        return *super()._whole_numbers(), *self.channels, self.freq_padding, self.rnn_units, self.rnn_layers

    def _rules(self) -> list[Rule]:
        depth = len(self.channels)
        return [
            *super()._rules(),
            (depth > 0 and all(count > 0 for count in self.channels), "channels must be positive"),
            (self.freq_padding in (0, 1), "freq_padding must be 0 or 1"),
            (self.bins[-1] > 0, "n_fft is too small for this many layers"),
            (self.look_ahead <= depth, f"look_ahead must be 0 to {depth}"),
            (self.rnn_units > 0 and self.rnn_layers > 0, "rnn_units and rnn_layers must be positive"),
            (self.rnn_layers <= MAX_LAYERS, f"rnn_layers must be at most {MAX_LAYERS}"),
            (self.target in ("magnitude", "complex"), "target must be magnitude or complex"),
        ]

    @property
    def bins(self) -> tuple[int, ...]:
        """Frequency bins of the input and after each encoder layer."""
        step = 2 * self.freq_padding - CRN_FREQ_KERNEL
        return tuple(
            itertools.accumulate(self.channels, lambda bins, _: (bins + step) // 2 + 1, initial=self.n_fft // 2 + 1)
        )

    @property
    def parts(self) -> int:
        """Number of input channels and of decoders: 1 for magnitudes, 2 for real and imaginary parts."""
        return 1 if self.target == "magnitude" else 2

    @property
    def rnn_features(self) -> int:
        """Features per frame between encoder and decoder."""
        return self.bins[-1] * self.channels[-1]


@dataclass(frozen=True)
class LSTMConfig(NetworkConfig):
    """A convolution over frames, LSTM layers and a linear layer that mask magnitudes.

    Attributes:
        units, layers: size of the LSTM.
        kernel: frames that the convolution sees, `look_ahead` of them in the future.
        compression: exponent on the input magnitudes (1: unchanged).
    """

    architecture: ClassVar[str] = "lstm"

    look_ahead: int = 6
    level_tracking: bool = True
    units: int = 800
    layers: int = 2
    kernel: int = 7
    compression: float = 0.3

    def _whole_numbers(self) -> Iterable[object]:
        return *super()._whole_numbers(), self.units, self.layers, self.kernel

    def _rules(self) -> list[Rule]:
        return [
            *super()._rules(),
            (self.units > 0 and self.layers > 0, "units and layers must be positive"),
            (self.layers <= MAX_LAYERS, f"layers must be at most {MAX_LAYERS}"),
            (0 <= self.look_ahead < self.kernel, "look_ahead must be less than kernel"),
            (self.kernel <= MAX_FRAMES, f"kernel must be at most {MAX_FRAMES}"),
            (0.0 < self.compression <= 1.0, "compression must be above 0 and at most 1"),
        ]

    @property
    def bins(self) -> int:
        """Frequency bins, DC included."""
        return self.n_fft // 2 + 1


@dataclass(frozen=True)
class DCUNetConfig(NetworkConfig):
    """A deep complex U-Net (Choi et al., ICLR 2019) without strides in time.

    The defaults are DCUNET-16 with the channels and look-ahead of the DCCRN paper. With
    `look_ahead=22` all kernels are centred in time, as in the original.

    Attributes:
        channels: channels of each encoder layer, real and imaginary parts counted together.
        kernels: kernel size of each encoder layer, (bins, frames); the decoder mirrors them.
        complex_norm: batch norm that whitens complex numbers, as in the original, instead of plain.
        look_ahead: future frames. They go to the deepest decoder layers first and to the outermost
            encoder layers last, each taking as many as a centred kernel sees; all other layers are causal.
    """

    architecture: ClassVar[str] = "dcunet"

    look_ahead: int = 6
    level_tracking: bool = True
    channels: tuple[int, ...] = (72, 72, 144, 144, 144, 160, 160, 180)
    kernels: tuple[tuple[int, int], ...] = ((7, 5), (7, 5), (7, 5), (5, 3), (5, 3), (5, 3), (5, 3), (5, 3))
    complex_norm: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "kernels", tuple(map(tuple, self.kernels)))
        super().__post_init__()

    def _whole_numbers(self) -> Iterable[object]:
        return *super()._whole_numbers(), *self.channels, *itertools.chain(*self.kernels)

    def _rules(self) -> list[Rule]:
        depth = len(self.channels)
        most = 2 * sum(kernel[-1] // 2 for kernel in self.kernels)
        return [
            *super()._rules(),
            (depth > 0, "channels must not be empty"),
            (all(c > 0 and c % 2 == 0 for c in self.channels), "channels must be even"),
            (
                len(self.kernels) == depth and all(len(k) == 2 for k in self.kernels),
                "kernels must be one pair per layer",
            ),
            (all(size > 0 and size % 2 for kernel in self.kernels for size in kernel), "kernels must be odd"),
            (
                all(kernel[0] < self.n_fft and kernel[-1] <= MAX_FRAMES for kernel in self.kernels),
                f"kernels must be smaller than n_fft in bins and at most {MAX_FRAMES} frames",
            ),
            (self.n_fft % 2 ** (depth + 1) == 0, f"n_fft must be divisible by {2 ** (depth + 1)}"),
            (self.look_ahead <= most, f"look_ahead must be 0 to {most}"),
        ]

    @property
    def bins(self) -> tuple[int, ...]:
        """Frequency bins of the input, DC included, and after each encoder layer."""
        return tuple((self.n_fft // 2 >> depth) + 1 for depth in range(len(self.channels) + 1))

    @property
    def futures(self) -> tuple[int, ...]:
        """Future frames that each layer sees: encoder from the outside in, decoder from the inside out."""
        most = [frames // 2 for _, frames in self.kernels]
        order = [*reversed(most), *reversed(most)]  # decoder, then encoder, both deepest first
        given, left = [], self.look_ahead
        for count in order:
            given.append(min(count, left))
            left -= given[-1]
        depth = len(most)
        return *reversed(given[depth:]), *given[:depth]
