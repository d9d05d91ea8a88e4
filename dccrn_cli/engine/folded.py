"""The DCCRN for inference: batch norm folded into the convolutions, many streams in one run.

Every layer is causal once its output counts as late: a decoder layer with look-ahead sees its
newest input frame and the one before, and gives the output of the one before. So each layer gives
as many frames as it takes, and what a stream keeps between two pieces has one size for all: one
input frame per layer, the LSTM states, and the frames of skip connections that wait for a late
decoder. What lies before the first frame of the signal or after its last is made silent.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.engine.layout import Layout, upload
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.nn.layers import (
    ComplexBatchNorm,
    ComplexConv2d,
    ComplexConvTranspose2d,
    ComplexLSTM,
    PReLU,
    RealLSTM,
    complex_cat,
    convolve,
    convolve_transposed,
)

State = tuple[Tensor, ...]
"""What a stream keeps: frames `(bins, rows * frames, channels)`, states `(layers, rows * parts, units)`."""


@dataclass(frozen=True)
class Piece:
    """The next frames of a stream.

    Attributes:
        features: `(rows, input_channels, bins, frames)` as `encoder_input` gives them, at least
            one frame; after the end of the signal their values do not matter.
        state: what the network said to keep, or its `fresh_state` at the start of a signal.
        position: frames of the signal before this piece.
        total: frames of the whole signal if this piece goes beyond its end, else None.
    """

    features: Tensor
    state: State
    position: int
    total: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and frames."""
        return self.features.shape[0], self.features.shape[-1]


