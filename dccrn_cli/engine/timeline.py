"""Networks other than the DCCRN on one stream: what their layers keep between two pieces.

Each layer that sees future gives its frames that much later, and skip connections wait for
them. Silence stands before the first frame of every layer and after its last, as in the network
on a whole signal, so the two agree.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from dccrn_cli.nn.base import NetworkConfig
from dccrn_cli.nn.level import tracked_level
from dccrn_cli.nn.network import SpectralNetwork, Timeline


class StreamTimeline(Timeline):
    """Time of a signal that comes in pieces. What is kept has its place in the order of the calls."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._places = itertools.count()
        self._ended = False

    def start_piece(self, *, ended: bool = False) -> None:
        """The next calls are for the next piece, or for what remains when the signal has ended."""
        self._places = itertools.count()
        self._ended = ended

    def _take(self) -> tuple[int, Any]:
        place = next(self._places)
        if place == len(self.kept):
            self.kept.append(None)
        return place, self.kept[place]

    def extend(self, x: Tensor, past: int, future: int) -> Tensor:
        """As many frames more as are final; the last are kept for the next piece."""
        place, before = self._take()
        before = x.new_zeros(*x.shape[:-1], past) if before is None else before
        after = [x.new_zeros(*x.shape[:-1], future)] if self._ended else []
        x = torch.cat([before, x, *after], dim=-1)
        self.kept[place] = x[..., max(x.shape[-1] - past - future, 0) :].clone()
        return x

    def align(self, x: Tensor, late: Tensor) -> Tensor:
        """As many of the frames that wait as have come late."""
        place, before = self._take()
        x = x if before is None else torch.cat([before, x], dim=-1)
        count = late.shape[-1]
        self.kept[place] = x[..., count:].clone()
        return x[..., :count]

    def level(self, spectrum: Tensor, hop_length: int) -> Tensor:
        """Each piece goes on from the level after the one before."""
        place, before = self._take()
        level = tracked_level(spectrum, hop_length, before)
        if level.shape[1]:
            self.kept[place] = level[:, -1]
        return level.exp()[:, None, None]

    def run_lstm(self, lstm: nn.LSTM, x: Tensor) -> Tensor:
        """Each piece goes on with the state after the one before."""
        place, state = self._take()
        if x.shape[1] == 0:
            return x.new_zeros(x.shape[0], 0, lstm.hidden_size)
        y: Tensor
        y, self.kept[place] = lstm(x, state)
        return y


class TimelineStream:
    """One signal on its way through a network, with the interface of `Stream`.

    Args:
        network: it is copied.
        device: where to run.
    """

    def __init__(self, network: SpectralNetwork, device: torch.device) -> None:
        self._network = copy.deepcopy(network).to(device).eval()
        self.reset()

    @property
    def config(self) -> NetworkConfig:
        """That of the network."""
        return self._network.config

    def reset(self) -> None:
        """Forget everything heard so far."""
        self.timeline = StreamTimeline()
        self._nothing: Tensor | None = None

    def process(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Take frames, give the estimated and the plain spectrum of those that are final."""
        self.timeline.start_piece()
        self._nothing = spectrum[..., :0]
        return self._run(spectrum)

    def flush(self) -> tuple[Tensor, Tensor]:
        """The frames still under way at the end of the signal; the next `process` starts a new one."""
        if self._nothing is None:
            raise ValueError("nothing has been processed")
        self.timeline.start_piece(ended=True)
        rest = self._run(self._nothing)
        self.reset()
        return rest

    def _run(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        # TF32, which cuDNN prefers, would make the result depend on the cut into pieces.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self._network.estimate(spectrum, self.timeline)
