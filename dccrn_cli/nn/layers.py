"""Complex layers on real tensors.

Complex features are `(batch, channels, bins, frames)` with the real parts in the first half of
the channels and the imaginary parts in the second. A complex layer stores one real and one
imaginary kernel and runs as one real layer with the block kernel
`[[real, -imag], [imag, real]]` (paper eq. 1).
"""

from __future__ import annotations

import itertools
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.nn.config import FREQ_STRIDE
from dccrn_cli.nn.network import RealTimeConv, TimeConv, Timeline

INIT_STD = 0.05
"""Standard deviation of initial weights in the authors' code."""

_STRIDE = (FREQ_STRIDE, 1)
_FORGET_BIAS = 4.0

_GAUSS_CHANNELS = 16
"""Below this many input channels, real and imaginary together, the extra sums cost more than the convolution saved."""


def _within_autocast(x: Tensor) -> bool:
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


class ComplexConv(TimeConv):
    """A complex convolution with stride 2 along frequency, or its transpose.

    Args:
        in_channels, out_channels: real and imaginary counted together. If the input is several features
            concatenated along channels, each with its own real and imaginary half, `in_channels` has one
            number per feature.
        kernel: bins and frames.
        future: how many of the frames in the kernel are future ones.
        transposed: double the bins instead of halving them.
        output_padding: bins that a transposed convolution adds beyond those its input reaches.
        std: standard deviation of the initial weights; None preserves the variance of the input.

    Shape: `(batch, in_channels, bins, frames)` → `(batch, out_channels, bins / 2, frames)`, or `bins * 2`.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, ...],
        out_channels: int,
        kernel: tuple[int, int],
        *,
        future: int = 0,
        transposed: bool = False,
        output_padding: int = 0,
        std: float | None = INIT_STD,
    ) -> None:
        super().__init__(kernel[1] - 1, future)
        self.out_channels = out_channels
        self.kernel = kernel
        self.transposed = transposed
        self.output_padding = output_padding
        self.joined = (in_channels,) if isinstance(in_channels, int) else in_channels
        sizes = (sum(self.joined) // 2, out_channels // 2)
        shape = (*(sizes if transposed else sizes[::-1]), *kernel)
        self.real_weight = nn.Parameter(torch.empty(shape))
        self.imag_weight = nn.Parameter(torch.empty(shape))
        self.real_bias = nn.Parameter(torch.zeros(sizes[1]))
        self.imag_bias = nn.Parameter(torch.zeros(sizes[1]))
        fan_in = sum(self.joined) * kernel[0] * kernel[1] / (FREQ_STRIDE if transposed else 1)
        for weight in (self.real_weight, self.imag_weight):
            nn.init.normal_(weight, std=fan_in**-0.5 if std is None else std)

    def weight(self, dtype: torch.dtype | None = None) -> Tensor:
        """The block kernel over real and imaginary channels, converted to `dtype` if given."""
        inputs, outputs = (0, 1) if self.transposed else (1, 0)
        sizes = [channels // 2 for channels in self.joined]
        blocks = []
        for real, imag in zip(*(torch.split(part.to(dtype), sizes, inputs) for part in self._parts()), strict=True):
            blocks += [torch.cat([real, imag], outputs), torch.cat([-imag, real], outputs)]
        return torch.cat(blocks, inputs)

    def _parts(self) -> tuple[Tensor, Tensor]:
        return self.real_weight, self.imag_weight

    def bias(self) -> Tensor:
        """Bias of the real form: the two convolutions behind each part both add theirs, as in the authors' code."""
        return torch.cat([self.real_bias - self.imag_bias, self.real_bias + self.imag_bias])

    def as_real(self) -> RealTimeConv:
        """The same layer as one real convolution, for inference."""
        weight, bias = self.weight().detach(), self.bias().detach()
        conv: nn.Conv2d | nn.ConvTranspose2d
        if self.transposed:
            inputs, outputs = weight.shape[:2]
            padding = (self.output_padding, 0)
            conv = nn.ConvTranspose2d(inputs, outputs, self.kernel, _STRIDE, self._padding, padding, device="meta")
        else:
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], self.kernel, _STRIDE, self._padding, device="meta")
        conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
        return RealTimeConv(conv, self.reach, self.future).train(self.training)

    @property
    def _padding(self) -> tuple[int, int]:
        # Along time this drops the frames that only part of a transposed kernel would reach.
        return self.kernel[0] // 2, self.reach if self.transposed else 0

    def convolve(self, x: Tensor) -> Tensor:
        if not self._three_are_faster(x):
            return self._real(x, self.weight(x.dtype if _within_autocast(x) else None), self.bias())
        real, imag = self._halves(x)
        shared = self._real(real + imag, self.real_weight, self.real_bias)
        to_real = self._real(imag, self.real_weight + self.imag_weight, self.imag_bias)
        to_imag = self._real(real, self.imag_weight - self.real_weight, self.imag_bias)
        return torch.cat([shared - to_real, shared + to_imag], 1)

    def _halves(self, x: Tensor) -> list[Tensor]:
        """Real and imaginary parts of all features concatenated in `x`."""
        if len(self.joined) == 1:
            return list(x.chunk(2, 1))
        pairs = (part.chunk(2, 1) for part in torch.split(x, list(self.joined), 1))
        return [torch.cat(parts, 1) for parts in zip(*pairs, strict=True)]

    @staticmethod
    def _three_are_faster(x: Tensor) -> bool:
        """Whether three real products replace four (Gauss's trick): faster only in float32 on a CPU."""
        return (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and x.shape[1] >= _GAUSS_CHANNELS
        )

    def _real(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.transposed:
            return F.conv_transpose2d(x, weight, bias, _STRIDE, self._padding, (self.output_padding, 0))
        return F.conv2d(x, weight, bias, _STRIDE, self._padding)

    @torch.no_grad()
    def start_at(self, real: float, imag: float) -> None:
        """Initialise the layer so that its output stays close to a complex constant."""
        self.real_weight.mul_(0.2)
        self.imag_weight.mul_(0.2)
        self.real_bias.fill_((imag + real) / 2)
        self.imag_bias.fill_((imag - real) / 2)


class _LeakyReLU(torch.autograd.Function):
    """Leaky ReLU with a trainable slope; `F.prelu` is ten times slower on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.leaky_relu(x, float(slope))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        # Strides other than those of x, as in half of a concatenated feature, would slow down all that follows.
        gradient = torch.empty_like(x).copy_(gradients[0]) if gradients[0].stride() != x.stride() else gradients[0]
        below = torch.ops.aten.leaky_relu_backward(gradient, x, float(slope), False)
        return below, (gradient * x.clamp(max=0)).sum().to(slope.dtype).reshape_as(slope)


class PReLU(nn.Module):
    """PReLU with a single slope."""

    def __init__(self, slope: float = 0.25) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([slope]))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return F.prelu(x, self.weight.to(x.dtype))
        y: Tensor = _LeakyReLU.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return y


class ComplexBatchNorm(nn.Module):
    """Batch norm that whitens real and imaginary parts together (Trabelsi et al. 2018, sec. 3.5).

    Args:
        channels: real and imaginary counted together.

    Shape: `(batch, channels, bins, frames)` → the same.
    """

    running_mean: Tensor
    running_cov: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        half = channels // 2
        # Rows: rr, ri, ii of the symmetric 2 × 2 matrices.
        self.weight = nn.Parameter(torch.tensor([[1.0], [0.0], [1.0]]).repeat(1, half))
        self.bias = nn.Parameter(torch.zeros(2, half))
        self.register_buffer("running_mean", torch.zeros(2, half))
        self.register_buffer("running_cov", torch.tensor([[1.0], [0.0], [1.0]]).repeat(1, half))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean, cov = self._batch_statistics(x)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_cov.lerp_(cov.to(self.running_cov.dtype), self.momentum)
        else:
            mean, cov = self.running_mean, self.running_cov
        matrix, shift = self._affine(mean, cov)
        parts = torch.stack(x.chunk(2, dim=1), dim=2).float()  # (batch, half, 2, bins, frames)
        y = torch.einsum("hij,bhjft->bhift", matrix, parts) + shift[None, :, :, None, None]
        return torch.cat([y[:, :, 0], y[:, :, 1]], dim=1).to(x.dtype)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The layer at inference as `matrix (channels, channels)` and `shift (channels,)`."""
        blocks, shift = self._affine(self.running_mean, self.running_cov)
        rows = [torch.cat([torch.diag(blocks[:, i, 0]), torch.diag(blocks[:, i, 1])], dim=1) for i in (0, 1)]
        return torch.cat(rows), shift.T.flatten()

    @staticmethod
    def _batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
        real, imag = x.float().chunk(2, dim=1)
        mean = torch.stack([real.mean((0, 2, 3)), imag.mean((0, 2, 3))])
        real = real - mean[0, :, None, None]
        imag = imag - mean[1, :, None, None]
        cov = torch.stack([(a * b).mean((0, 2, 3)) for a, b in ((real, real), (real, imag), (imag, imag))])
        return mean, cov

    def _affine(self, mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
        rr, ri, ii = cov[0] + self.eps, cov[1], cov[2] + self.eps
        # Inverse square root of a symmetric 2 × 2 matrix in closed form.
        root = (rr * ii - ri * ri).sqrt()
        scale = 1.0 / (root * (rr + ii + 2 * root).sqrt())
        whiten = torch.stack([root + ii, -ri, -ri, root + rr], dim=-1).reshape(-1, 2, 2) * scale[:, None, None]
        gain = self.weight[[0, 1, 1, 2]].T.reshape(-1, 2, 2)
        matrix = gain @ whiten
        shift = self.bias.T - torch.einsum("hij,jh->hi", matrix, mean)
        return matrix, shift


class RealLSTM(nn.Module):
    """The bottleneck of DCCRN-R/C/E: LSTM layers and a linear layer over all features of a frame.

    Shape: `(batch, channels, bins, frames)` → the same.
    """

    def __init__(self, features: int, units: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, units, layers, batch_first=True)
        self.linear = nn.Linear(units, features)

    def forward(self, x: Tensor, timeline: Timeline) -> Tensor:
        frames = x.permute(0, 3, 1, 2)
        y: Tensor = self.linear(timeline.run_lstm(self.lstm, frames.flatten(2)))
        return y.reshape(frames.shape).permute(0, 2, 3, 1).to(x.dtype)


class ComplexLSTM(nn.Module):
    """The bottleneck of DCCRN-CL: complex LSTM layers (paper eq. 2 to 4).

    Each layer runs two LSTMs on both parts. The output has a separate linear layer for each part,
    not a complex product, as in the authors' code.

    Shape: `(batch, channels, bins, frames)` → the same.
    """

    def __init__(self, features: int, units: int, layers: int) -> None:
        super().__init__()
        sizes = [features // 2] + [units // 2] * layers
        self.real = nn.ModuleList(nn.LSTM(i, o, batch_first=True) for i, o in itertools.pairwise(sizes))
        self.imag = nn.ModuleList(nn.LSTM(i, o, batch_first=True) for i, o in itertools.pairwise(sizes))
        self.real_linear = nn.Linear(units // 2, features // 2)
        self.imag_linear = nn.Linear(units // 2, features // 2)

    def forward(self, x: Tensor, timeline: Timeline) -> Tensor:
        frames = x.permute(0, 3, 1, 2)
        parts = torch.stack(frames.chunk(2, dim=2), dim=1).flatten(3)  # (batch, 2, frames, features / 2)
        for real, imag in zip(self.real, self.imag, strict=True):
            by_real, by_imag = (self._run(lstm, parts, timeline) for lstm in (real, imag))
            parts = torch.stack([by_real[:, 0] - by_imag[:, 1], by_real[:, 1] + by_imag[:, 0]], dim=1)
        y: Tensor = torch.cat([self.real_linear(parts[:, 0]), self.imag_linear(parts[:, 1])], dim=2)
        return y.reshape(frames.shape).permute(0, 2, 3, 1).to(x.dtype)

    @staticmethod
    def _run(lstm: nn.Module, parts: Tensor, timeline: Timeline) -> Tensor:
        y = timeline.run_lstm(cast(nn.LSTM, lstm), parts.flatten(0, 1))
        return y.reshape(*parts.shape[:3], -1)


class DualPath(nn.Module):
    """One block of recurrence along frequency within each frame, then along time with weights shared by all bins.

    Each half is an LSTM, a linear layer, a layer norm over the bins and channels of a frame, and a residual
    connection (after DPCRN, Le et al. 2021). The norm's affine parameters tell the shared LSTM which bin it serves.

    Args:
        channels, bins: sizes of the input; real and imaginary channels counted together.
        intra_units: LSTM units along frequency, per direction.
        inter_units: LSTM units along time.

    Shape: `(batch, channels, bins, frames)` → the same.
    """

    def __init__(self, channels: int, bins: int, intra_units: int, inter_units: int) -> None:
        super().__init__()
        self.intra = nn.LSTM(channels, intra_units, batch_first=True, bidirectional=True)
        self.intra_linear = nn.Linear(2 * intra_units, channels)
        self.intra_norm = nn.LayerNorm((bins, channels))
        self.inter = nn.LSTM(channels, inter_units, batch_first=True)
        self.inter_linear = nn.Linear(inter_units, channels)
        self.inter_norm = nn.LayerNorm((bins, channels))
        forget = slice(inter_units, 2 * inter_units)
        with torch.no_grad():  # start with a long memory
            self.inter.get_parameter("bias_ih_l0")[forget].fill_(_FORGET_BIAS)

    def forward(self, x: Tensor, timeline: Timeline) -> Tensor:
        # Under autocast the residuals keep its dtype. Frames first spares the LSTM over time a copy.
        z: Tensor = (x if _within_autocast(x) else x.float()).permute(3, 0, 2, 1).contiguous()
        frames, batch, bins, _ = z.shape
        y: Tensor = self.intra(z.flatten(0, 1))[0]
        y = self.intra_linear(y.transpose(0, 1)).transpose(0, 1)  # in memory order
        z = z + self.intra_norm(y.reshape(frames, batch, bins, -1))
        y = timeline.run_lstm(self.inter, z.flatten(1, 2).transpose(0, 1)).transpose(0, 1)
        z = z + self.inter_norm(self.inter_linear(y).reshape(frames, batch, bins, -1))
        return z.permute(1, 3, 2, 0).to(x.dtype)