class FoldedNetwork:
    """A trained DCCRN from features to mask, piece by piece; the caller keeps the states.

    Args:
        model: the network; it is copied.
        device: where to run.
    """

    def __init__(self, model: DCCRN, device: torch.device) -> None:
        self.config = model.config
        self.device = device
        exact = copy.deepcopy(model).cpu().double()  # some devices know no float64
        self._encoder = [_fold(block, device) for block in exact.encoder]
        self._decoder = [_fold(block, device) for block in exact.decoder]
        self._rnn = copy.deepcopy(model.rnn).to(device)
        self._delays = [min(index, self.config.look_ahead) for index in range(len(self._decoder))]

    def fresh_state(self, rows: int) -> State:
        """The state of as many rows at the start of a signal."""
        return tuple(torch.zeros(a, rows * b, c, device=self.device) for a, b, c in self._state_shapes())

    def _state_shapes(self) -> list[tuple[int, int, int]]:
        cfg = self.config
        depth = len(cfg.channels)
        shapes = [(cfg.bins >> index, 1, c) for index, c in enumerate((cfg.input_channels, *cfg.channels[:-1]))]
        if cfg.complex_rnn:
            shapes += [(1, 2, cfg.rnn_units // 2)] * (4 * cfg.rnn_layers)
        else:
            shapes += [(cfg.rnn_layers, 1, cfg.rnn_units)] * 2
        for index, (delay, channels) in enumerate(zip(self._delays, reversed(cfg.channels), strict=True)):
            bins = cfg.bins >> (depth - index)
            shapes += [(bins, delay, channels)] * (delay > 0) + [(bins, 1, 2 * channels)]
        return shapes

    def advance(self, pieces: Sequence[Piece]) -> list[tuple[Tensor, State]]:
        """Run the next pieces of several streams; what each gets depends on itself only.

        Returns:
            for each piece the mask `(rows, 2, bins, frames)`, `look_ahead` frames late, and the
            state after it.
        """
        # The LSTM wants the longest first.
        order = sorted(range(len(pieces)), key=lambda index: -pieces[index].shape[1])
        # TF32, which cuDNN prefers, would make the result depend on the cut into pieces.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            results = self._advance([pieces[index] for index in order])
        return [results[order.index(index)] for index in range(len(pieces))]

    def _advance(self, pieces: list[Piece]) -> list[tuple[Tensor, State]]:
        lengths = [frames for rows, frames in (piece.shape for piece in pieces) for _ in range(rows)]
        layout = Layout(lengths, max(1, *self._delays), self.device)
        state = _State(pieces, layout)
        ended = all(piece.total is not None and piece.position >= piece.total for piece in pieces)
        x, skips = self._silence(layout, state) if ended else self._encode(pieces, layout, state)
        silent = self._silent_frames(pieces, layout)
        for layer, skip, delay in zip(self._decoder, reversed(skips), self._delays, strict=True):
            late = state.lead(skip, delay)[:, : layout.time] if delay else skip
            x = complex_cat(x, late, dim=2)
            if silent:
                x.index_fill_(1, silent[delay], 0.0)
            x = layer(state.lead(x))
        masks = layout.split(x, [piece.shape for piece in pieces])
        return list(zip(masks, state.by_piece(), strict=True))

    def _encode(self, pieces: list[Piece], layout: Layout, state: _State) -> tuple[Tensor, list[Tensor]]:
        """What the decoder takes: the output of the LSTMs and those of all encoder layers."""
        x, skips = layout.join([piece.features for piece in pieces]), []
        for layer in self._encoder:
            x = layer(state.lead(x))
            skips.append(x)
        return state.run_rnn(self._rnn, x), skips

    def _silence(self, layout: Layout, state: _State) -> tuple[Tensor, list[Tensor]]:
        """The same where all signals are over."""
        for _ in range(len(self._encoder) + 2 * self._rnn.lstm_count):
            state.keep(state.take())
        bins, channels = self.config.bins, self.config.channels
        sizes = [(bins >> index, layout.time, count) for index, count in enumerate(channels, 1)]
        skips = [torch.zeros(size, device=self.device) for size in sizes]
        return skips[-1], skips

    def _silent_frames(self, pieces: list[Piece], layout: Layout) -> list[Tensor]:
        """For each delay, the times that lie outside of the signal for a layer so late; empty if all lie inside."""
        late = self.config.look_ahead
        if all(piece.position >= late and piece.total is None for piece in pieces):
            return []
        columns = []
        for piece in pieces:
            rows, frames = piece.shape
            frame = piece.position + np.arange(frames + layout.gap) - np.arange(late + 1)[:, None]
            outside = (frame < 0) | (frame >= (math.inf if piece.total is None else piece.total))
            columns.append(np.tile(outside, (1, rows)))
        delay, time = np.nonzero(np.concatenate(columns, axis=1)[:, : layout.time])
        return list(torch.split(upload(time, self.device), np.bincount(delay, minlength=late + 1).tolist()))


@dataclass(frozen=True)
class _Layer:
    """A convolution with its norm folded in, and the slope of its PReLU (None: linear)."""

    weight: Tensor
    bias: Tensor
    slope: float | None
    transposed: bool

    def __call__(self, x: Tensor) -> Tensor:
        """`(bins, time, channels)`; one frame more goes in than comes out."""
        run = convolve_transposed if self.transposed else convolve
        y = run(x[None].permute(0, 3, 1, 2), self.weight, self.bias)
        return (y if self.slope is None else F.leaky_relu_(y, self.slope))[0].permute(1, 2, 0)


class _State:
    """What all rows keep, taken and renewed place by place in a fixed order."""

    def __init__(self, pieces: list[Piece], layout: Layout) -> None:
        self._layout = layout
        self._pieces = pieces
        self._places = itertools.count()
        self._new: list[Tensor] = []

    def take(self) -> Tensor:
        """What is kept at the next place."""
        place = next(self._places)
        kept = [piece.state[place] for piece in self._pieces]
        return kept[0] if len(kept) == 1 else torch.cat(kept, dim=1)

    def keep(self, new: Tensor) -> None:
        """Renew this place."""
        self._new.append(new)

    def lead(self, x: Tensor, delay: int = 1) -> Tensor:
        """The frames kept at the next place before the new ones, of which the last are kept in turn."""
        late, rest = self._layout.lead(self.take(), x, delay)
        self.keep(rest)
        return late

    def run_rnn(self, rnn: RealLSTM | ComplexLSTM, x: Tensor) -> Tensor:
        """The LSTMs with their states."""
        states = [(self.take().contiguous(), self.take().contiguous()) for _ in range(rnn.lstm_count)]
        x, states = self._layout.run_rnn(rnn, x, states)
        self._new += itertools.chain(*states)
        return x

    def by_piece(self) -> Iterator[State]:
        """The new state of each piece."""
        rows = [piece.shape[0] for piece in self._pieces]
        if len(rows) == 1:
            return iter([tuple(self._new)])
        places = [torch.split(new, [new.shape[1] // sum(rows) * count for count in rows], dim=1) for new in self._new]
        return zip(*places, strict=True)


def _fold(block: nn.Module, device: torch.device) -> _Layer:
    """A block of a network in float64 as one convolution in float32."""
    assert isinstance(block, nn.Sequential)
    conv, *rest = block
    assert isinstance(conv, ComplexConv2d | ComplexConvTranspose2d)
    weight, bias, slope = conv.weight().detach(), conv.bias().detach(), None
    if rest:
        norm, activation = rest
        assert isinstance(activation, PReLU)
        weight, bias = _normed(norm, weight, bias, transposed=conv.transposed)
        slope = float(activation.weight.detach())
    weight = weight.float().to(device).contiguous(memory_format=torch.channels_last)
    return _Layer(weight, bias.float().to(device), slope, conv.transposed)


def _normed(norm: nn.Module, weight: Tensor, bias: Tensor, *, transposed: bool) -> tuple[Tensor, Tensor]:
    """A convolution's weight and bias with the norm after it, in inference, folded in."""
    if isinstance(norm, ComplexBatchNorm):
        blocks, shift = (t.detach() for t in norm.affine())
        rows = [torch.cat([torch.diag(blocks[:, i, 0]), torch.diag(blocks[:, i, 1])], dim=1) for i in (0, 1)]
        matrix = torch.cat(rows)
        equation = "oc,ic...->io..." if transposed else "oc,ci...->oi..."
        return torch.einsum(equation, matrix, weight), matrix @ bias + shift.T.flatten()
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    along = (1, -1, 1, 1) if transposed else (-1, 1, 1, 1)
    return weight * scale.reshape(along), bias * scale + norm.bias.detach() - scale * norm.running_mean
