"""Batches made while the network is at work on the one before."""

from __future__ import annotations

import queue
import threading

import numpy as np

from dccrn_cli.training.mixing import Mixer


class Prefetcher:
    """Makes batches in a thread, ahead of the training step and in order.

    Args:
        mixer: makes them.
        size: examples per batch.
        first: number of the first batch.
        ahead: batches that may wait.
    """

    def __init__(self, mixer: Mixer, size: int, first: int, ahead: int = 4) -> None:
        self._queue: queue.Queue[tuple[np.ndarray, np.ndarray] | BaseException] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(mixer, size, first), daemon=True)

    def _work(self, mixer: Mixer, size: int, number: int) -> None:
        while not self._stop.is_set():
            try:
                item: tuple[np.ndarray, np.ndarray] | BaseException = mixer.batch(number, size)
            except Exception as error:  # handed to the thread that waits for the batch
                item = error
            number += 1
            while not self._stop.is_set():
                try:
                    self._queue.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue

    def __enter__(self) -> Prefetcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item
