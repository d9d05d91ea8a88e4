"""Convolutional recurrent networks that map spectra to spectra (Tan & Wang 2018, 2019)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.nn.network import ConvBlock, RealTimeConv, SpectralNetwork, Timeline
from dccrn_cli.nn.systems import CRN_FREQ_KERNEL, CRN_TIME_KERNEL, CRNConfig

_KERNEL, _STRIDE = (CRN_FREQ_KERNEL, CRN_TIME_KERNEL), (2, 1)
_REACH = CRN_TIME_KERNEL - 1
_TINY = 1e-12

_FAINT_SOFTPLUS, _FAINT_WEIGHTS = -4.0, 0.1
"""Where the last layers of a new network start. Speech is sparse: most bins are much fainter than 1."""

_CARRIERS, _CARRIED, _BIN_LEVEL = 8, 0.05, 0.35
"""Channels that carry the input through a new network unchanged, their level, and that of the input's bins: a
value x travels as ELU(x) - ELU(-x), which is nearly linear for small values."""


class CRN(SpectralNetwork):
    """A convolutional encoder, LSTM layers, and one decoder per part of the spectrum.

    Spectra are divided by the tracked level and otherwise used as they are. Frames of digital silence stay
    silent whatever the biases. A new network for complex spectra starts as the identity,
    carried by the first skip connection if that has the eight channels needed. Other networks start with a faint
    estimate, since one louder than the speech takes longer to unlearn.

    Args:
        config: sizes and variants (`CRNConfig`).
    """

    config: CRNConfig

    def __init__(self, config: CRNConfig) -> None:
        super().__init__(config)
        sizes = (config.parts, *config.channels)
        depth = len(config.channels)
        self.encoder = nn.ModuleList(
            _encoder_block(sizes[layer], sizes[layer + 1], config.freq_padding) for layer in range(depth)
        )
        self.lstm = nn.LSTM(config.rnn_features, config.rnn_units, config.rnn_layers, batch_first=True)
        fits = config.rnn_units == config.rnn_features
        self.linear = nn.Identity() if fits else nn.Linear(config.rnn_units, config.rnn_features)
        self.decoders = nn.ModuleList(
            nn.ModuleList(self._decoder_block(index) for index in range(depth)) for _ in range(config.parts)
        )
        self._start_faint()
        if config.target == "complex" and config.freq_padding and config.channels[0] >= _CARRIERS:
            self._start_as_identity()

    @torch.no_grad()
    def _start_faint(self) -> None:
        for decoder in self.decoders:
            last = _last_block(decoder)
            if isinstance(last.norm, nn.BatchNorm2d):
                last.norm.bias.fill_(_FAINT_SOFTPLUS)
            else:
                for parameter in last.conv.parameters():
                    parameter.mul_(_FAINT_WEIGHTS)

    @torch.no_grad()
    def _start_as_identity(self) -> None:
        first, encoded = self.encoder[0], self.config.channels[0]
        assert isinstance(first, ConvBlock)
        encode, decode = first.get_parameter("conv.conv.weight"), []
        for decoder in self.decoders:
            last = _last_block(decoder)
            weight = last.get_parameter("conv.conv.weight")
            decode.append(weight[encoded:, 0, :, last.conv.future])
            weight[encoded : encoded + _CARRIERS] = 0.0
        encode[:_CARRIERS] = 0.0
        first.get_parameter("conv.conv.bias")[:_CARRIERS] = 0.0
        first.norm.get_parameter("weight")[:_CARRIERS] = _CARRIED
        # Each output bin of the encoder represents an even and an odd bin of the input, in the kernel's order.
        for channel, (part, tap, sign) in enumerate(itertools.product((0, 1), (1, 2), (1.0, -1.0))):
            encode[channel, part, tap, -1] = sign
            decode[part][channel, tap] = sign * _BIN_LEVEL / (2 * _CARRIED)

    def _decoder_block(self, index: int) -> ConvBlock:
        cfg = self.config
        level = len(cfg.channels) - 1 - index
        outputs = cfg.channels[level - 1] if level else 1
        output_padding = cfg.bins[level] - (2 * cfg.bins[level + 1] + 1 - 2 * cfg.freq_padding)
        conv = nn.ConvTranspose2d(
            2 * cfg.channels[level], outputs, _KERNEL, _STRIDE, (cfg.freq_padding, _REACH), (output_padding, 0)
        )  # fmt: skip
        norm = nn.BatchNorm2d(outputs) if level or cfg.target == "magnitude" else nn.Identity()
        return ConvBlock(
            RealTimeConv(conv, _REACH, future=int(index < cfg.look_ahead)), norm, nn.ELU() if level else nn.Identity()
        )

    def features(self, spectrum: Tensor) -> Tensor:
        if self.config.target == "complex":
            return spectrum
        return spectrum.square().sum(1, keepdim=True).sqrt()

    def core(self, features: Tensor, timeline: Timeline) -> Tensor:
        x, skips = features, []
        for layer in self.encoder:
            x = layer(x, timeline)
            skips.append(x)
        batch, channels, bins, frames = x.shape
        y = self.linear(timeline.run_lstm(self.lstm, x.permute(0, 3, 1, 2).flatten(2)))
        x = y.reshape(batch, frames, channels, bins).permute(0, 2, 3, 1).to(x.dtype)
        return torch.cat([self._decode(decoder, x, skips, timeline) for decoder in self.decoders], dim=1)

    @staticmethod
    def _decode(decoder: nn.Module, x: Tensor, skips: list[Tensor], timeline: Timeline) -> Tensor:
        assert isinstance(decoder, nn.ModuleList)
        for layer, skip in zip(decoder, reversed(skips), strict=True):
            x = layer(torch.cat([x, timeline.align(skip, x)], dim=1), timeline)
        return x

    def apply_output(self, y: Tensor, spectrum: Tensor) -> Tensor:
        power = spectrum.square().sum(1, keepdim=True)
        if self.config.target == "magnitude":
            return spectrum * (F.softplus(y) / (power + _TINY).sqrt())
        return y * (power.amax(2, keepdim=True) > 0)


def _last_block(decoder: nn.Module) -> ConvBlock:
    assert isinstance(decoder, nn.ModuleList)
    last = decoder[-1]
    assert isinstance(last, ConvBlock)
    return last


def _encoder_block(inputs: int, outputs: int, freq_padding: int) -> ConvBlock:
    conv = nn.Conv2d(inputs, outputs, _KERNEL, _STRIDE, (freq_padding, 0))
    return ConvBlock(RealTimeConv(conv, _REACH, future=0), nn.BatchNorm2d(outputs), nn.ELU())
