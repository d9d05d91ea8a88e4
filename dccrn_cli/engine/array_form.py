"""Layout and type of a caller's arrays, so that results match them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from dccrn_cli.audio.arrays import is_tensor


class ArrayForm(NamedTuple):
    """Layout and type of the caller's arrays, which results match."""

    mono: bool
    axis: int
    device: torch.device | None  # of a tensor; None for numpy

    @classmethod
    def of(cls, audio: Any, axis: int | None) -> ArrayForm:
        """The form of an array or tensor with the given time axis; None for the first axis."""
        return cls(np.ndim(audio) == 1, 0 if axis is None else axis % 2, audio.device if is_tensor(audio) else None)

    def shape(self, frames: np.ndarray) -> Any:
        """Convert `(frames, channels)` to the layout of the caller's arrays."""
        block = frames[:, 0] if self.mono else frames if self.axis == 0 else frames.T
        return block if self.device is None else torch.from_numpy(np.ascontiguousarray(block)).to(self.device)
