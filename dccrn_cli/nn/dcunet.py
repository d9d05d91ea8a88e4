"""The deep complex U-Net (Choi et al., ICLR 2019) without strides in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dccrn_cli.nn.dccrn import IDENTITY, multiply_mask
from dccrn_cli.nn.layers import ComplexBatchNorm, ComplexConv
from dccrn_cli.nn.network import ConvBlock, SpectralNetwork, Timeline
from dccrn_cli.nn.systems import DCUNetConfig


class DCUNet(SpectralNetwork):
    """A complex convolutional encoder and decoder with skip connections, giving a complex mask.

    The mask is polar with its magnitude bounded by tanh; a new network starts near the identity.

    Args:
        config: sizes and variants (`DCUNetConfig`).
    """

    config: DCUNetConfig

    def __init__(self, config: DCUNetConfig) -> None:
        super().__init__(config)
        sizes = (2, *config.channels)
        depth = len(config.channels)
        futures = iter(config.futures)
        self.encoder = nn.ModuleList(
            self._block(ComplexConv(sizes[layer], sizes[layer + 1], config.kernels[layer], future=next(futures)))
            for layer in range(depth)
        )
        self.decoder = nn.ModuleList()
        for layer in reversed(range(depth)):
            inputs = (sizes[layer + 1],) * (1 if layer == depth - 1 else 2)
            conv = ComplexConv(inputs, sizes[layer], config.kernels[layer], future=next(futures), transposed=True)
            self.decoder.append(self._block(conv) if layer else ConvBlock(conv))
        conv.start_at(*IDENTITY["E"])

    def _block(self, conv: ComplexConv) -> ConvBlock:
        norm = ComplexBatchNorm if self.config.complex_norm else nn.BatchNorm2d
        return ConvBlock(conv, norm(conv.out_channels), nn.LeakyReLU())

    def features(self, spectrum: Tensor) -> Tensor:
        return spectrum

    def core(self, features: Tensor, timeline: Timeline) -> Tensor:
        x, skips = features, []
        for layer in self.encoder:
            x = layer(x, timeline)
            skips.append(x)
        x = self.decoder[0](skips.pop(), timeline)
        for layer, skip in zip(self.decoder[1:], reversed(skips), strict=True):
            x = layer(torch.cat([x, timeline.align(skip, x)], 1), timeline)
        mask: Tensor = x
        return mask

    def apply_output(self, y: Tensor, spectrum: Tensor) -> Tensor:
        return multiply_mask(y, spectrum, "E")
