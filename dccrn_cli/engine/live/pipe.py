"""Sound enhanced as it happens: the network in a thread of its own, between two ring buffers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dccrn_cli.audio.ring import SampleRing
from dccrn_cli.audio.sample_queue import SampleQueue
from dccrn_cli.engine.enhancer import Enhancer
from dccrn_cli.engine.files.worker import prepare_torch

BACKLOG_S = 10.0
"""Sound that may wait for a network that has fallen behind; what comes on top is lost."""

_POLL_S = 0.002
_FADE_S = 0.01
_METER_S = 0.3
_SILENCE_DBFS = -120.0

Tap = Callable[[np.ndarray, np.ndarray], None]
"""Takes what was heard and what became of it, both `(frames, channels)`, aligned."""


@dataclass(frozen=True)
class LiveStatus:
    """What is going on.

    Attributes:
        seconds: played so far.
        speech_dbfs, noise_dbfs: levels of what the network keeps and of what it removes, RMS over about 0.3 s.
        load: share of the time in which the network is busy; near 1 it falls behind.
        xruns: times that the system of sound lost something, by its own account.
        missing_s: silence played because the network was late.
        lost_s: sound that was heard and not enhanced, because it was very late.
        bypass: the original is played.
    """

    seconds: float
    speech_dbfs: float
    noise_dbfs: float
    load: float
    xruns: int
    missing_s: float
    lost_s: float
    bypass: bool


class LivePipe:
    """An enhancer between what is heard and what is played.

    `exchange` takes a block and gives one of the same length, `delay` samples behind, and never waits. Where the
    network is late it gives silence, and leaves out as much of what comes too late: the delay stays the same.

    Args:
        enhancer: its own, in the rate of the sound.
        channels: of all blocks.
        block: frames that the network takes at once, of which each call of `exchange` brings the whole or a part.
            The delay is that of the enhancer and two blocks: one in which the sound arrives, and one in which it
            is enhanced.
        tap: called from the network's thread.
    """

    def __init__(self, enhancer: Enhancer, channels: int, block: int, tap: Tap | None = None) -> None:
        self.delay = enhancer.latency + 2 * block
        """Samples by which what is played lags behind what is heard."""
        self.bypass = False
        """Play the original, with the same delay."""
        self.error: Exception | None = None
        """What ended the network's thread, if anything did."""
        self._enhancer = enhancer
        self._channels = channels
        self._block = block
        self._tap = tap
        backlog = round(BACKLOG_S * enhancer.sample_rate)
        self._heard = SampleRing(backlog, channels)
        self._ready = SampleRing(backlog + self.delay, channels)
        self._ready.write(np.zeros((self.delay, channels), np.float32))
        # Written by the thread that calls `exchange`.
        self._played = self._missing = self._owed = self._lost = self._xruns = 0
        # Written by the network's thread.
        self._dry = SampleQueue(channels)
        self._speech = self._noise = self._load = 0.0
        self._wet = 1.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="dccrn live", daemon=True)

    def exchange(self, heard: np.ndarray, played: np.ndarray, lost: bool = False) -> None:
        """Take a block and fill another one.

        Args:
            heard: float32 `(frames, channels)`.
            played: filled, of the same shape.
            lost: the system of sound lost something around this block.
        """
        self._lost += len(heard) - self._heard.write(heard)
        self._owed -= self._ready.skip(self._owed)
        got = self._ready.read_into(played)
        played[got:] = 0.0
        self._owed += len(played) - got
        self._missing += len(played) - got
        self._played += len(played)
        self._xruns += lost

    def status(self) -> LiveStatus:
        """What is going on, from any thread."""
        rate = self._enhancer.sample_rate
        return LiveStatus(
            self._played / rate,
            _dbfs(self._speech),
            _dbfs(self._noise),
            self._load,
            self._xruns,
            self._missing / rate,
            self._lost / rate,
            self.bypass,
        )

    def __enter__(self) -> LivePipe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            prepare_torch(1)
            lost = 0
            while not self._stop.is_set() or self._heard.available:
                if self._heard.available < self._block and not self._stop.is_set():
                    time.sleep(_POLL_S)
                    continue
                self._advance(self._heard.read(self._enhancer.sample_rate))
                if self._lost > lost:  # behind what waited, since that was when there was no room
                    gap, lost = self._lost - lost, self._lost
                    self._advance(np.zeros((gap, self._channels), np.float32))
            self._finish(self._enhancer.flush())
        except Exception as error:  # told by whoever waits for the sound
            self.error = error

    def _advance(self, block: np.ndarray) -> None:
        started = time.perf_counter()
        self._dry.push(block)
        self._finish(self._enhancer.process(block, axis=0))
        seconds = len(block) / self._enhancer.sample_rate
        busy = (time.perf_counter() - started) / max(seconds, 1e-9)
        self._load += (busy - self._load) * -math.expm1(-seconds / 1.0)

    def _finish(self, enhanced: np.ndarray) -> None:
        """Hand on what is final."""
        if not len(enhanced):
            return
        enhanced = enhanced.reshape(-1, self._channels)
        dry = self._dry.pop(len(enhanced))
        step = 1.0 / (_FADE_S * self._enhancer.sample_rate)
        wet = self._wet + np.arange(1, len(enhanced) + 1, dtype=np.float32) * (-step if self.bypass else step)
        wet = np.clip(wet, 0.0, 1.0)[:, None]
        self._wet = float(wet[-1, 0])
        out = dry + wet * (enhanced - dry)
        self._ready.write(np.clip(out, -1.0, 1.0))
        share = -math.expm1(-len(out) / (_METER_S * self._enhancer.sample_rate))
        self._speech += share * (float(np.square(enhanced).mean()) - self._speech)
        self._noise += share * (float(np.square(dry - enhanced).mean()) - self._noise)
        if self._tap is not None:
            self._tap(dry, out)


def _dbfs(power: float) -> float:
    return max(10 * math.log10(power), _SILENCE_DBFS) if power > 0 else _SILENCE_DBFS
