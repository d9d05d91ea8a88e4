"""Batches in processes of this machine, or of many, through joblib."""

from __future__ import annotations

import concurrent.futures
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dccrn_cli.audio.atomic import remove_leftovers
from dccrn_cli.audio.plan import Job
from dccrn_cli.engine.options import FILE_S, EnhanceOptions, Workers
from dccrn_cli.engine.results import FileResult
from dccrn_cli.errors import MissingDependency, OptionError
from dccrn_cli.interrupt import Interrupt, signals_held_back

if TYPE_CHECKING:
    from dccrn_cli.engine.board import ProgressBoard

CHUNK_S, CHUNK_FILES = 30.0, 32
"""Audio and files that a worker is given at once, at most: one short file is not worth the way."""

PATIENCE_S = 5.0
"""How long to wait until killed processes have let go of their files."""

_DIED = "the process at work on it died twice; out of memory?"


def on_this_machine(
    jobs: Sequence[Job],
    lengths: Sequence[float],
    count: int,
    options: EnhanceOptions,
    interrupt: Interrupt,
    board: ProgressBoard | None,
) -> Iterator[FileResult]:
    import joblib

    with joblib.parallel_config("loky", n_jobs=count, inner_max_num_threads=options.threads):
        yield from _in_processes(jobs, lengths, count, options, interrupt, board, os.getpid())


def _in_processes(
    jobs: Sequence[Job],
    lengths: Sequence[float],
    count: int,
    options: EnhanceOptions,
    interrupt: Interrupt,
    board: ProgressBoard | None,
    parent: int | None,
) -> Iterator[FileResult]:
    """With the backend that joblib is set to.

    When a process dies, all that was under way is done again, file by file: one that takes its
    process along a second time has failed, and the rest goes on.
    """
    # What this run has made while its process died is made again, for its figures.
    ours = {index for index, job in enumerate(jobs) if not job.target.exists()}
    left = dict.fromkeys(sorted(range(len(jobs)), key=lambda index: -lengths[index]))
    alone: list[int] = []
    try:
        while left and not interrupt.requested:
            chunks, how = _chunks(list(left), lengths, count), options
            if alone:
                chunks, how = iter([[alone[-1]]]), replace(options, overwrite=options.overwrite or alone[-1] in ours)
                alone.pop()
            begun: list[int] = []
            try:
                for index, result in _pass(chunks, jobs, how, interrupt, board, parent, begun):
                    del left[index]
                    yield result
            except Exception as error:
                if not _is_death(error):
                    raise
                suspects = [index for index in begun if index in left]
                if len(suspects) > 1:
                    alone += suspects
                elif suspects:
                    (index,) = suspects
                    del left[index]
                    yield FileResult(jobs[index].source, jobs[index].target, "failed", _DIED)
    finally:
        if left:
            remove_leftovers((target for index in left for target in jobs[index].targets), PATIENCE_S)


def _pass(
    chunks: Iterable[list[int]],
    jobs: Sequence[Job],
    options: EnhanceOptions,
    interrupt: Interrupt,
    board: ProgressBoard | None,
    parent: int | None,
    begun: list[int],
) -> Iterator[tuple[int, FileResult]]:
    """One call of joblib; `begun` fills with the files that it has taken up."""
    import joblib

    def tasks() -> Iterator[Any]:
        for chunk in chunks:
            begun.extend(chunk)
            items = [(index, jobs[index]) for index in chunk]
            yield joblib.delayed(_enhance_chunk)(items, options, board, parent)

    with warnings.catch_warnings():
        # joblib's words on workers that it replaces are none of a user's business.
        warnings.filterwarnings("ignore", category=UserWarning, module="joblib")
        with signals_held_back():
            results = joblib.Parallel(return_as="generator_unordered", batch_size=1)(tasks())
        try:
            while True:
                with interrupt.waiting():
                    done = next(results, None)
                if done is None:
                    return
                yield from done
        except KeyboardInterrupt:
            return
        finally:
            results.close()


def _enhance_chunk(
    items: list[tuple[int, Job]], options: EnhanceOptions, board: ProgressBoard | None, parent: int | None
) -> list[tuple[int, FileResult]]:
    # Imported in the worker: the parent process does without torch.
    from dccrn_cli.engine.worker import enhance_chunk

    return enhance_chunk(items, options, board, parent)


def _chunks(order: Sequence[int], lengths: Sequence[float], count: int) -> Iterator[list[int]]:
    """Files in pieces of work that become smaller towards the end, so that all workers end together."""
    left_s = sum(lengths[index] + FILE_S for index in order)
    chunk: list[int] = []
    chunk_s = 0.0
    for index in order:
        chunk.append(index)
        chunk_s += lengths[index] + FILE_S
        if chunk_s >= min(CHUNK_S, left_s / (4 * count)) or len(chunk) == CHUNK_FILES:
            yield chunk
            left_s -= chunk_s
            chunk, chunk_s = [], 0.0
    if chunk:
        yield chunk


def _is_death(error: Exception) -> bool:
    """A process ended without an answer."""
    if isinstance(error, concurrent.futures.BrokenExecutor):
        return True
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(error, distributed.KilledWorker)


def on_cluster(
    jobs: Sequence[Job],
    lengths: Sequence[float],
    options: EnhanceOptions,
    workers: Workers,
    interrupt: Interrupt,
) -> Iterator[FileResult]:
    try:
        import distributed
    except ImportError:
        raise MissingDependency("dask[distributed]", "dask") from None
    import joblib

    if workers.scheduler is None:
        raise OptionError("--backend dask needs the --scheduler's address")
    # Names as all machines see them.
    everywhere = [_absolute(job) for job in jobs]
    by_source = {there.source: here for there, here in zip(everywhere, jobs, strict=True)}
    try:
        client: Any = distributed.Client(workers.scheduler, set_as_default=False, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise OptionError(f"no dask scheduler at {workers.scheduler} ({error})") from None
    with client:
        cores = sum(client.ncores().values())
        if cores == 0:
            raise OptionError(f"the dask scheduler at {workers.scheduler} has no workers")
        with joblib.parallel_config("dask", client=client, n_jobs=workers.jobs or -1):
            for result in _in_processes(everywhere, lengths, workers.jobs or cores, options, interrupt, None, None):
                here = by_source[result.source]
                yield replace(result, source=here.source, target=here.target)


def _absolute(job: Job) -> Job:
    noise = None if job.noise_target is None else Path(os.path.abspath(job.noise_target))
    return Job(Path(os.path.abspath(job.source)), Path(os.path.abspath(job.target)), noise)
