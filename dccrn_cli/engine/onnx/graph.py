"""A network from samples to samples with its states as inputs and outputs, for export.

The layers are those of the network. Its timeline is an alternative to that of `engine.stream` without data-dependent
control flow, so the trace of one block is valid for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.engine.fold import fold
from dccrn_cli.engine.onnx.graph_lstm import GraphLSTM, replace_lstms
from dccrn_cli.engine.onnx.model_metadata import GraphState
from dccrn_cli.engine.overlap_add import WEIGHT_EPS, band_gain, gate_band
from dccrn_cli.engine.stream import Slot, find_slots
from dccrn_cli.nn.level import tracked_level
from dccrn_cli.nn.network import SpectralNetwork, Timeline
from dccrn_cli.nn.stft import frame_count


class GraphTimeline(Timeline):
    """The timeline of one block of a mono signal.

    Frames outside the signal are silenced wherever a later frame would see them.

    Args:
        slots: state slots of the network.
        state: their tensors before this block, without empty ones.
        index: index of each frame of the block in the signal, `(frames,)`.
        total: number of frames in the signal, `(1,)`.
    """

    def __init__(self, slots: Sequence[Slot], state: Sequence[Tensor], index: Tensor, total: Tensor) -> None:
        self._slots = iter(slots)
        self._before = iter(state)
        self._index = index
        self._total = total
        self.after: list[Tensor] = []
        """State tensors after this block."""

    def extend(self, x: Tensor, past: int, future: int) -> Tensor:
        """The frames kept from earlier blocks, followed by the new ones."""
        slot = next(self._slots)
        if slot.delay or future:  # otherwise no frame of the signal sees a nonzero one outside it
            x = x * self.inside(slot.delay).float()  # faster in onnxruntime than a selection
        return self._behind_kept(x, past + future)

    def align(self, x: Tensor, delayed: Tensor) -> Tensor:
        """Delay frames to match the delayed ones."""
        slot = next(self._slots)
        return self._behind_kept(x, slot.fresh[0].shape[-1])[..., : x.shape[-1]]

    def level(self, spectrum: Tensor, hop_length: int) -> Tensor:
        """Continue from the level after the previous block."""
        (fresh,) = next(self._slots).fresh
        level = tracked_level(spectrum, hop_length, next(self._before) + fresh)
        self.after.append(level[:, -1] - fresh)  # zero at the start, like all states
        return level.exp()[:, None, None]

    def run_lstm(self, lstm: nn.LSTM, x: Tensor) -> Tensor:
        """Continue from the state after the previous block; frames before the signal leave it unchanged."""
        slot = next(self._slots)
        state = tuple(next(self._before) for _ in slot.fresh)
        closed = (self._index < slot.delay).float() if slot.delay else None
        y, state = cast(GraphLSTM, lstm)(x, state, closed)
        self.after += state
        return cast(Tensor, y)

    def inside(self, delay: int) -> Tensor:
        """Which frames belong to the signal where it arrives delayed by `delay` frames, `(frames,)`."""
        index = self._index - delay
        return (index >= 0) & (index < self._total)

    def _behind_kept(self, x: Tensor, count: int) -> Tensor:
        if count == 0:
            return x
        x = torch.cat([next(self._before), x], dim=-1)
        self.after.append(x[..., -count:])
        return x


class StreamGraph(nn.Module):
    """The inference copy of a network, in float32, for one block of a mono signal.

    Args:
        model: a trained network of any architecture.
        block: samples per block, a multiple of the hop.
    """

    places: Tensor

    def __init__(self, model: SpectralNetwork, block: int) -> None:
        super().__init__()
        self.config, self.block = model.config, block
        cpu = torch.device("cpu")
        self.network = fold(model, cpu)
        # Copies, since tensors made in inference mode cannot be traced.
        self.slots = [
            Slot(slot.delay, tuple(part.clone() for part in slot.fresh), slot.dim)
            for slot in find_slots(self.network, cpu)
        ]
        replace_lstms(self.network)
        starts = torch.arange(0, block, self.config.hop_length)
        self.register_buffer("places", (starts[:, None] + torch.arange(self.config.win_length)).flatten())

    @property
    def latency(self) -> int:
        """Delay of the output relative to the input, in samples."""
        return self.config.look_ahead * self.config.hop_length + self.config.overlap

    @property
    def states(self) -> tuple[GraphState, ...]:
        """States that are inputs and outputs besides the samples."""
        overlap = self.config.overlap
        return (
            GraphState("position", (1,), "int64"),
            GraphState("heard", (1, overlap)),
            GraphState("overlap", (1, 3, overlap)),
            *(
                GraphState(f"{name}_{place}", tuple(part.shape))
                for place, slot in enumerate(self.slots)
                for name, part in zip(_names(slot), slot.fresh, strict=True)
                if part.numel()
            ),
        )

    def forward(
        self, samples: Tensor, length: Tensor, position: Tensor, heard: Tensor, overlap: Tensor, *state: Tensor
    ) -> tuple[Tensor, ...]:
        """Process one block.

        Args:
            samples: `(1, block)`, zeros after the end of the signal.
            length: samples of the whole signal, or `UNKNOWN_LENGTH` before the block with its end, `(1,)`.
            position: number of samples before this block, `(1,)`.
            heard: the newest of those samples, `(1, overlap)`.
            overlap: contributions of earlier frames to this block: signal, gain and windows, `(1, 3, overlap)`.
            state: states of the network.

        Returns:
            Enhanced samples and the network's gain in the gate band (0 to 1) at each of them, both `(1, block)`
            and delayed by `latency` samples; then the states after this block.
        """
        cfg = self.config
        signal = torch.cat([heard, samples], dim=1)
        index = position // cfg.hop_length + torch.arange(self.block // cfg.hop_length)
        total = frame_count(cfg, cast(int, length))
        timeline = GraphTimeline(self.slots, state, index, cast(Tensor, total))
        stft = self.network.stft
        frames = signal.index_select(1, self.places).reshape(1, -1, cfg.win_length)
        estimate, noisy = self.network.estimate(stft.spectrum(frames), timeline)
        power = stft.power.expand(1, len(index), -1)
        gains = power * band_gain(estimate, noisy, gate_band(cfg))
        layers = torch.stack([stft.frames(estimate), gains, power], dim=1)
        layers = torch.where(timeline.inside(cfg.look_ahead)[:, None], layers, torch.zeros(()))
        added = _overlap_add(layers, cfg.hop_length) + F.pad(overlap, (0, self.block))
        enhanced, gain, weight = added[..., : self.block].unbind(1)
        enhanced, gain = enhanced / (weight + WEIGHT_EPS), gain / (weight + WEIGHT_EPS)
        if cfg.clamp:
            enhanced = enhanced.clamp(-1.0, 1.0)
        after = position + self.block, signal[:, self.block :], added[..., self.block :]
        return enhanced, gain, *after, *timeline.after


def _names(slot: Slot) -> tuple[str, ...]:
    if len(slot.fresh) == 2:
        return "hidden", "cell"
    return ("level",) if slot.fresh[0].dim() == 1 else ("frames",)


def _overlap_add(pieces: Tensor, hop_length: int) -> Tensor:
    """`(..., frames, win_length)` → `(..., (frames - 1) * hop_length + win_length)`."""
    frames, win_length = pieces.shape[-2:]
    count = -(-win_length // hop_length)
    hops = F.pad(pieces, (0, count * hop_length - win_length)).reshape(*pieces.shape[:-1], count, hop_length)
    moved = [F.pad(hops[..., k, :], (0, 0, k, count - 1 - k)) for k in range(count)]
    return torch.stack(moved).sum(0).flatten(-2)[..., : (frames - 1) * hop_length + win_length]
