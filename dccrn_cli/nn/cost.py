"""Size and cost of a network."""

from __future__ import annotations

import itertools

from torch import nn

from dccrn_cli.nn.config import FREQ_KERNEL, FREQ_STRIDE, SAMPLE_RATE, TIME_KERNEL, DCCRNConfig


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers in a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs_per_second(config: DCCRNConfig) -> float:
    """Real multiply-accumulates for one second of mono audio.

    Counted are convolutions (at output positions), transposed convolutions (at input positions;
    counted at output positions they would come to twice as much), LSTM and linear layers and the
    STFT as matrix products. Norms, activations and the mask are left out.
    """
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
        lstm = sum(4 * (4 * units // 2 * (i // 2 + units // 2)) for i in [width] + [units] * (layers - 1))
        linear = 2 * (units // 2) * (width // 2)
    else:
        lstm = sum(4 * units * (i + units) for i in [width] + [units] * (layers - 1))
        linear = units * width
    stft = 2 * config.win_length * (config.n_fft + 2)
    return (macs + lstm + linear + stft) * SAMPLE_RATE / config.hop_length
