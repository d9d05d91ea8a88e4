"""The DCCRN for inference: batch norm folded into the convolutions, and run piece by piece.

Streaming is exact because the network is causal but for its look-ahead. Kept between pieces are
the last input frame of each encoder layer, the LSTM states, and for each decoder layer one frame
of its input (the one whose next frame has yet to come) and the skip connection's frames that wait
for the decoder to catch up.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.nn.dccrn import DCCRN, apply_mask, encoder_input
from dccrn_cli.nn.layers import (
    ComplexBatchNorm,
    ComplexConv2d,
    ComplexConvTranspose2d,
    PReLU,
    RNNState,
    complex_cat,
    convolve,
    convolve_transposed,
)


@dataclass
class _Layer:
    """A convolution with its norm folded in, and the slope of its PReLU (None: linear)."""

    weight: Tensor
    bias: Tensor
    slope: float | None

    def activate(self, x: Tensor) -> Tensor:
        return x if self.slope is None else F.leaky_relu_(x, self.slope)


def _fold(block: nn.Module, device: torch.device) -> _Layer:
    """A block of a network in float64 as one convolution in float32."""
    assert isinstance(block, nn.Sequential)
    conv, *rest = block
    assert isinstance(conv, ComplexConv2d | ComplexConvTranspose2d)
    weight, bias, slope = conv.weight().detach(), conv.bias().detach(), None
    if rest:
        norm, activation = rest
        assert isinstance(activation, PReLU)
        matrix, shift = _norm_matrix(norm)
        equation = "oc,ic...->io..." if conv.transposed else "oc,ci...->oi..."
        weight = torch.einsum(equation, matrix, weight)
        bias = matrix @ bias + shift
        slope = float(activation.weight.detach())
    weight = weight.float().to(device).contiguous(memory_format=torch.channels_last)
    return _Layer(weight, bias.float().to(device), slope)


def _norm_matrix(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """A norm in inference as `matrix (channels, channels)` and `shift (channels,)`."""
    if isinstance(norm, ComplexBatchNorm):
        blocks, shift = (t.detach() for t in norm.affine())
        rows = [torch.cat([torch.diag(blocks[:, i, 0]), torch.diag(blocks[:, i, 1])], dim=1) for i in (0, 1)]
        return torch.cat(rows), shift.T.flatten()
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    return torch.diag(scale), norm.bias.detach() - scale * norm.running_mean


class StreamingNetwork:
    """A trained DCCRN from spectrum to masked spectrum, piece by piece.

    Args:
        model: the network; it is copied.
        device: where to run.
    """

    def __init__(self, model: DCCRN, device: torch.device) -> None:
        self.config = model.config
        exact = copy.deepcopy(model).cpu().double()  # some devices know no float64
        self._encoder = [_fold(block, device) for block in exact.encoder]
        self._decoder = [_fold(block, device) for block in exact.decoder]
        self._rnn = copy.deepcopy(model.rnn).to(device)
        self.reset()

    def reset(self) -> None:
        """Forget everything heard so far."""
        depth = len(self._encoder)
        self._level: Tensor | None = None
        self._past: list[Tensor | None] = [None] * depth
        self._rnn_states: list[RNNState] | None = None
        self._pending: list[Tensor | None] = [None] * depth
        self._skips: list[Tensor | None] = [None] * depth
        self._spectrum: Tensor | None = None

    def process(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Take frames, give frames, `look_ahead` behind.

        Args:
            spectrum: `(batch, 2, n_fft / 2 + 1, frames)`.

        Returns:
            the masked and the plain spectrum of the frames that are final, of one shape.
        """
        return self._advance(spectrum, last=False)

    def flush(self) -> tuple[Tensor, Tensor]:
        """The frames still under way at the end of the signal, as `process` gives them."""
        if self._spectrum is None:
            raise ValueError("nothing has been processed")
        return self._advance(self._spectrum[..., :0], last=True)

    def _advance(self, spectrum: Tensor, *, last: bool) -> tuple[Tensor, Tensor]:
        # TF32, which cuDNN prefers, would make the result depend on the cut into pieces.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self._advance_exactly(spectrum, last=last)

    def _advance_exactly(self, spectrum: Tensor, *, last: bool) -> tuple[Tensor, Tensor]:
        x, self._level = encoder_input(spectrum, self.config, self._level)
        x = x.contiguous(memory_format=torch.channels_last)
        skips = []
        for index, layer in enumerate(self._encoder):
            x = self._encode(x, index, layer)
            skips.append(x)
        if x.shape[-1]:
            x, self._rnn_states = self._rnn(x, self._rnn_states)
            x = x.contiguous(memory_format=torch.channels_last)
        for index, (layer, skip) in enumerate(zip(self._decoder, reversed(skips), strict=True)):
            x = self._decode(x, skip, index, layer, last=last)
        queue = _join(self._spectrum, spectrum)
        done = x.shape[-1]
        self._spectrum = queue[..., done:]
        ready = queue[..., :done]
        return apply_mask(x, ready, self.config.mask), ready

    def _encode(self, x: Tensor, index: int, layer: _Layer) -> Tensor:
        if x.shape[-1] == 0:
            return x.new_empty(x.shape[0], layer.weight.shape[0], x.shape[2] // 2, 0)
        past = self._past[index]
        x = F.pad(x, (1, 0)) if past is None else _join(past, x)
        self._past[index] = x[..., -1:].clone()
        return layer.activate(convolve(x, layer.weight, layer.bias))

    def _decode(self, x: Tensor, skip: Tensor, index: int, layer: _Layer, *, last: bool) -> Tensor:
        queue = _join(self._skips[index], skip)
        count = x.shape[-1]
        x = complex_cat(x, queue[..., :count])
        self._skips[index] = queue[..., count:].clone()
        pending = self._pending[index]
        if index < self.config.look_ahead:
            x = _join(pending, x)
            if last:
                x = F.pad(x, (0, 1))
        else:
            x = F.pad(x, (1, 0)) if pending is None else _join(pending, x)
        self._pending[index] = x[..., -1:].clone()
        if x.shape[-1] < 2:
            return x.new_empty(x.shape[0], layer.weight.shape[1], x.shape[2] * 2, 0)
        return layer.activate(convolve_transposed(x, layer.weight, layer.bias))


def _join(before: Tensor | None, x: Tensor) -> Tensor:
    return x if before is None else torch.cat([before, x], dim=-1)
