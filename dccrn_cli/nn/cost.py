"""Size and cost of a network."""

from __future__ import annotations

import itertools

from torch import nn

from dccrn_cli.nn.base import NetworkConfig
from dccrn_cli.nn.config import FREQ_KERNEL, FREQ_STRIDE, SAMPLE_RATE, TIME_KERNEL, DCCRNConfig
from dccrn_cli.nn.systems import CRN_FREQ_KERNEL, CRN_TIME_KERNEL, CRNConfig, DCUNetConfig, LSTMConfig


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers in a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs_per_second(config: NetworkConfig) -> float:
    """Real multiply-accumulates for one second of mono audio.

    Counted are convolutions (at output positions), transposed convolutions (at input positions;
    counted at output positions they would come to twice as much), LSTM and linear layers and the
    STFT as matrix products. Norms, activations and the mask are left out.
    """
    if isinstance(config, CRNConfig):
        macs = _crn(config)
    elif isinstance(config, LSTMConfig):
        macs = _lstm_mask(config)
    elif isinstance(config, DCUNetConfig):
        macs = _dcunet(config)
    else:
        assert isinstance(config, DCCRNConfig)
        macs = _dccrn(config)
    stft = 2 * config.win_length * (config.n_fft + 2)
    return (macs + stft) * SAMPLE_RATE / config.hop_length


def _lstm(inputs: int, units: int, layers: int) -> int:
    return sum(4 * units * (i + units) for i in [inputs] + [units] * (layers - 1))


def _dccrn(config: DCCRNConfig) -> int:
    """Per frame, as the others."""
    taps = FREQ_KERNEL * TIME_KERNEL
    sizes = (2, *config.channels)
    bins = config.bins
    macs = (config.input_channels - 2) * config.channels[0] * taps * bins // FREQ_STRIDE
    for inputs, outputs in itertools.pairwise(sizes):
        bins //= FREQ_STRIDE
        encoder = inputs * outputs * taps * bins
        decoder = 2 * outputs * inputs * taps * bins
        macs += encoder + decoder
    layers, width, units = config.rnn_layers, config.rnn_features, config.rnn_units
    if config.complex_rnn:
        # Two LSTMs of half size, each run on both parts.
        lstm = 4 * _lstm(width // 2, units // 2, layers)
        linear = 2 * (units // 2) * (width // 2)
    else:
        lstm = _lstm(width, units, layers)
        linear = units * width
    return macs + lstm + linear


def _crn(config: CRNConfig) -> int:
    taps = CRN_FREQ_KERNEL * CRN_TIME_KERNEL
    macs = 0
    for layer, (outputs, bins) in enumerate(zip(config.channels, config.bins[1:], strict=True)):
        inputs = config.channels[layer - 1] if layer else config.parts
        decoded = config.channels[layer - 1] if layer else 1
        macs += (inputs + config.parts * 2 * decoded) * outputs * taps * bins
    units, width = config.rnn_units, config.rnn_features
    return macs + _lstm(width, units, config.rnn_layers) + (units * width if units != width else 0)


def _lstm_mask(config: LSTMConfig) -> int:
    bins, units = config.bins, config.units
    return config.kernel * bins**2 + _lstm(bins, units, config.layers) + units * bins


def _dcunet(config: DCUNetConfig) -> int:
    macs = 0
    inner = len(config.channels) - 1
    for layer, (inputs, outputs) in enumerate(itertools.pairwise((2, *config.channels))):
        freq, time = config.kernels[layer]
        decoder = 1 if layer == inner else 2  # the innermost has no skip connection
        macs += (1 + decoder) * inputs * outputs * freq * time * config.bins[layer + 1]
    return macs
