"""Muon: an optimizer that steps along the orthogonalised running mean of the gradient.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon), with step sizes after Liu et al. 2025, "Muon is
scalable for LLM training": each step is as large as AdamW's, so one learning rate suits both.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_RMS = 0.2
"""RMS of AdamW's steps as a multiple of the learning rate."""

_ROWS = 128
"""Larger matrices are split into parts of at most this many rows, each orthogonalised separately, since the cost
of the iterations grows with the square of the rows."""


class Muon(torch.optim.Optimizer):
    """Muon for matrices and kernels, AdamW for biases and other parameters without two dimensions.

    Convolution kernels are flattened to matrices of their first dimension by the others.

    Args:
        parameters: parameters to train.
        lr: learning rate.
        momentum: decay of the running mean of matrix gradients.
        betas: AdamW's betas for the other parameters.
        weight_decay: weight decay, decoupled from the gradients.
        dtype: dtype of the orthogonalisation; bfloat16 works equally well and takes half the time on
            devices that support it.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        groups: dict[bool, list[Tensor]] = {True: [], False: []}
        for parameter in parameters:
            groups[parameter.ndim > 1 and 1 < len(parameter) < parameter.numel()].append(parameter)
        super().__init__(
            [{"params": these, "matrices": matrices} for matrices, these in groups.items() if these],
            {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the parameters."""
        assert closure is None
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            gradients = [parameter.grad for parameter in parameters]
            if parameters:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                (self._step_matrices if group["matrices"] else self._step_rest)(group, parameters, gradients)

    def _step_matrices(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        means = [self._state(parameter, "mean") for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, means, group["momentum"])  # Nesterov momentum
        for places in _alike(parameters):
            rows, columns = rows_of_parts(len(parameters[places[0]])), parameters[places[0]][0].numel()
            stack = torch.stack([ahead[place].reshape(-1, rows, columns) for place in places]).to(self.dtype)
            rate = group["lr"] * _RMS * math.sqrt(max(stack.shape[-2:]))
            for place, change in zip(places, orthogonalised(stack), strict=True):
                parameters[place].sub_(change.reshape_as(parameters[place]), alpha=rate)

    def _step_rest(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        means, squares = ([self._state(p, name) for p in parameters] for name in ("mean", "square"))
        first, second = group["betas"]
        group["steps"] = steps = group.get("steps", 0) + 1
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        deviations = torch._foreach_sqrt(squares)
        torch._foreach_div_(deviations, math.sqrt(1 - second**steps))
        torch._foreach_add_(deviations, 1e-8)
        torch._foreach_addcdiv_(parameters, means, deviations, -group["lr"] / (1 - first**steps))

    def _state(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        value: Tensor = state[name]
        return value


def orthogonalised(matrices: Tensor) -> Tensor:
    """Approximately nearest semi-orthogonal matrices, `(..., rows, columns)`: singular values become 0.7 to 1.2.

    Uses five Newton-Schulz iterations; singular values below a thousandth of the largest stay smaller.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def rows_of_parts(rows: int) -> int:
    """Rows of each part of a matrix, at most `_ROWS`; all rows if they cannot be split evenly."""
    needed = math.ceil(rows / _ROWS)
    parts = next((parts for parts in range(needed, 2 * needed) if rows % parts == 0), 1)
    return rows // parts


def _alike(tensors: Iterable[Tensor]) -> Iterator[list[int]]:
    """Indices of the tensors, grouped by shape."""
    places = defaultdict(list)
    for place, tensor in enumerate(tensors):
        places[tensor.shape].append(place)
    yield from places.values()
