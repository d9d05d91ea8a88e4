"""Exponential moving average (EMA) of the weights, which is what is validated and saved."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dccrn_cli.nn.network import SpectralNetwork


def changing_buffers(model: nn.Module) -> list[Tensor]:
    """Buffers that training changes, such as norm statistics: those that a checkpoint contains."""
    saved = model.state_dict(keep_vars=True).keys()
    return [buffer for name, buffer in model.named_buffers() if name in saved]


class WeightAverage:
    """Exponential moving average of weights; batch norm statistics are copied unaveraged.

    Args:
        model: the network to average.
        decay: decay per update; smaller in the first updates.
    """

    def __init__(self, model: SpectralNetwork, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: SpectralNetwork) -> None:
        """Include the weights after a step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self._model.parameters()), list(model.parameters()), 1 - decay)
        if statistics := changing_buffers(self._model):
            torch._foreach_copy_(statistics, changing_buffers(model))

    def model(self) -> SpectralNetwork:
        """The network with the averaged weights, in evaluation mode."""
        return self._model

    def state(self) -> dict[str, Any]:
        """State for `load`."""
        return {"updates": self.updates, "model": self._model.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.updates = state["updates"]
        self._model.load_state_dict(state["model"])
