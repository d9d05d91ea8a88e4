"""How the arrays of a caller look, so that results look the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from dccrn_cli.audio.arrays import is_tensor


class ArrayForm(NamedTuple):
    """How the caller's arrays look: the results look the same."""

    mono: bool
    axis: int
    device: torch.device | None  # of tensors; None for numpy

    @classmethod
    def of(cls, audio: Any, axis: int | None) -> ArrayForm:
        """The form of an array or tensor whose time is on an axis; None is the first one."""
        return cls(np.ndim(audio) == 1, 0 if axis is None else axis % 2, audio.device if is_tensor(audio) else None)

    def shape(self, frames: np.ndarray) -> Any:
        """`(frames, channels)` as the caller's arrays are laid out."""
        block = frames[:, 0] if self.mono else frames if self.axis == 0 else frames.T
        return block if self.device is None else torch.from_numpy(np.ascontiguousarray(block)).to(self.device)
