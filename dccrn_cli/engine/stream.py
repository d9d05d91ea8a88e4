"""Networks on streams: the state their layers keep between pieces, for one stream or a batch of them.

Every layer is causal if its output counts as delayed: a layer with look-ahead treats its newest frames as the future.
So each layer returns as many frames as it receives, and the state of a stream has a fixed size: frames for
convolutions and skip connections, and the states of LSTMs. Frames before the start or after the end of a signal are
silenced wherever a layer would see them, as in the network on the whole signal.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.engine.fold import Precision, fold, pick_precision
from dccrn_cli.nn.base import NetworkConfig
from dccrn_cli.nn.level import FLOOR, tracked_level
from dccrn_cli.nn.network import SpectralNetwork, Timeline

State = list[tuple[Tensor, ...]]
"""State of a stream, in the order of the calls of its timeline."""


@dataclass(frozen=True)
class Slot:
    """State that a stream keeps at one call of its timeline.

    Attributes:
        delay: delay in frames of what arrives there.
        fresh: its value at the start of a signal of one row.
        dim: dimension along which the rows of several signals are concatenated.
    """

    delay: int
    fresh: tuple[Tensor, ...]
    dim: int = 0


@dataclass(frozen=True)
class Piece:
    """The next frames of a stream.

    Attributes:
        spectrum: `(rows, 2, bins, frames)`, at least one frame; values after the end of the signal are
            ignored.
        state: the state after the previous piece, or a fresh one.
        position: number of frames before this piece.
        total: number of frames of the whole signal if this piece extends beyond its end, otherwise None.
    """

    spectrum: Tensor
    state: State
    position: int
    total: int | None = None

    @property
    def rows(self) -> int:
        """Number of channels."""
        return self.spectrum.shape[0]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.spectrum.shape[-1]


class StreamTimeline(Timeline):
    """The timeline of the next pieces of one or more streams, each row with its own past and end.

    Args:
        slots: state slots of the network.
        pieces: the pieces; shorter ones are padded to the longest.
    """

    def __init__(self, slots: Sequence[Slot], pieces: Sequence[Piece]) -> None:
        self._slots = slots
        self._pieces = pieces
        self._device = pieces[0].spectrum.device
        self._lengths = [piece.frames for piece in pieces for _ in range(piece.rows)]
        self._positions = [piece.position for piece in pieces for _ in range(piece.rows)]
        ends = [math.inf if piece.total is None else piece.total for piece in pieces for _ in range(piece.rows)]
        self._ends = ends if any(math.isfinite(end) for end in ends) else []
        self._frames = max(self._lengths)
        self._uniform = min(self._lengths) == self._frames
        self._kept: State = []
        self._silent: dict[int, Tensor | None] = {}

    def join(self) -> Tensor:
        """Concatenate the spectra of all pieces, `(rows, 2, bins, frames)`."""
        if len(self._pieces) == 1:
            return self._pieces[0].spectrum
        return torch.cat([F.pad(piece.spectrum, (0, self._frames - piece.frames)) for piece in self._pieces])

    def states(self) -> Iterator[State]:
        """The new state of each piece's stream."""
        rows = [piece.rows for piece in self._pieces]
        if len(rows) == 1:
            yield self._kept
            return
        total = sum(rows)
        split = [
            [torch.split(t, [t.shape[slot.dim] // total * count for count in rows], slot.dim) for t in kept]
            for slot, kept in zip(self._slots, self._kept, strict=True)
        ]
        for index in range(len(rows)):
            yield [tuple(parts[index].clone() for parts in tensors) for tensors in split]

    def extend(self, x: Tensor, past: int, future: int) -> Tensor:
        """The frames kept from earlier pieces, followed by the new ones."""
        slot, (before,) = self._take()
        x = torch.cat([before, self._silence_outside(x, slot.delay)], dim=-1)
        self._kept.append((self._newest(x, past + future),))
        return x

    def align(self, x: Tensor, delayed: Tensor) -> Tensor:
        """Delay frames to match the delayed ones."""
        _, (before,) = self._take()
        x = torch.cat([before, x], dim=-1)
        self._kept.append((self._newest(x, before.shape[-1]),))
        return x[..., : self._frames]

    def level(self, spectrum: Tensor, hop_length: int) -> Tensor:
        """Continue from the level after the previous piece."""
        _, (before,) = self._take()
        level = tracked_level(spectrum, hop_length, before)
        self._kept.append((self._newest(torch.cat([before[:, None], level], dim=-1), 1)[..., 0],))
        return level.exp()[:, None, None]

    def run_lstm(self, lstm: nn.LSTM, x: Tensor) -> Tensor:
        """Continue from the state after the previous piece; frames before the signal leave it unchanged."""
        slot, state = self._take()
        x = x.float()
        spans = defaultdict(list)
        for row, (length, position) in enumerate(zip(self._lengths, self._positions, strict=True)):
            spans[min(max(slot.delay - position, 0), length), length].append(row)
        if list(spans) == [(0, self._frames)]:
            y, state = lstm(x, state)
        else:
            copies = x.shape[0] // len(self._lengths)
            y = x.new_zeros(*x.shape[:2], lstm.hidden_size)
            state = tuple(part.clone() for part in state)
            for (start, stop), rows in spans.items():
                if start == stop:
                    continue
                these = torch.tensor(rows, device=x.device)[:, None] * copies + torch.arange(copies, device=x.device)
                these = these.flatten()
                y[these, start:stop], new = lstm(x[these, start:stop], tuple(part[:, these] for part in state))
                for part, value in zip(state, new, strict=True):
                    part[:, these] = value
        self._kept.append(state)
        return cast(Tensor, y)

    def _take(self) -> tuple[Slot, tuple[Tensor, ...]]:
        place = len(self._kept)
        slot = self._slots[place]
        states = [piece.state[place] for piece in self._pieces]
        if len(states) == 1:
            return slot, states[0]
        return slot, tuple(torch.cat(parts, dim=slot.dim) for parts in zip(*states, strict=True))

    def _newest(self, x: Tensor, count: int) -> Tensor:
        """The last `count` frames of each row of `x`, which has that many before the new ones."""
        if self._uniform:
            return x[..., x.shape[-1] - count :].clone()
        first = torch.tensor(self._lengths, device=x.device)[:, None]
        index = (first + torch.arange(count, device=x.device)).reshape(len(first), *[1] * (x.dim() - 2), count)
        return torch.take_along_dim(x, index, dim=-1)

    def _silence_outside(self, x: Tensor, delay: int) -> Tensor:
        """Zero the frames outside the signal."""
        if delay not in self._silent:
            self._silent[delay] = self._outside(delay)
        outside = self._silent[delay]
        return x if outside is None else x.masked_fill(outside.reshape(len(outside), *[1] * (x.dim() - 2), -1), 0.0)

    def _outside(self, delay: int) -> Tensor | None:
        if not self._ends and min(self._positions) >= delay:
            return None
        first = torch.tensor(self._positions, device=self._device)[:, None]
        frame = first + torch.arange(self._frames, device=self._device) - delay
        outside = frame < 0
        return outside | (frame >= torch.tensor(self._ends, device=self._device)[:, None]) if self._ends else outside


class _Probe(Timeline):
    """Finds the slots by running a network that drops frames whose future is missing."""

    def __init__(self, frames: int) -> None:
        self.slots: list[Slot] = []
        self._frames = frames

    def extend(self, x: Tensor, past: int, future: int) -> Tensor:
        self._add(x, past + future)
        return F.pad(x, (past, 0))

    def align(self, x: Tensor, delayed: Tensor) -> Tensor:
        self._add(x, x.shape[-1] - delayed.shape[-1])
        return x[..., : delayed.shape[-1]]

    def level(self, spectrum: Tensor, hop_length: int) -> Tensor:
        self.slots.append(Slot(0, (spectrum.new_full((1,), math.log(FLOOR)),)))
        return super().level(spectrum, hop_length)

    def run_lstm(self, lstm: nn.LSTM, x: Tensor) -> Tensor:
        y, state = lstm(x.float())
        self.slots.append(Slot(self._frames - x.shape[1], tuple(map(torch.zeros_like, state)), dim=1))
        return cast(Tensor, y)

    def _add(self, x: Tensor, frames: int) -> None:
        self.slots.append(Slot(self._frames - x.shape[-1], (x.new_zeros(*x.shape[:-1], frames),)))


def find_slots(network: SpectralNetwork, device: torch.device) -> list[Slot]:
    """Find the state that a stream keeps at each call of a network's timeline.

    Args:
        network: any network, in evaluation mode.
        device: device of its weights.
    """
    probe = _Probe(network.config.look_ahead + 1)
    with _exact():
        spectrum = torch.zeros(1, 2, network.config.n_fft // 2 + 1, network.config.look_ahead + 1, device=device)
        network.estimate(spectrum, probe)
    return probe.slots


class StreamingNetwork:
    """The inference copy of a trained network, for any number of streams, each with its own state.

    Args:
        model: a network of any architecture.
        device: device to run on.
        precision: precision of convolutions and matrix products; "auto" for bfloat16 on CPUs that support
            it natively.
    """

    def __init__(
        self, model: SpectralNetwork, device: torch.device | str = "cpu", precision: Precision = "auto"
    ) -> None:
        self.config = model.config
        self.device = torch.device(device)
        self._network = fold(model, self.device, pick_precision(precision, self.device))
        self.stft = self._network.stft
        """Shared by all streams, since it has no state."""

    @functools.cached_property
    def slots(self) -> list[Slot]:
        """State slots of each stream."""
        return find_slots(self._network, self.device)

    def fresh_state(self, rows: int) -> State:
        """The state of a stream of `rows` channels at the start of a signal."""
        return [tuple(torch.cat([part] * rows, dim=slot.dim) for part in slot.fresh) for slot in self.slots]

    def advance(self, pieces: Sequence[Piece]) -> list[tuple[Tensor, Tensor, State]]:
        """Run the next pieces of several streams; each result depends only on its own stream.

        Returns:
            For each piece the estimated and the noisy spectrum, both delayed by `look_ahead` frames, and
            the state after it.
        """
        timeline = StreamTimeline(self.slots, pieces)
        with _exact():
            estimate, noisy = self._network.estimate(timeline.join(), timeline)
        rows = [piece.rows for piece in pieces]
        parts = zip(pieces, torch.split(estimate, rows), torch.split(noisy, rows), timeline.states(), strict=True)
        return [(got[..., : piece.frames], plain[..., : piece.frames], state) for piece, got, plain, state in parts]

    def open(self) -> Stream:
        """Open a stream through this network, for one thread at a time."""
        return Stream(self.config, self.fresh_state, lambda piece: self.advance([piece])[0])


class Stream:
    """A stream of one signal through a network.

    Args:
        config: configuration of the network.
        fresh_state: returns the state of a number of rows at the start of a signal.
        advance: runs a piece.
    """

    def __init__(
        self,
        config: NetworkConfig,
        fresh_state: Callable[[int], State],
        advance: Callable[[Piece], tuple[Tensor, Tensor, State]],
    ) -> None:
        self._config = config
        self._fresh_state = fresh_state
        self._advance = advance
        self.reset()

    def reset(self) -> None:
        """Discard the current signal."""
        self._state: State | None = None
        self._silence: Tensor | None = None
        self._position = 0

    def process(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Process frames; returns the estimated and the noisy spectrum of those that are final.

        Args:
            spectrum: `(rows, 2, bins, frames)`.
        """
        return self._run(spectrum, None)

    def flush(self) -> tuple[Tensor, Tensor]:
        """Return the remaining frames at the end of the signal; the next `process` starts a new one."""
        if self._silence is None:
            raise ValueError("nothing has been processed")
        rest = self._run(self._silence.expand(*self._silence.shape[:-1], self._config.look_ahead), self._position)
        self.reset()
        return rest

    def _run(self, spectrum: Tensor, total: int | None) -> tuple[Tensor, Tensor]:
        if spectrum.shape[-1] == 0 or total == 0:
            return spectrum[..., :0], spectrum[..., :0]
        if self._state is None:
            self._state = self._fresh_state(len(spectrum))
            self._silence = torch.zeros_like(spectrum[..., :1])
        estimate, noisy, self._state = self._advance(Piece(spectrum, self._state, self._position, total))
        early = max(self._config.look_ahead - self._position, 0)
        self._position += spectrum.shape[-1]
        return estimate[..., early:], noisy[..., early:]


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """Disable gradients, and TF32, which would make the result depend on how a stream is cut into pieces."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
