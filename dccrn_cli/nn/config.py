"""Configuration of the DCCRN, and presets of all networks by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from dccrn_cli.errors import CheckpointError, OptionError
from dccrn_cli.nn.base import MAX_LAYERS, SAMPLE_RATE, NetworkConfig, Rule
from dccrn_cli.nn.systems import CRNConfig, DCUNetConfig, LSTMConfig

__all__ = ["DCCRN_PRESETS", "PRESETS", "SAMPLE_RATE", "DCCRNConfig", "NetworkConfig", "config_from_dict", "preset"]

FREQ_KERNEL = 5
FREQ_STRIDE = 2
TIME_KERNEL = 2

MaskKind = Literal["R", "C", "E", "M"]


@dataclass(frozen=True)
class DCCRNConfig(NetworkConfig):
    """The shape of a DCCRN (Hu et al., Interspeech 2020).

    Attributes:
        channels: channels of each encoder layer, real and imaginary parts counted together.
        freq_kernels: kernel size in bins of each encoder layer; empty for 5 everywhere, as in the paper.
            The decoder mirrors them.
        skip: how skip connections join the decoder: "concat" along channels, as in the paper, or "add".
        activation: "prelu" with one slope per layer, as in the paper, or "leaky-relu", which trains faster.
        dual_path_blocks: number of blocks of recurrence along frequency, then along time with weights
            shared by all bins; 0 for the paper's LSTM over all features of a frame.
        intra_units: LSTM units along frequency in dual-path blocks, per direction.
        rnn_units: LSTM units per layer; with `complex_rnn`, real and imaginary together; in dual-path
            blocks, those along time.
        rnn_layers: LSTM layers.
        complex_rnn: use a complex LSTM (DCCRN-CL) instead of a real one.
        complex_norm: use complex batch norm (whitening, Trabelsi et al. 2018) instead of plain.
        mask: how the mask is applied to the spectrum: R per part (paper eq. 7), C complex product
            (eq. 8), E polar with the magnitude bounded by tanh (eq. 9), M the mask's magnitude
            alone, which keeps the noisy phase: for training on magnitudes, which carry no phase.
        look_ahead: future frames that the decoder sees, one per decoder layer, deepest first.
        compression: exponent on the magnitudes that the encoder sees (1: unchanged).
        magnitude_input: also feed the encoder the magnitudes, as a second complex channel with zero
            imaginary part.
        clamp: limit the output to full scale, as the authors' public code does.
    """

    architecture: ClassVar[str] = "dccrn"

    look_ahead: int = 6
    clamp: bool = True
    channels: tuple[int, ...] = (32, 64, 128, 128, 256, 256)
    freq_kernels: tuple[int, ...] = ()
    skip: Literal["concat", "add"] = "concat"
    activation: Literal["prelu", "leaky-relu"] = "prelu"
    dual_path_blocks: int = 0
    intra_units: int = 48
    rnn_units: int = 256
    rnn_layers: int = 2
    complex_rnn: bool = False
    complex_norm: bool = False
    mask: MaskKind = "E"
    compression: float = 1.0
    magnitude_input: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "freq_kernels", tuple(self.freq_kernels))
        super().__post_init__()

    def _whole_numbers(self) -> Iterable[object]:
        units = (self.intra_units, self.rnn_units, self.rnn_layers)
        return *super()._whole_numbers(), *self.channels, *self.freq_kernels, self.dual_path_blocks, *units

    def _rules(self) -> list[Rule]:
        depth = len(self.channels)
        return [
            *super()._rules(),
            (depth > 0, "channels must not be empty"),
            (all(c > 0 and c % 2 == 0 for c in self.channels), "channels must be even"),
            (self.n_fft % FREQ_STRIDE ** (depth + 1) == 0, f"n_fft must be divisible by {FREQ_STRIDE ** (depth + 1)}"),
            (self.look_ahead <= depth, f"look_ahead must be 0 to {depth}"),
            (
                not self.freq_kernels
                or (len(self.freq_kernels) == depth and all(size > 0 and size % 2 for size in self.freq_kernels)),
                "freq_kernels must be one odd number per layer",
            ),
            (max(self.kernel_sizes, default=0) < self.n_fft, "freq_kernels must be smaller than n_fft"),
            (self.skip in ("concat", "add"), "skip must be concat or add"),
            (self.activation in ("prelu", "leaky-relu"), "activation must be prelu or leaky-relu"),
            (self.dual_path_blocks >= 0, "dual_path_blocks must not be negative"),
            (self.intra_units > 0, "intra_units must be positive"),
            (not (self.dual_path_blocks and self.complex_rnn), "dual-path blocks cannot use a complex LSTM"),
            (0 < self.rnn_layers <= MAX_LAYERS, f"rnn_layers must be 1 to {MAX_LAYERS}"),
            (self.dual_path_blocks <= MAX_LAYERS, f"dual_path_blocks must be at most {MAX_LAYERS}"),
            (self.rnn_units > 0 and self.rnn_units % 2 == 0, "rnn_units must be even"),
            (0.0 < self.compression <= 1.0, "compression must be above 0 and at most 1"),
            (self.mask in get_args(MaskKind), "mask must be R, C, E or M"),
        ]

    @property
    def bins(self) -> int:
        """Frequency bins that the network sees: all but DC."""
        return self.n_fft // 2

    @property
    def input_channels(self) -> int:
        """Input channels of the encoder, real and imaginary counted together."""
        return 4 if self.magnitude_input else 2

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """Kernel size in bins of each encoder layer."""
        return self.freq_kernels or (FREQ_KERNEL,) * len(self.channels)

    @property
    def inner_bins(self) -> int:
        """Bins between encoder and decoder."""
        return self.bins >> len(self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for metadata. The architecture is omitted, as in files that predate the other architectures."""
        return dataclasses.asdict(self)


