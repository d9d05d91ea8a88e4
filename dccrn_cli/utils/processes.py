"""Processes many tasks in parallel, in chunks large enough to be worth sending."""

from __future__ import annotations

import concurrent.futures
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dccrn_cli.utils.interrupt import Interrupt, leave_signals_to_parent, signals_held_back

T = TypeVar("T")
R = TypeVar("R")

_WATCH_S = 0.5

in_progress = threading.Lock()
"""Held by a worker while it writes files: if its parent dies, it may first remove what is partial."""

CHUNK_FILES = 32
"""Most tasks sent to a process at once; sending short tasks one by one would cost too much."""


def local_processes(count: int, threads: int = 1) -> Any:
    """Context in which `map_in_processes` uses `count` local processes with `threads` threads each."""
    import joblib

    return joblib.parallel_config(
        "loky", n_jobs=count, inner_max_num_threads=threads, initializer=_watch_parent, initargs=(os.getpid(),)
    )


def _watch_parent(parent: int) -> None:
    """End this process after its parent was killed, of which nothing else tells a worker that waits for work.

    Ctrl-C, which the terminal sends to workers too, is left to the parent.
    """
    leave_signals_to_parent()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        with in_progress:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def map_in_processes(
    function: Callable[[T], R],
    work: Sequence[tuple[float, T]],
    count: int,
    interrupt: Interrupt,
    *,
    again: Callable[[T], R] | None = None,
    chunk_size: float = math.inf,
) -> Iterator[tuple[T, R | None]]:
    """Yield each task with its result, in any order, using joblib's configured processes.

    If a process dies, all tasks in progress are repeated, each in a call of its own. A task that kills its
    process a second time has no result; the others continue.

    Args:
        function: called in the processes; must be picklable.
        work: tasks with their size in any unit, largest first.
        count: number of processes.
        interrupt: ends the iteration.
        again: used instead of `function` for repeated tasks.
        chunk_size: most work sent to a process at once, in the unit of `work`.
    """
    left = dict(enumerate(work))
    alone: list[int] = []
    while left and not interrupt.requested:
        chunks, call = _chunks(left, count, chunk_size), function
        if alone:
            chunks, call = iter([[alone.pop()]]), again or function
        begun: list[int] = []
        try:
            for number, result in _pass(call, chunks, left, begun, interrupt):
                _, task = left.pop(number)
                yield task, result
        except Exception as error:
            if not _is_death(error):
                raise
            suspects = [number for number in begun if number in left]
            if len(suspects) > 1:
                alone += suspects
                continue
            for number in suspects:
                _, task = left.pop(number)
                yield task, None


def _pass(
    function: Callable[[T], R],
    chunks: Iterable[list[int]],
    left: Mapping[int, tuple[float, T]],
    begun: list[int],
    interrupt: Interrupt,
) -> Iterator[tuple[int, R]]:
    """One joblib call; the tasks it starts are added to `begun`."""
    import joblib

    def calls() -> Iterator[Any]:
        for chunk in chunks:
            begun.extend(chunk)
            yield joblib.delayed(_work)(function, [(number, left[number][1]) for number in chunk])

    with warnings.catch_warnings():
        # Users need not know about workers that joblib replaces.
        warnings.filterwarnings("ignore", category=UserWarning, module="joblib")
        with signals_held_back():
            results = joblib.Parallel(return_as="generator_unordered", batch_size=1)(calls())
        try:
            while True:
                with interrupt.waiting():
                    done = next(results, None)
                if done is None:
                    return
                yield from done
        except KeyboardInterrupt:
            if not interrupt.requested:
                raise
        finally:
            results.close()


def _work(function: Callable[[T], R], items: Sequence[tuple[int, T]]) -> list[tuple[int, R]]:
    return [(number, function(task)) for number, task in items]


def _is_death(error: Exception) -> bool:
    """Whether a process died without returning a result."""
    if isinstance(error, concurrent.futures.BrokenExecutor):
        return True
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(error, distributed.KilledWorker)


def _chunks(left: Mapping[int, tuple[float, T]], count: int, most: float) -> Iterator[list[int]]:
    """Chunks of work that shrink towards the end, so that all processes finish together."""
    items = [(number, weight) for number, (weight, _) in left.items()]
    rest = sum(weight for _, weight in items)
    chunk: list[int] = []
    size = 0.0
    for number, weight in items:
        chunk.append(number)
        size += weight
        if size >= min(most, rest / (4 * count)) or len(chunk) == CHUNK_FILES:
            yield chunk
            rest -= size
            chunk, size = [], 0.0
    if chunk:
        yield chunk
