"""LSTMs as ONNX operators, since torch's exporter would unroll them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

OPERATOR = "dccrn::lstm"
"""Represents the ONNX operator LSTM while a network is traced; it cannot be run.

Inputs: x `(frames, rows, features)`, the weights w, r and b as in ONNX, the states h and c
`(directions, rows, units)`. Outputs: `(frames, directions, rows, units)` and the states after the last frame.
"""

_CLOSED = -1e4
"""Weight that closes the input gate completely."""

torch.library.define(
    OPERATOR, "(Tensor x, Tensor w, Tensor r, Tensor b, Tensor h, Tensor c) -> (Tensor, Tensor, Tensor)"
)


def _shapes(x: Tensor, w: Tensor, r: Tensor, b: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    directions, rows, units = h.shape
    return x.new_empty(x.shape[0], directions, rows, units), torch.empty_like(h), torch.empty_like(c)


torch.library.register_fake(OPERATOR, _shapes)


class GraphLSTM(nn.Module):
    """An `nn.LSTM` with one `OPERATOR` per layer.

    Args:
        lstm: the LSTM, with the batch first.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.directions = 2 if lstm.bidirectional else 1
        self.units = lstm.hidden_size
        self.layers = lstm.num_layers
        for layer in range(lstm.num_layers):
            ways = [f"l{layer}", f"l{layer}_reverse"][: self.directions]
            for name, parts in (("w", ("weight_ih",)), ("r", ("weight_hh",)), ("b", ("bias_ih", "bias_hh"))):
                weights = [
                    torch.cat([_in_order(lstm.get_parameter(f"{part}_{way}")) for part in parts]) for way in ways
                ]
                self.register_buffer(f"{name}{layer}", torch.stack(weights))

    def forward(
        self, x: Tensor, state: tuple[Tensor, ...] | None = None, closed: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run the LSTM.

        Args:
            x: `(rows, frames, features)`.
            state: two tensors `(layers × directions, rows, units)`; None for zeros.
            closed: `(frames,)`, 1 for frames that must leave a zero state unchanged, 0 for the others.
        """
        x = x.transpose(0, 1)
        if state is None:
            state = (x.new_zeros(self.layers * self.directions, x.shape[1], self.units),) * 2
        after = []
        for layer, (h, c) in enumerate(zip(*(part.chunk(self.layers) for part in state), strict=True)):
            w, r, b = (self.get_buffer(f"{name}{layer}") for name in "wrb")
            if closed is not None:
                x = torch.cat([x, closed[:, None, None].expand(-1, x.shape[1], 1)], dim=2)
                w = torch.cat([w, self._input_gate().expand(self.directions, -1, 1)], dim=2)
            y, h, c = torch.ops.dccrn.lstm(x, w, r, b, h, c)
            x = y.transpose(1, 2).flatten(2)
            after.append((h, c))
        return x.transpose(0, 1), tuple(torch.cat(part) for part in zip(*after, strict=True))

    def _input_gate(self) -> Tensor:
        """Weights of a feature that closes the input gate, `(4 × units, 1)`."""
        return torch.cat([torch.full((self.units, 1), _CLOSED), torch.zeros(3 * self.units, 1)])


def replace_lstms(network: nn.Module) -> None:
    """Replace each `nn.LSTM` with a `GraphLSTM`."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.LSTM):
                setattr(module, name, GraphLSTM(child))


def _in_order(weight: Tensor) -> Tensor:
    """Reorder gates from torch (input, forget, cell, output) to ONNX (input, output, forget, cell)."""
    i, f, g, o = weight.detach().chunk(4)
    return torch.cat([i, o, f, g])
