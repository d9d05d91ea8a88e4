"""Prepares batches while the network processes the previous one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from dccrn_cli.errors import DccrnError
from dccrn_cli.mixing.source import ExampleSource
from dccrn_cli.utils.interrupt import leave_signals_to_parent

AHEAD = 4
"""Number of batches prepared ahead."""


@dataclass(frozen=True)
class Batch:
    """Examples for one step.

    Attributes:
        noisy, clean: float32 `(examples, samples)`.
        unreadable: clips that could not be read so far, with the reasons.
    """

    noisy: np.ndarray
    clean: np.ndarray
    unreadable: dict[str, str]


class Batches(Dataset[Batch]):
    """The batches of a run by number.

    Args:
        source: source of the examples.
        size: examples per batch in this process.
        rank, processes: this process takes batch `n * processes + rank` of the source as its part of batch n.
    """

    def __init__(self, source: ExampleSource, size: int, rank: int = 0, processes: int = 1) -> None:
        self.source = source
        self.size = size
        self.rank = rank
        self.processes = processes

    def __getitem__(self, number: int) -> Batch:
        noisy, clean = self.source.batch(number * self.processes + self.rank, self.size)
        return Batch(noisy, clean, self.source.unreadable)


@contextmanager
def prefetched(batches: Batches, numbers: range, workers: int = 0) -> Iterator[Iterator[Batch]]:
    """Yield the batches with these numbers in order, prepared ahead.

    Args:
        workers: processes that prepare them; 0 for a thread of this process.
    """
    if workers:
        loader = DataLoader(
            _Sent(batches), batch_size=None, sampler=numbers, num_workers=workers, collate_fn=_as_is,
            worker_init_fn=leave_signals_to_parent,
        )  # fmt: skip
        yield map(_opened, loader)
        return
    with Prefetcher(batches, numbers) as made:
        yield made


class _Sent(Dataset["Batch | DccrnError"]):
    """Batches made in another process. Errors are returned, since torch would turn their messages into tracebacks."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, number: int) -> Batch | DccrnError:
        try:
            return self.batches[number]
        except DccrnError as error:
            return error


def _opened(sent: Batch | DccrnError) -> Batch:
    if isinstance(sent, DccrnError):
        raise sent
    return sent


def _as_is(batch: Any) -> Any:
    return batch


class Prefetcher(Iterator[Batch]):
    """Prepares batches in a thread, in order.

    Args:
        batches: source of the batches.
        numbers: numbers of the batches.
    """

    def __init__(self, batches: Batches, numbers: Iterable[int]) -> None:
        self._queue: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(batches, numbers), daemon=True)

    def _work(self, batches: Batches, numbers: Iterable[int]) -> None:
        for number in numbers:
            try:
                item: Batch | BaseException = batches[number]
            except Exception as error:  # passed to the thread waiting for the batch
                item = error
            if not self._put(item):
                return
        self._put(StopIteration())

    def _put(self, item: Batch | BaseException) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def __enter__(self) -> Prefetcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __next__(self) -> Batch:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item
