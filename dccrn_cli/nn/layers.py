"""Complex layers on real tensors.

Complex features are `(batch, channels, bins, frames)` with the real parts in the first half of
the channels and the imaginary parts in the second. A complex layer keeps one real and one
imaginary kernel and runs as one real layer with the kernels set in blocks
`[[real, -imag], [imag, real]]` (paper eq. 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from dccrn_cli.nn.config import FREQ_KERNEL, FREQ_STRIDE, TIME_KERNEL

_FREQ_PAD = FREQ_KERNEL // 2
_INIT_STD = 0.05

_GAUSS_CHANNELS = 16
"""With fewer input channels, real and imaginary together, the sums cost more than a convolution."""


def complex_cat(first: Tensor, second: Tensor, dim: int = 1) -> Tensor:
    """Join two complex features along channels (`dim`): `[real1, real2, imag1, imag2]`."""
    real1, imag1 = first.chunk(2, dim)
    real2, imag2 = second.chunk(2, dim)
    return torch.cat([real1, real2, imag1, imag2], dim)


class ComplexKernel(nn.Module):
    """Real and imaginary kernels of a complex (transposed) convolution and their real form."""

    def __init__(self, shape: tuple[int, ...], out_channels: int, *, transposed: bool) -> None:
        super().__init__()
        self.transposed = transposed
        self.real_weight = nn.Parameter(torch.empty(shape))
        self.imag_weight = nn.Parameter(torch.empty(shape))
        self.real_bias = nn.Parameter(torch.zeros(out_channels))
        self.imag_bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.real_weight, std=_INIT_STD)
        nn.init.normal_(self.imag_weight, std=_INIT_STD)

    def weight(self) -> Tensor:
        """The one real kernel, with twice the channels in and out."""
        inputs, outputs = (0, 1) if self.transposed else (1, 0)
        from_real = torch.cat([self.real_weight, self.imag_weight], dim=outputs)
        from_imag = torch.cat([-self.imag_weight, self.real_weight], dim=outputs)
        return torch.cat([from_real, from_imag], dim=inputs)

    def bias(self) -> Tensor:
        """Bias of the real form: both convolutions of a part bring theirs, as in the authors' code."""
        return torch.cat([self.real_bias - self.imag_bias, self.real_bias + self.imag_bias])

    def run(self, x: Tensor, convolve: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """The layer by real convolutions.

        On a CPU three of half the channels do the work of four (Gauss); other devices like one large one better.
        """
        if x.device.type != "cpu" or x.shape[1] < _GAUSS_CHANNELS:
            return convolve(x, self.weight(), self.bias())
        real, imag = x.chunk(2, 1)
        shared = convolve(real + imag, self.real_weight, self.real_bias)
        to_real = convolve(imag, self.real_weight + self.imag_weight, self.imag_bias)
        to_imag = convolve(real, self.imag_weight - self.real_weight, self.imag_bias)
        return torch.cat([shared - to_real, shared + to_imag], 1)

    @torch.no_grad()
    def start_at(self, real: float, imag: float) -> None:
        """Make the output of a new layer vary little about a complex number."""
        self.real_weight.mul_(0.2)
        self.imag_weight.mul_(0.2)
        self.real_bias.fill_((imag + real) / 2)
        self.imag_bias.fill_((imag - real) / 2)


class ComplexConv2d(ComplexKernel):
    """Complex convolution (5, 2) with stride (2, 1), causal in time.

    Args:
        in_channels, out_channels: real and imaginary counted together.

    Shape: `(batch, in_channels, bins, frames)` → `(batch, out_channels, bins / 2, frames)`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        shape = (out_channels // 2, in_channels // 2, FREQ_KERNEL, TIME_KERNEL)
        super().__init__(shape, out_channels // 2, transposed=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(F.pad(x, (TIME_KERNEL - 1, 0)), convolve)


class ComplexConvTranspose2d(ComplexKernel):
    """Complex transposed convolution (5, 2) with stride (2, 1).

    Args:
        in_channels, out_channels: real and imaginary counted together.
        look_ahead: each output frame sees the same and the next input frame (True) or the same
            and the one before (False).

    Shape: `(batch, in_channels, bins, frames)` → `(batch, out_channels, bins * 2, frames)`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, look_ahead: bool) -> None:
        shape = (in_channels // 2, out_channels // 2, FREQ_KERNEL, TIME_KERNEL)
        super().__init__(shape, out_channels // 2, transposed=True)
        self.look_ahead = look_ahead

    def forward(self, x: Tensor) -> Tensor:
        pad = (0, TIME_KERNEL - 1) if self.look_ahead else (TIME_KERNEL - 1, 0)
        return self.run(F.pad(x, pad), convolve_transposed)


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Encoder convolution; `frames` in gives `frames - 1` out."""
    return F.conv2d(x, weight, bias, stride=(FREQ_STRIDE, 1), padding=(_FREQ_PAD, 0))


def convolve_transposed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Decoder convolution on whole neighbourhoods; `frames` in gives `frames - 1` out.

    Time padding 1 drops the two outer frames of the transposed convolution, those that would
    see only half of their kernel.
    """
    return F.conv_transpose2d(
        x, weight, bias, stride=(FREQ_STRIDE, 1), padding=(_FREQ_PAD, TIME_KERNEL - 1), output_padding=(1, 0)
    )


class PReLU(nn.Module):
    """PReLU with one slope, in a form whose gradient is several times faster on a CPU."""

    def __init__(self, slope: float = 0.25) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([slope]))

    def forward(self, x: Tensor) -> Tensor:
        slope = self.weight.to(x.dtype)
        return slope * x + (1 - slope) * F.relu(x)


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
        self.weight = nn.Parameter(torch.stack([torch.ones(half), torch.zeros(half), torch.ones(half)]))
        self.bias = nn.Parameter(torch.zeros(2, half))
        self.register_buffer("running_mean", torch.zeros(2, half))
        self.register_buffer("running_cov", torch.stack([torch.ones(half), torch.zeros(half), torch.ones(half)]))

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
        """What the layer does in inference: `matrix (half, 2, 2)` and `shift (half, 2)`."""
        return self._affine(self.running_mean, self.running_cov)

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


RNNState = tuple[Tensor, Tensor]


class RealLSTM(nn.Module):
    """The bottleneck of DCCRN-R/C/E: LSTM layers and a linear layer over all features of a frame.

    Shape: `(batch, channels, bins, frames)` → the same, with the states
    `(rnn_layers, batch, units)` as in `torch.nn.LSTM`.
    """

    def __init__(self, features: int, units: int, layers: int) -> None:
        super().__init__()
        self.lstm_count = 1
        self.lstm = nn.LSTM(features, units, layers, batch_first=True)
        self.linear = nn.Linear(units, features)

    def forward(self, x: Tensor, states: list[RNNState] | None = None) -> tuple[Tensor, list[RNNState]]:
        y, state = self.lstm(x.permute(0, 3, 1, 2).flatten(2), states[0] if states else None)
        y = self.linear(y)
        return y.reshape(*y.shape[:2], *x.shape[1:3]).permute(0, 2, 3, 1), [state]

    def run_packed(self, x: Tensor, sizes: Tensor, states: list[RNNState]) -> tuple[Tensor, list[RNNState]]:
        """The same on rows of different lengths.

        Args:
            x: `(frames of all rows, channels, bins)`, ordered as in a `PackedSequence`.
            sizes: its `batch_sizes`.

        Returns:
            the same shape, and the states after the last frame of each row.
        """
        y, state = self.lstm(PackedSequence(x.flatten(1), sizes), states[0])
        return self.linear(y.data).view(x.shape), [state]


class ComplexLSTM(nn.Module):
    """The bottleneck of DCCRN-CL: complex LSTM layers (paper eq. 2 to 4).

    Each layer runs two LSTMs on both parts. The output has a linear layer for each part, which
    is not a complex product, as in the authors' code.

    Shape: `(batch, channels, bins, frames)` → the same. The states of all LSTMs are listed real,
    imaginary, layer by layer, each with real and imaginary inputs stacked along the batch.
    """

    def __init__(self, features: int, units: int, layers: int) -> None:
        super().__init__()
        self.lstm_count = 2 * layers
        sizes = [features // 2] + [units // 2] * layers
        self.real = nn.ModuleList(nn.LSTM(i, o, batch_first=True) for i, o in itertools.pairwise(sizes))
        self.imag = nn.ModuleList(nn.LSTM(i, o, batch_first=True) for i, o in itertools.pairwise(sizes))
        self.real_linear = nn.Linear(units // 2, features // 2)
        self.imag_linear = nn.Linear(units // 2, features // 2)

    def forward(self, x: Tensor, states: list[RNNState] | None = None) -> tuple[Tensor, list[RNNState]]:
        batch, channels, bins, _ = x.shape
        y = torch.cat(x.permute(0, 3, 1, 2).chunk(2, dim=2)).flatten(2)  # real, then imaginary
        new_states: list[RNNState] = []
        for layer, (real, imag) in enumerate(zip(self.real, self.imag, strict=True)):
            by_real, real_state = real(y, states[2 * layer] if states else None)
            by_imag, imag_state = imag(y, states[2 * layer + 1] if states else None)
            y = torch.cat([by_real[:batch] - by_imag[batch:], by_real[batch:] + by_imag[:batch]])
            new_states += [real_state, imag_state]
        y = torch.cat([self.real_linear(y[:batch]), self.imag_linear(y[batch:])], dim=2)
        return y.reshape(*y.shape[:2], channels, bins).permute(0, 2, 3, 1), new_states

    def run_packed(self, x: Tensor, sizes: Tensor, states: list[RNNState]) -> tuple[Tensor, list[RNNState]]:
        """As `RealLSTM.run_packed`; in the states, real and imaginary inputs take turns along the batch."""
        y = torch.stack(x.chunk(2, dim=1), dim=1).flatten(2)  # (frames, 2, features / 2)
        new_states: list[RNNState] = []
        for layer, (real, imag) in enumerate(zip(self.real, self.imag, strict=True)):
            inputs = PackedSequence(y.flatten(0, 1), 2 * sizes)
            by_real, real_state = real(inputs, states[2 * layer])
            by_imag, imag_state = imag(inputs, states[2 * layer + 1])
            from_real, from_imag = (out.data.unflatten(0, (-1, 2)) for out in (by_real, by_imag))
            y = torch.stack([from_real[:, 0] - from_imag[:, 1], from_real[:, 1] + from_imag[:, 0]], dim=1)
            new_states += [real_state, imag_state]
        y = torch.cat([self.real_linear(y[:, 0]), self.imag_linear(y[:, 1])], dim=1)
        return y.view(x.shape), new_states
