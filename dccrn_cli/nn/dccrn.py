"""The DCCRN of Hu et al. (Interspeech 2020): a complex convolutional encoder and decoder around an LSTM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from dccrn_cli.nn.config import TIME_KERNEL, DCCRNConfig, MaskKind
from dccrn_cli.nn.layers import (
    INIT_STD,
    ComplexBatchNorm,
    ComplexConv,
    ComplexLSTM,
    DualPath,
    PReLU,
    RealLSTM,
)
from dccrn_cli.nn.network import ConvBlock, SpectralNetwork, Timeline

IDENTITY: Mapping[MaskKind, tuple[float, float]] = {"R": (1.0, 1.0), "C": (1.0, 0.0), "E": (1.5, 0.0), "M": (1.0, 0.0)}
"""Real and imaginary parts of the mask that a new network starts from."""

_TINY = 1e-12
_LEAK = 0.15


class DCCRN(SpectralNetwork):
    """Deep Complex Convolution Recurrent Network.

    Args:
        config: sizes and variants (`DCCRNConfig`).

    A new network starts near the identity: its mask is 1 wherever the mask layer's input is 0.
    """

    config: DCCRNConfig
    first_bin = 1

    def __init__(self, config: DCCRNConfig) -> None:
        super().__init__(config)
        self.encoder = nn.ModuleList(
            self._block(ComplexConv(i, o, (size, TIME_KERNEL), std=self._init_std))
            for i, o, size in zip(
                (config.input_channels, *config.channels[:-1]), config.channels, config.kernel_sizes, strict=True
            )
        )
        self.bottleneck = nn.ModuleList(self._bottleneck())
        self.decoder = nn.ModuleList()
        depth = len(config.channels)
        for index, layer in enumerate(reversed(range(depth))):
            conv = ComplexConv(
                (config.channels[layer],) * (2 if config.skip == "concat" else 1),
                config.channels[layer - 1] if layer else 2,
                (config.kernel_sizes[layer], TIME_KERNEL),
                future=int(index < config.look_ahead),
                transposed=True,
                output_padding=1,
                std=self._init_std,
            )
            self.decoder.append(self._block(conv) if layer else ConvBlock(conv))
        conv.start_at(*IDENTITY[config.mask])

    @property
    def _init_std(self) -> float | None:
        return None if self.config.dual_path_blocks else INIT_STD

    def _block(self, conv: ComplexConv) -> ConvBlock:
        norm = ComplexBatchNorm if self.config.complex_norm else nn.BatchNorm2d
        activation = PReLU() if self.config.activation == "prelu" else nn.LeakyReLU(_LEAK)
        return ConvBlock(conv, norm(conv.out_channels), activation)

    def _bottleneck(self) -> Iterator[nn.Module]:
        cfg = self.config
        if cfg.dual_path_blocks:
            for _ in range(cfg.dual_path_blocks):
                yield DualPath(cfg.channels[-1], cfg.inner_bins, cfg.intra_units, cfg.rnn_units)
        else:
            rnn = ComplexLSTM if cfg.complex_rnn else RealLSTM
            yield rnn(cfg.inner_bins * cfg.channels[-1], cfg.rnn_units, cfg.rnn_layers)

    def features(self, spectrum: Tensor) -> Tensor:
        cfg, x = self.config, spectrum
        if cfg.compression != 1.0:
            power = x.square().sum(1, keepdim=True)
            x = x * (power + _TINY) ** ((cfg.compression - 1.0) / 2)
        if cfg.magnitude_input:
            magnitude = (x.square().sum(1, keepdim=True) + _TINY).sqrt()
            x = torch.cat([x[:, :1], magnitude, x[:, 1:], torch.zeros_like(magnitude)], dim=1)
        return x

    def core(self, features: Tensor, timeline: Timeline) -> Tensor:
        x, skips = features.contiguous(memory_format=torch.channels_last), []
        for layer in self.encoder:
            x = layer(x, timeline)
            skips.append(x)
        for layer in self.bottleneck:
            x = layer(x, timeline)
        x = x.contiguous(memory_format=torch.channels_last)  # otherwise the decoder would run in the slower layout
        for layer, skip in zip(self.decoder, reversed(skips), strict=True):
            skip = timeline.align(skip, x)
            x = layer(torch.cat([x, skip], 1) if self.config.skip == "concat" else x + skip, timeline)
        return x

    def apply_output(self, y: Tensor, spectrum: Tensor) -> Tensor:
        return multiply_mask(y, spectrum, self.config.mask)


def multiply_mask(mask: Tensor, spectrum: Tensor, kind: MaskKind) -> Tensor:
    """Apply a mask to a spectrum bin by bin, both `(batch, 2, bins, frames)`.

    The polar form E is computed as a complex product with the mask's magnitude `m` replaced by
    `tanh(m)`; it equals the paper's sum of phases and keeps silence exactly silent.
    """
    mask_real, mask_imag = mask.unbind(1)
    real, imag = spectrum.unbind(1)
    if kind == "R":
        return torch.stack([real * mask_real, imag * mask_imag], dim=1)
    if kind in ("E", "M"):
        magnitude = (mask_real.square() + mask_imag.square() + _TINY).sqrt()
        if kind == "M":
            return spectrum * magnitude.unsqueeze(1)
        bound = torch.tanh(magnitude) / magnitude
        mask_real, mask_imag = mask_real * bound, mask_imag * bound
    return torch.stack([real * mask_real - imag * mask_imag, real * mask_imag + imag * mask_real], dim=1)
