"""Shares one network among many threads, each with its own signal."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from dccrn_cli.engine.stream import Piece, State, Stream, StreamingNetwork

GATHERING_S = 0.002
"""How long a batch waits for active signals that have nothing to run yet."""


@dataclass(frozen=True)
class _Request:
    piece: Piece
    result: Future[tuple[Tensor, Tensor, State]] = field(default_factory=Future)


class DynamicBatching:
    """Gathers the calls of many threads to one network into batches.

    Each stream gets the same result as on its own. This is for GPUs; on a CPU large batches are slower
    than one stream after another. The network runs in its own thread, which ends with `close` or the
    context.

    Args:
        network: network shared by all streams.
        max_batch: largest number of channels per batch; a stream with more runs by itself. It is halved
            whenever the device runs out of memory.
    """

    def __init__(self, network: StreamingNetwork, max_batch: int = 32) -> None:
        self.config, self.device, self.stft = network.config, network.device, network.stft
        self._network = network
        self._max_batch = max_batch
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []
        self._under_way: weakref.WeakSet[_Session] = weakref.WeakSet()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="dccrn-network", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> Stream:
        """Open a stream through this network, for one thread at a time.

        Its `process` and `flush` raise the error of their batch, and RuntimeError once the network is
        closed; after `reset` it can be used for another signal.
        """
        return _Session(self)

    def close(self) -> None:
        """Stop the thread; streams waiting for a result get a RuntimeError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _advance(self, session: _Session, piece: Piece) -> tuple[Tensor, Tensor, State]:
        request = _Request(piece)
        with self._changed:
            if self._closed:
                raise RuntimeError("the network is closed")
            self._under_way.add(session)
            self._waiting.append(request)
            self._changed.notify_all()
        return request.result.result()

    def _leave(self, session: _Session) -> None:
        with self._changed:
            self._under_way.discard(session)
            self._changed.notify_all()

    def _serve(self) -> None:
        ending: Exception = RuntimeError("the network was closed")
        try:
            while batch := self._next_batch():
                self._run(batch)
                if self.device.type == "cuda":
                    # Requests that arrive while the device works form the next batch.
                    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                    done.record(torch.cuda.current_stream(self.device))
                    done.synchronize()
        except Exception as error:  # the device is lost: nobody may keep waiting
            ending = error
        with self._changed:
            self._closed = True
            for request in self._waiting:
                request.result.set_exception(ending)

    def _next_batch(self) -> list[_Request]:
        """The oldest requests that fit in a batch; empty once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            until = time.monotonic() + GATHERING_S
            while not (self._closed or self._is_worth_running()) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._closed:
                return []
            count, rows = 1, self._waiting[0].piece.rows
            for request in self._waiting[1:]:
                rows += request.piece.rows
                if rows > self._max_batch:
                    break
                count += 1
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            return batch

    def _is_worth_running(self) -> bool:
        return len(self._waiting) >= min(len(self._under_way), self._max_batch)

    def _run(self, batch: list[_Request]) -> None:
        """Run a batch and distribute the results or the error."""
        try:
            results = self._network.advance([request.piece for request in batch])
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                batch[0].result.set_exception(error)
                return
        except Exception as error:
            for request in batch:
                request.result.set_exception(error)
            return
        else:
            for request, result in zip(batch, results, strict=True):
                request.result.set_result(result)
            return
        # Only now have the tensors of the failed run been freed.
        middle = len(batch) // 2
        self._max_batch = max(self._max_batch // 2, 1)
        self._run(batch[:middle])
        self._run(batch[middle:])


class _Session(Stream):
    """A stream whose pieces run in batches."""

    def __init__(self, batching: DynamicBatching) -> None:
        self._batching = batching
        super().__init__(batching.config, batching._network.fresh_state, lambda piece: batching._advance(self, piece))

    def reset(self) -> None:
        super().reset()
        self._batching._leave(self)
