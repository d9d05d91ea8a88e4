"""Batches in local processes or on many machines, through joblib."""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dccrn_cli.engine.enhance_options import FILE_S, EnhanceOptions, Workers
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.engine.files.results import FileResult
from dccrn_cli.errors import MissingDependency, OptionError
from dccrn_cli.utils.atomic import remove_leftovers
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.paths import is_missing
from dccrn_cli.utils.processes import local_processes, map_in_processes

if TYPE_CHECKING:
    from dccrn_cli.engine.files.shared_progress import ProgressBoard

CHUNK_S = 30.0
"""Most seconds of audio sent to a worker at once."""

ANSWER_S = 15.0
"""Time limit for a dask scheduler to respond."""

_ADDRESS = re.compile(r"((tcp|tls|ws|wss|ucx)://)?(\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):\d{1,5}|inproc://\S+")

PATIENCE_S = 5.0
"""How long to wait for killed processes to release their files."""

_DIED = "the process enhancing it died twice; out of memory?"


def on_this_machine(
    jobs: Sequence[Job],
    lengths: Sequence[float],
    count: int,
    options: EnhanceOptions,
    interrupt: Interrupt,
    board: ProgressBoard | None,
) -> Iterator[FileResult]:
    """Process jobs in `count` local processes."""
    with local_processes(count, options.threads):
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
    order = sorted(range(len(jobs)), key=lambda index: -lengths[index])
    # Results of this run whose process died are made again, to get their figures.
    tasks = [(index, jobs[index], is_missing(jobs[index].target)) for index in order]
    work = [(lengths[task[0]] + FILE_S, task) for task in tasks]
    once, again = (functools.partial(_enhance, options, board, parent, repeated) for repeated in (False, True))
    left = set(order)
    try:
        for (index, job, _), result in map_in_processes(once, work, count, interrupt, again=again, chunk_size=CHUNK_S):
            left.remove(index)
            yield result or FileResult(job.source, job.target, "failed", _DIED)
    finally:
        if left:
            remove_leftovers((target for index in left for target in jobs[index].targets), PATIENCE_S)


def _enhance(
    options: EnhanceOptions,
    board: ProgressBoard | None,
    parent: int | None,
    repeated: bool,
    task: tuple[int, Job, bool],
) -> FileResult:
    # Imported in the worker, since the parent process does not need torch.
    from dccrn_cli.engine.files.worker import enhance_file

    index, job, is_new = task
    overwrite = options.overwrite or (repeated and is_new)
    return enhance_file(index, job, replace(options, overwrite=overwrite), board, parent)


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
        raise OptionError("--backend dask needs --scheduler ADDRESS")
    if not _ADDRESS.fullmatch(workers.scheduler):
        raise OptionError(f"{workers.scheduler!r} is not the address of a dask scheduler, such as tcp://host:8786")
    # Absolute paths, as all machines see them.
    everywhere = [_absolute(job) for job in jobs]
    by_target = {there.target: here for there, here in zip(everywhere, jobs, strict=True)}
    client = _connect(distributed, workers.scheduler)
    with client:
        cores = sum(client.ncores().values())
        if cores == 0:
            raise OptionError(f"the dask scheduler at {workers.scheduler} has no workers")
        with joblib.parallel_config("dask", client=client, n_jobs=workers.jobs or -1):
            for result in _in_processes(everywhere, lengths, workers.jobs or cores, options, interrupt, None, None):
                here = by_target[result.target]
                yield replace(result, source=here.source, target=here.target)


def _connect(distributed: Any, address: str) -> Any:
    """Connect to the scheduler.

    Raises:
        OptionError: there is no scheduler, or it does not respond in time.
    """
    found: list[Any] = []

    def connect() -> None:
        try:
            found.append(distributed.Client(address, set_as_default=False, timeout=ANSWER_S - 5))
        except Exception as error:  # depends on the kind of address
            found.append(error)

    # In a thread, since a peer that accepts the connection but never responds would block forever.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(ANSWER_S)
    if not found:
        raise OptionError(f"the dask scheduler at {address} did not respond within {ANSWER_S:g} s")
    if isinstance(found[0], Exception):
        reason = str(found[0]).partition("\n")[0] or type(found[0]).__name__
        raise OptionError(f"no dask scheduler at {address} ({reason})")
    return found[0]


def _absolute(job: Job) -> Job:
    noise = None if job.noise_target is None else Path(os.path.abspath(job.noise_target))
    return replace(
        job, source=Path(os.path.abspath(job.source)), target=Path(os.path.abspath(job.target)), noise_target=noise
    )
