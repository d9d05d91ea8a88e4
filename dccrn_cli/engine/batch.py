"""Enhancing many files: one after another, in processes, on many machines, or batched on a GPU."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dccrn_cli.audio.atomic import remove_leftovers
from dccrn_cli.audio.plan import Job
from dccrn_cli.engine.interrupt import Interrupt, signals_held_back
from dccrn_cli.engine.options import FILE_S, EnhanceOptions, Workers
from dccrn_cli.engine.results import FileResult
from dccrn_cli.errors import AudioError, MissingDependency, OptionError

if TYPE_CHECKING:
    from dccrn_cli.engine.board import ProgressBoard

CHUNK_S, CHUNK_FILES = 30.0, 32
"""Audio and files that a worker is given at once, at most: one short file is not worth the way."""

GPU_FILES = 32
"""Files under way at once on a GPU."""

PATIENCE_S = 5.0
"""How long to wait until killed processes have let go of their files."""

_DIED = "the process at work on it died twice; out of memory?"


def enhance_batch(
    jobs: Sequence[Job],
    lengths: Sequence[float],
    options: EnhanceOptions,
    workers: Workers,
    interrupt: Interrupt,
    board: ProgressBoard | None = None,
) -> Iterator[FileResult]:
    """Work through jobs; a file that fails is a result and the rest goes on.

    The bytes of a result depend on its file and the options only, not on who made it. An interrupt
    ends the iteration and leaves nothing half-written.

    Args:
        jobs: what to do.
        lengths: seconds of each, as far as known. Several workers begin with the longest.
        options: see there.
        workers: who does it.
        interrupt: entered.
        board: where progress is noted.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: a device or a cluster that is not there.
        MissingDependency: dask is wanted and not installed.
    """
    if not jobs:
        return
    if workers.backend == "dask":
        yield from _on_cluster(jobs, lengths, options, workers, interrupt)
        return
    remove_leftovers(target for job in jobs for target in job.targets)
    count = workers.processes(lengths, options.threads)
    if _on_gpu_wanted(options.device):
        yield from _on_gpu(jobs, lengths, options, workers.jobs or GPU_FILES, interrupt, board)
    elif count == 1:
        yield from _in_turn(jobs, options, interrupt, board)
    else:
        yield from _on_this_machine(jobs, lengths, count, options, interrupt, board)


def _in_turn(
    jobs: Sequence[Job], options: EnhanceOptions, interrupt: Interrupt, board: ProgressBoard | None
) -> Iterator[FileResult]:
    from dccrn_cli.engine.file import FileEnhancer, Stopped
    from dccrn_cli.engine.worker import prepare_torch

    prepare_torch(options.threads)
    enhance = FileEnhancer(options, stop=lambda: interrupt.requested)
    for index, job in enumerate(jobs):
        if interrupt.requested:
            return
        try:
            yield enhance(job, None if board is None else functools.partial(board.note, index))
        except Stopped:
            return


def _on_this_machine(
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


def _on_cluster(
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


def _on_gpu_wanted(device: str) -> bool:
    if device.startswith("cuda"):
        return True
    # Asking torch means importing it, which takes seconds.
    signs = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
    if device != "auto" or not (os.name == "nt" or any(map(os.path.exists, signs))):
        return False
    import torch

    return torch.cuda.is_available()


def _on_gpu(
    jobs: Sequence[Job],
    lengths: Sequence[float],
    options: EnhanceOptions,
    count: int,
    interrupt: Interrupt,
    board: ProgressBoard | None,
) -> Iterator[FileResult]:
    """Each file in a thread; their calls of the network are gathered into batches."""
    from dccrn_cli.engine.batched import BatchingNetwork
    from dccrn_cli.engine.enhancer import pick_device
    from dccrn_cli.engine.file import FileEnhancer, Stopped
    from dccrn_cli.engine.models import find_model
    from dccrn_cli.engine.worker import prepare_torch
    from dccrn_cli.nn.checkpoint import load_model

    prepare_torch(options.threads)
    network, _ = load_model(find_model(options.model))
    kept = threading.local()
    closed = threading.Event()

    with BatchingNetwork(network, pick_device(options.device), max_batch=count) as shared:

        def work(index: int) -> FileResult | None:
            if not hasattr(kept, "enhance"):
                kept.enhance = FileEnhancer(options, shared, lambda: interrupt.requested or closed.is_set())
            if interrupt.requested or closed.is_set():
                return None
            try:
                result: FileResult = kept.enhance(
                    jobs[index], None if board is None else functools.partial(board.note, index)
                )
            except Stopped:
                return None
            return result

        order = sorted(range(len(jobs)), key=lambda index: -lengths[index])
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            try:
                # With a timeout, since a wait without one hears no signals on some systems.
                waiting = {pool.submit(work, index) for index in order}
                while waiting:
                    done, waiting = concurrent.futures.wait(waiting, 0.5, concurrent.futures.FIRST_COMPLETED)
                    yield from filter(None, (future.result() for future in done))
            finally:
                closed.set()


def enhance(
    source: str | Path, target: str | Path, options: EnhanceOptions | None = None, **changes: Any
) -> FileResult:
    """Enhance one audio file into another, its rate, channels, format and length kept.

    Args:
        source: any file that libsndfile reads, or a media file where PyAV is installed.
        target: the file to write; a suffix other than that of the source sets the container.
        options: see `EnhanceOptions`.
        changes: single fields of it, such as `model="dccrn-small"` or `overwrite=True`.

    Raises:
        AudioError: the file cannot be read, enhanced or written.
        OptionError: the target exists, or an option cannot be meant.
        CheckpointError: the model cannot be loaded.
    """
    from dccrn_cli.engine.file import FileEnhancer

    try:
        options = replace(options or EnhanceOptions(), **changes)
    except TypeError as error:
        raise OptionError(str(error)) from None
    result = FileEnhancer(options)(Job(Path(source), Path(target)))
    if result.status == "failed":
        raise AudioError(result.reason, source)
    if result.status == "skipped":
        raise OptionError(result.reason, target)
    return result
