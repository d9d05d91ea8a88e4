"""Inspection of many recordings, one by one or in parallel processes, with earlier results from a cache."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dccrn_cli import __version__
from dccrn_cli.audio.reader import probe
from dccrn_cli.engine.files.plan import PlanOptions, find_sources
from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.report.inspection.inspection import MODEL, Inspection, inspect_file
from dccrn_cli.scoring.cache import default_folder, identity, prune
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.paths import Paths, as_paths
from dccrn_cli.utils.processes import local_processes, map_in_processes
from dccrn_cli.utils.storage import write_whole

PROCESS_S = 120.0
"""Seconds of audio that justify starting another process."""

_CHUNK_S = 300.0
_FORMAT = 2  # increment when a measurement changes within a version
_DIED = "its process died twice; out of memory?"


@dataclass(frozen=True)
class InspectionPlan:
    """Files to inspect.

    Attributes:
        files: all files.
        unusable: arguments that match nothing and folders that cannot be read, each with the reason.
    """

    files: tuple[Path, ...]
    unusable: tuple[tuple[Path, str], ...] = ()


def plan_inspection(
    inputs: Sequence[str], selection: PlanOptions | None = None, listed: Sequence[str] = ()
) -> InspectionPlan:
    """Find the files given directly, in folders, by patterns or in a list."""
    files, unusable = find_sources(inputs, selection, listed)
    return InspectionPlan(tuple(files), tuple(unusable))


def inspect_files(inputs: Paths, *, jobs: int | None = None, cache: bool = True) -> list[Inspection]:
    """Find out which recordings need work.

    Args:
        inputs: files, folders (searched recursively) and glob patterns, one or several.
        jobs: number of processes; None for as many as are worthwhile.
        cache: keep measurements for 90 days, and use those of earlier runs.

    Returns:
        An inspection of each file, the worst first.

    Raises:
        OptionError: there are no audio files.
    """
    plan = plan_inspection([os.fspath(path) for path in as_paths(inputs)])
    if not plan.files:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in plan.unusable)
        raise OptionError("no audio files found" + (f" ({reasons})" if reasons else ""))
    found = list(run_inspection(plan.files, jobs, Interrupt(), cache=cache))
    found += [Inspection(str(path), "unreadable", reason, 1000.0) for path, reason in plan.unusable]
    return by_need(found)


def by_need(inspections: Sequence[Inspection]) -> list[Inspection]:
    """Sort the worst recordings to the front."""
    return sorted(inspections, key=lambda it: (-it.need, it.file))


def run_inspection(
    files: Sequence[Path], jobs: int | None, interrupt: Interrupt, *, cache: bool = True
) -> Iterator[Inspection]:
    """Yield inspections in any order; an interrupt ends the iteration, and the next run resumes."""
    scores = default_folder() if cache else None
    folder = None if scores is None else scores.with_name("inspections")
    left = []
    for path in files:
        if interrupt.requested:
            return
        known = _load(folder, path)
        if known is None:
            left.append(path)
        else:
            yield known
    if not left:
        return
    if folder is not None:
        prune(folder)
    weights = [max(found.seconds, 1.0) for found in probe(left)]
    count = _count_processes(weights, jobs)
    inspect = functools.partial(_inspect_and_keep, folder=folder)
    if count == 1:
        for path in left:
            if interrupt.requested:
                return
            yield inspect(path)
        return
    work = sorted(zip(weights, left, strict=True), key=lambda item: -item[0])
    with local_processes(count):
        for path, result in map_in_processes(inspect, work, count, interrupt, chunk_size=_CHUNK_S):
            yield result or Inspection(str(path), "unreadable", _DIED, 1000.0)


def _count_processes(weights: Sequence[float], jobs: int | None) -> int:
    import joblib

    most = len(weights)
    return min(jobs, most) if jobs else min(joblib.cpu_count(), most, math.ceil(sum(weights) / PROCESS_S))


def _inspect_and_keep(path: Path, folder: Path | None) -> Inspection:
    from dccrn_cli.engine.files.worker import prepare_torch

    prepare_torch(1)
    try:
        found = inspect_file(path)
    except Exception as error:  # a fault in one file must not stop the rest
        return Inspection(str(path), "unreadable", f"{type(error).__name__}: {error}", 1000.0)
    place = _place(folder, path)
    if place is not None and found.verdict != "unreadable":
        with contextlib.suppress(StorageError, OptionError):
            text = json.dumps(vars(found), ensure_ascii=True)
            write_whole(place, text.encode("utf-8", "surrogateescape"), durable=False)
    return found


def _load(folder: Path | None, path: Path) -> Inspection | None:
    place = _place(folder, path)
    if place is None:
        return None
    try:
        return Inspection(**{**json.loads(place.read_bytes()), "file": str(path)})
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _place(folder: Path | None, path: Path) -> Path | None:
    """Cache entry of a file, unchanged as long as path, size and modification time are."""
    if folder is None:
        return None
    key = repr((_FORMAT, __version__, MODEL, identity(path)))
    digest = hashlib.blake2b(os.fsencode(key), digest_size=16).hexdigest()
    return folder / digest[:2] / f"{digest}.json"
