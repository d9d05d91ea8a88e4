"""Real-time enhancement, with the network in its own thread between two ring buffers."""

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
"""Audio buffered for a network that has fallen behind; anything beyond is lost."""

_POLL_S = 0.002
_FADE_S = 0.01
_METER_S = 0.3
_SILENCE_DBFS = -120.0

Tap = Callable[[np.ndarray, np.ndarray], None]
"""Receives input and result, both `(frames, channels)`, aligned."""


@dataclass(frozen=True)
class LiveStatus:
    """Status of real-time enhancement.

    Attributes:
        seconds: seconds played so far.
        speech_dbfs, noise_dbfs: levels of what the network keeps and removes, RMS over about 0.3 s.
        load: share of time in which the network is busy; near 1 it falls behind.
        xruns: number of losses reported by the audio system.
        missing_s: silence played because the network was late.
        lost_s: input not enhanced because the network was very late.
        bypass: whether the original is played.
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
    """An enhancer between input and output.

    `exchange` takes a block and returns one of the same length, delayed by `delay` samples, without ever waiting.
    If the network is late it returns silence, and later drops as much of the late output, so the delay is constant.

    Args:
        enhancer: an enhancer for exclusive use, at the sample rate of the audio.
        channels: number of channels of all blocks.
        block: frames per call of the network; each call of `exchange` supplies all or part of them. The delay is
            that of the enhancer plus two blocks: one in which the audio arrives, and one in which it is enhanced.
        tap: called from the network's thread.
    """

    def __init__(self, enhancer: Enhancer, channels: int, block: int, tap: Tap | None = None) -> None:
        self.delay = enhancer.latency + 2 * block
        """Delay of the output relative to the input, in samples."""
        self.bypass = False
        """Play the original, with the same delay."""
        self.error: Exception | None = None
        """Error that ended the network's thread, if any."""
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
        """Process a block and fill another one.

        Args:
            heard: input, float32 `(frames, channels)`.
            played: output to fill, of the same shape.
            lost: whether the audio system lost something around this block.
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
        """Current status; may be called from any thread."""
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
                if self._lost > lost:  # after the buffered audio, since the buffer was full then
                    gap, lost = self._lost - lost, self._lost
                    self._advance(np.zeros((gap, self._channels), np.float32))
            self._finish(self._enhancer.flush())
        except Exception as error:  # reported by the thread that waits for the audio
            self.error = error

    def _advance(self, block: np.ndarray) -> None:
        started = time.perf_counter()
        self._dry.push(block)
        self._finish(self._enhancer.process(block, axis=0))
        seconds = len(block) / self._enhancer.sample_rate
        busy = (time.perf_counter() - started) / max(seconds, 1e-9)
        self._load += (busy - self._load) * -math.expm1(-seconds / 1.0)

    def _finish(self, enhanced: np.ndarray) -> None:
        """Pass on the final output."""
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