_ARCHITECTURES: Mapping[str, type[NetworkConfig]] = {
    config.architecture: config for config in (DCCRNConfig, CRNConfig, LSTMConfig, DCUNetConfig)
}


def config_from_dict(data: Mapping[str, Any]) -> NetworkConfig:
    """Inverse of `NetworkConfig.to_dict`; data without an architecture describe a DCCRN.

    Raises:
        CheckpointError: unknown fields or invalid values.
    """
    fields = dict(data)
    architecture = fields.pop("architecture", DCCRNConfig.architecture)
    if architecture not in _ARCHITECTURES:
        raise CheckpointError(f"unknown architecture {architecture!r}; choose from {', '.join(_ARCHITECTURES)}")
    try:
        return _ARCHITECTURES[architecture](**fields)
    except (TypeError, LookupError, ValueError, OptionError) as error:
        raise CheckpointError(f"invalid {architecture} configuration: {error}") from None


_LSTM = DCCRNConfig(
    mask="C",
    win_length=512,
    hop_length=256,
    window="sqrt_hann",
    compression=0.3,
    level_tracking=True,
    magnitude_input=True,
    clamp=False,
)

_DUAL_PATH = dataclasses.replace(
    _LSTM,
    channels=(32, 64, 96, 128),
    freq_kernels=(5, 3, 3, 3),
    skip="add",
    activation="leaky-relu",
    dual_path_blocks=2,
    intra_units=64,
    rnn_units=128,
    look_ahead=3,
)

DCCRN_PRESETS: Mapping[str, DCCRNConfig] = {
    "dccrn": dataclasses.replace(_DUAL_PATH, dual_path_blocks=3),
    "dccrn-small": dataclasses.replace(_DUAL_PATH, channels=(16, 32, 48, 64), intra_units=32, rnn_units=64),
    "dccrn-live": dataclasses.replace(
        _DUAL_PATH, channels=(32, 48, 64, 96), intra_units=48, rnn_units=96, look_ahead=0
    ),
    "dccrn-r": DCCRNConfig(mask="R"),
    "dccrn-c": DCCRNConfig(mask="C"),
    "dccrn-e": DCCRNConfig(mask="E"),
    "dccrn-cl": DCCRNConfig(channels=(32, 64, 128, 256, 256, 256), complex_rnn=True),
    "dccrn-lstm": _LSTM,
    "dccrn-lstm-small": dataclasses.replace(_LSTM, channels=(16, 32, 64, 64, 128, 128), rnn_units=128),
}
"""DCCRNs by name: this package's own and those of the paper."""

PRESETS: Mapping[str, NetworkConfig] = {
    **DCCRN_PRESETS,
    "crn": CRNConfig(),
    "complex-crn": CRNConfig(
        n_fft=512,
        win_length=400,
        hop_length=100,
        window="hann",
        look_ahead=6,
        channels=(16, 32, 64, 128, 256, 256),
        freq_padding=1,
        rnn_units=256,
        target="complex",
    ),
    "lstm": LSTMConfig(),
    "dcunet": DCUNetConfig(),
}
"""Networks by name: this package's own, the DCCRN paper's, and those the paper compares with."""


def preset(name: str) -> NetworkConfig:
    """The configuration of the preset with that name.

    Raises:
        OptionError: no such preset.
    """
    try:
        return PRESETS[name.lower()]
    except KeyError:
        raise OptionError(f"no preset named {name!r}; choose from {', '.join(PRESETS)}") from None
