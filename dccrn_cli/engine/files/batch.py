"""Enhances many files: one after another, in processes, on many machines, or batched on a GPU."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dccrn_cli.engine.enhance_options import EnhanceOptions, Workers
from dccrn_cli.engine.files.parallel import on_cluster, on_this_machine
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.engine.files.results import FileResult
from dccrn_cli.errors import AudioError, OptionError
from dccrn_cli.nn.models import find_model, is_onnx
from dccrn_cli.utils.atomic import remove_leftovers
from dccrn_cli.utils.interrupt import Interrupt

if TYPE_CHECKING:
    from dccrn_cli.engine.files.shared_progress import ProgressBoard

GPU_FILES = 32
"""Files in progress at once on a GPU."""


def enhance_batch(
    jobs: Sequence[Job],
    lengths: Sequence[float],
    options: EnhanceOptions,
    workers: Workers,
    interrupt: Interrupt,
    board: ProgressBoard | None = None,
) -> Iterator[FileResult]:
    """Process jobs; a failed file is reported as a result and the rest continues.

    The bytes of a result depend only on its file and the options, not on the process that made it. An
    interrupt ends the iteration without leaving partial files.

    Args:
        jobs: files to process and their targets.
        lengths: length of each in seconds, as far as known. Several workers start with the longest.
        options: how files are enhanced.
        workers: processes or cluster that do the work.
        interrupt: must already be entered.
        board: receives progress.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: the device or cluster is unavailable.
        MissingDependency: dask is requested but not installed.
    """
    if not jobs:
        return
    if workers.backend == "dask":
        yield from on_cluster(jobs, lengths, options, workers, interrupt)
        return
    remove_leftovers(target for job in jobs for target in job.targets)
    count = workers.processes(lengths, options.threads)
    if _is_gpu_wanted(options.device) and not is_onnx(find_model(options.model)):
        yield from _on_gpu(jobs, lengths, options, workers.jobs or GPU_FILES, interrupt, board)
    elif count == 1:
        yield from _in_turn(jobs, options, interrupt, board)
    else:
        yield from on_this_machine(jobs, lengths, count, options, interrupt, board)


def _in_turn(
    jobs: Sequence[Job], options: EnhanceOptions, interrupt: Interrupt, board: ProgressBoard | None
) -> Iterator[FileResult]:
    from dccrn_cli.engine.files.file import FileEnhancer, Stopped
    from dccrn_cli.engine.files.worker import prepare_torch

    prepare_torch(options.threads)
    enhance = FileEnhancer(options, stop=lambda: interrupt.requested)
    for index, job in enumerate(jobs):
        if interrupt.requested:
            return
        try:
            yield enhance(job, None if board is None else functools.partial(board.note, index))
        except Stopped:
            return


def _is_gpu_wanted(device: str) -> bool:
    if device.startswith("cuda"):
        return True
    # Asking torch would mean importing it, which takes seconds.
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
    """Process each file in a thread, gathering their network calls into batches."""
    from dccrn_cli.engine.dynamic_batching import DynamicBatching
    from dccrn_cli.engine.enhancer import open_network
    from dccrn_cli.engine.files.file import FileEnhancer, Stopped
    from dccrn_cli.engine.files.worker import prepare_torch
    from dccrn_cli.engine.stream import StreamingNetwork

    prepare_torch(options.threads)
    network = open_network(options.model, options.device, options.precision)
    assert isinstance(network, StreamingNetwork)
    kept = threading.local()
    closed = threading.Event()

    with DynamicBatching(network, max_batch=count) as shared:

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
                # With a timeout, since on some systems a wait without one ignores signals.
                waiting = {pool.submit(work, index) for index in order}
                while waiting:
                    done, waiting = concurrent.futures.wait(waiting, 0.5, concurrent.futures.FIRST_COMPLETED)
                    yield from filter(None, (future.result() for future in done))
            finally:
                closed.set()


def enhance(
    source: str | Path, target: str | Path, options: EnhanceOptions | None = None, **changes: Any
) -> FileResult:
    """Enhance one audio file, keeping its sample rate, channels, format and length.

    The network runs on `options.threads` CPU threads; torch's own setting is restored afterwards.

    Args:
        source: any file that libsndfile reads, or a media file if PyAV is installed.
        target: the file to write; a suffix other than the source's sets the container.
        options: how files are enhanced; None for the defaults of `EnhanceOptions`.
        changes: individual fields of `EnhanceOptions`, such as `model="dccrn-small"` or `overwrite=True`.

    Raises:
        AudioError: the file cannot be read, enhanced or written.
        OptionError: the target exists, or an option is invalid.
        CheckpointError: the model cannot be loaded.
    """
    import torch

    from dccrn_cli.engine.files.file import FileEnhancer

    options = (options or EnhanceOptions()).changed(changes)
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        result = FileEnhancer(options)(Job(Path(source), Path(target)))
    finally:
        torch.set_num_threads(threads)
    if result.status == "failed":
        raise AudioError(result.reason, source)
    if result.status == "skipped":
        raise OptionError(result.reason, target)
    return result
