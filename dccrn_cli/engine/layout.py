"""Streams of different lengths along one time axis.

Nothing is padded to the length of another: rows lie one after another with a few frames between
two. Whatever a layer computes there is idle; before the next layer, the frames that the later row
kept from its last piece take their place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dccrn_cli.nn.layers import ComplexLSTM, RealLSTM, RNNState


class Layout:
    """Where the frames of each row are.

    Args:
        lengths: frames of each row, longest first, at least 1.
        longest_delay: the most frames that `lead` puts before a row, at least 1.
        device: where the tensors are.

    Tensors are `(bins, time, channels)`; their time covers all rows and the frames in between.
    """

    def __init__(self, lengths: Sequence[int], longest_delay: int, device: torch.device) -> None:
        self.rows = len(lengths)
        self.gap = longest_delay
        self.time = sum(lengths) + self.gap * (self.rows - 1)
        self._first_length = lengths[0]
        if self.rows == 1:
            return
        sizes = np.asarray(lengths)
        starts = np.cumsum(sizes + self.gap) - sizes - self.gap
        span = np.arange(self.gap)
        step = np.concatenate([np.arange(size) for size in lengths])
        by_step = np.argsort(step, kind="stable")
        columns = (np.repeat(starts, sizes) + step)[by_step]
        back = np.zeros(self.time, np.int64)
        back[columns] = np.arange(len(columns))
        arrays = [starts[:, None] + span, (starts + sizes)[:, None] + span, columns, back]
        together = upload(np.concatenate([array.ravel() for array in arrays]), device)  # one copy for all
        heads, tails, self._steps, self._back = torch.split(together, [array.size for array in arrays])
        self._heads, self._tails = heads.view(-1, self.gap), tails.view(-1, self.gap)
        self._step_sizes = torch.from_numpy(np.bincount(step))

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Lay out parts `(rows, channels, bins, frames)`, the rows of one as long as each other."""
        if self.rows == 1:
            return parts[0][0].permute(1, 2, 0)
        padded = [F.pad(part, (0, self.gap)).permute(2, 0, 3, 1).flatten(1, 2) for part in parts]
        return torch.cat(padded, dim=1)[:, : self.time]

    def split(self, x: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Undo `join`, the shapes being (rows, frames) of its parts."""
        if self.rows == 1:
            return [x.permute(2, 0, 1)[None]]
        parts = torch.split(F.pad(x, (0, 0, 0, self.gap)), [r * (n + self.gap) for r, n in shapes], dim=1)
        return [
            part.reshape(len(part), rows, frames + self.gap, -1)[:, :, :frames].permute(1, 3, 0, 2)
            for part, (rows, frames) in zip(parts, shapes, strict=True)
        ]

    def lead(self, before: Tensor, x: Tensor, delay: int) -> tuple[Tensor, Tensor]:
        """Put kept frames before each row.

        Args:
            before: `(bins, rows * delay, channels)`.

        Returns:
            `x` later by `delay` frames, as much longer, and in it the last `delay` frames of each
            row in the form of `before`.
        """
        late = torch.cat([before[:, :delay], x], dim=1)
        if self.rows == 1:
            return late, late[:, self._first_length : self._first_length + delay].clone()
        late[:, self._heads[1:, :delay].flatten()] = before[:, delay:]
        return late, late[:, self._tails[:, :delay].flatten()]

    def run_rnn(self, rnn: RealLSTM | ComplexLSTM, x: Tensor, states: list[RNNState]) -> tuple[Tensor, list[RNNState]]:
        """A recurrent network on each row by itself."""
        if self.rows == 1:
            y, states = rnn(x.permute(2, 0, 1)[None], states)
            return y[0].permute(1, 2, 0), states
        y, states = rnn.run_packed(x[:, self._steps].permute(1, 2, 0), self._step_sizes, states)
        return y.permute(2, 0, 1)[:, self._back], states


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy on the device that does not wait for what the device is doing."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
