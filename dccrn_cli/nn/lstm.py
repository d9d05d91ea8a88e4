"""The LSTM baseline of the DCCRN paper: magnitude masking with little besides LSTM layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.nn.network import RealTimeConv, SpectralNetwork, Timeline
from dccrn_cli.nn.systems import LSTMConfig

_MASK_OF_ONE = math.log(math.e - 1)
"""Inverse softplus of 1."""


class LSTMMask(SpectralNetwork):
    """A convolution over frames, LSTM layers and a linear layer with softplus, giving a mask for magnitudes.

    The paper does not specify where the convolution sits, what its input is, or the activation of the
    mask. A new network starts close to the identity.

    Args:
        config: sizes (`LSTMConfig`).
    """

    config: LSTMConfig

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.conv = RealTimeConv(
            nn.Conv1d(config.bins, config.bins, config.kernel), config.kernel - 1, config.look_ahead
        )
        self.lstm = nn.LSTM(config.bins, config.units, config.layers, batch_first=True)
        self.linear = nn.Linear(config.units, config.bins)
        with torch.no_grad():
            self.linear.bias.fill_(_MASK_OF_ONE)

    def features(self, spectrum: Tensor) -> Tensor:
        return spectrum.square().sum(1) ** (self.config.compression / 2)

    def core(self, features: Tensor, timeline: Timeline) -> Tensor:
        x = self.conv(features, timeline).transpose(1, 2)
        y: Tensor = self.linear(timeline.run_lstm(self.lstm, x))
        return y.transpose(1, 2)[:, None]

    def apply_output(self, y: Tensor, spectrum: Tensor) -> Tensor:
        return spectrum * F.softplus(y)
