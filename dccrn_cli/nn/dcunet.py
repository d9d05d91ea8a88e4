"""The deep complex U-Net (Choi et al., ICLR 2019) without strides in time."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.nn.dccrn import IDENTITY, multiply_mask
from dccrn_cli.nn.layers import ComplexBatchNorm, ComplexKernel, complex_cat
from dccrn_cli.nn.network import ConvBlock, SpectralNetwork, TimeConv, Timeline
from dccrn_cli.nn.systems import DCUNetConfig

_STRIDE = (2, 1)


class DCUNet(SpectralNetwork):
    """Complex convolutions down and up again, with skip connections, to a complex mask.

    The mask is polar with its magnitude bounded by tanh; a new network starts as the identity.

    Args:
        config: see `DCUNetConfig`.
    """

    config: DCUNetConfig

    def __init__(self, config: DCUNetConfig) -> None:
        super().__init__(config)
        sizes = (2, *config.channels)
        depth = len(config.channels)
        futures = iter(config.futures)
        self.encoder = nn.ModuleList(
            self._block(_ComplexConv(sizes[layer], sizes[layer + 1], config.kernels[layer]), next(futures))
            for layer in range(depth)
        )
        self.decoder = nn.ModuleList()
        for layer in reversed(range(depth)):
            inputs = sizes[layer + 1] * (1 if layer == depth - 1 else 2)
            conv = _ComplexConv(inputs, sizes[layer], config.kernels[layer], transposed=True)
            self.decoder.append(self._block(conv, next(futures), is_mask=layer == 0))
        conv.start_at(*IDENTITY["E"])

    def _block(self, conv: _ComplexConv, future: int, *, is_mask: bool = False) -> ConvBlock:
        time_conv = TimeConv(conv, conv.reach, future)
        if is_mask:
            return ConvBlock(time_conv, nn.Identity(), nn.Identity())
        norm = ComplexBatchNorm if self.config.complex_norm else nn.BatchNorm2d
        return ConvBlock(time_conv, norm(conv.out_channels), nn.LeakyReLU())

    def features(self, spectrum: Tensor) -> Tensor:
        return spectrum

    def core(self, features: Tensor, timeline: Timeline) -> Tensor:
        x, skips = features, []
        for layer in self.encoder:
            x = layer(x, timeline)
            skips.append(x)
        x = self.decoder[0](skips.pop(), timeline)
        for layer, skip in zip(self.decoder[1:], reversed(skips), strict=True):
            x = layer(complex_cat(x, timeline.align(skip, x)), timeline)
        mask: Tensor = x
        return mask

    def apply_output(self, y: Tensor, spectrum: Tensor) -> Tensor:
        return multiply_mask(y, spectrum, "E")


class _ComplexConv(ComplexKernel):
    """A complex (transposed) convolution of any size with stride (2, 1).

    Shape: `(batch, in_channels, 2n + 1, frames)` → `(batch, out_channels, n + 1, frames - reach)`,
    or the other way round in frequency.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int], *, transposed: bool = False):
        sizes = (in_channels // 2, out_channels // 2)
        super().__init__((*(sizes if transposed else sizes[::-1]), *kernel), sizes[1], transposed=transposed)
        self.out_channels = out_channels
        self.reach = kernel[1] - 1
        self._freq_padding = kernel[0] // 2

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, self._convolve)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.transposed:
            return F.conv_transpose2d(x, weight, bias, _STRIDE, (self._freq_padding, self.reach))
        return F.conv2d(x, weight, bias, _STRIDE, (self._freq_padding, 0))
