"""Work on many files in processes, each piece big enough to be worth its way."""

from __future__ import annotations

import concurrent.futures
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dccrn_cli.interrupt import Interrupt, signals_held_back

T = TypeVar("T")
R = TypeVar("R")

CHUNK_FILES = 32
"""Most files that a process is given at once."""

FILES_PER_PROCESS = 8
"""Files that make a further process worth its start."""


def count_processes(tasks: int, jobs: int | None) -> int:
    """As many as are wanted, or as pay; never more than tasks."""
    import joblib

    tasks = max(tasks, 1)
    return min(jobs, tasks) if jobs else min(joblib.cpu_count(), math.ceil(tasks / FILES_PER_PROCESS))


def map_in_processes(
    function: Callable[[T], R], work: Sequence[tuple[float, T]], count: int, interrupt: Interrupt
) -> Iterator[tuple[T, R | None]]:
    """Each task with its result, in any order; None where a process died of it.

    Where a process dies, what it may have died of is done again, each in a call of its own.

    Args:
        function: goes to the processes by pickle.
        work: tasks with their size in any unit, the largest first.
        count: processes.
        interrupt: ends the iteration.
    """
    left = dict(enumerate(work))
    alone: list[int] = []
    while left and not interrupt.requested:
        chunks = iter([[alone.pop()]]) if alone else _chunks(left, count)
        begun: list[int] = []
        try:
            for number, result in _pass(function, chunks, left, begun, count, interrupt):
                _, task = left.pop(number)
                yield task, result
        except concurrent.futures.BrokenExecutor:
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
    count: int,
    interrupt: Interrupt,
) -> Iterator[tuple[int, R]]:
    """One call of joblib; `begun` fills with what it has taken up."""
    import joblib

    def calls() -> Iterator[Any]:
        for chunk in chunks:
            begun.extend(chunk)
            yield joblib.delayed(_work)(function, [(number, left[number][1]) for number in chunk])

    with warnings.catch_warnings(), joblib.parallel_config("loky", n_jobs=count, inner_max_num_threads=1):
        # joblib's words on workers that it replaces are none of a user's business.
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


def _chunks(left: Mapping[int, tuple[float, T]], count: int) -> Iterator[list[int]]:
    """Pieces of work that become smaller towards the end, so that all processes end together."""
    items = [(number, weight) for number, (weight, _) in left.items()]
    rest = sum(weight for _, weight in items)
    chunk: list[int] = []
    size = 0.0
    for number, weight in items:
        chunk.append(number)
        size += weight
        if size >= rest / (4 * count) or len(chunk) == CHUNK_FILES:
            yield chunk
            rest -= size
            chunk, size = [], 0.0
    if chunk:
        yield chunk
