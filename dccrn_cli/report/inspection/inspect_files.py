"""Inspection of many recordings, one by one or in parallel processes, with earlier results from a cache."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dccrn_cli import __version__
from dccrn_cli.audio.reader import probe
from dccrn_cli.engine.files.plan import PlanOptions, find_sources
from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.report.inspection.inspection import MODEL, Inspection, inspect_file, unreadable
from dccrn_cli.scoring.cache import default_folder, identity, prune
from dccrn_cli.scoring.score_pairs import choose_metrics
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
        metrics: metrics without a reference to add, in display order.
        dnsmos_model: the ONNX file of DNSMOS if it is among them.
    """

    files: tuple[Path, ...]
    unusable: tuple[tuple[Path, str], ...] = ()
    metrics: tuple[str, ...] = ()
    dnsmos_model: Path | None = None


def plan_inspection(
    inputs: Sequence[str],
    selection: PlanOptions | None = None,
    listed: Sequence[str] = (),
    *,
    metrics: Iterable[str] = (),
    dnsmos_model: str | os.PathLike[str] | None = None,
) -> InspectionPlan:
    """Find the files given directly, in folders, by patterns or in a list, and check the metrics to add.

    Raises:
        OptionError: an unknown metric or one that needs a reference, or DNSMOS without its file.
        CheckpointError, MissingDependency: DNSMOS cannot be loaded.
    """
    chosen, model = _choose_scores(tuple(metrics), dnsmos_model)
    files, unusable = find_sources(inputs, selection, listed)
    return InspectionPlan(tuple(files), tuple(unusable), chosen, model)


def _choose_scores(
    metrics: tuple[str, ...], dnsmos_model: str | os.PathLike[str] | None
) -> tuple[tuple[str, ...], Path | None]:
    if not metrics:
        if dnsmos_model is not None:
            raise OptionError("a DNSMOS model has no effect without metrics; add --metrics dnsmos")
        return (), None
    from dccrn_cli.metrics.dnsmos import find_dnsmos_model, load_network

    given = None if dnsmos_model is None else Path(dnsmos_model)
    chosen = choose_metrics(metrics, with_noisy=False, dnsmos_model=given, with_reference=False)
    model = find_dnsmos_model(given)
    load_network(model)
    return chosen, model


def inspect_files(
    inputs: Paths,
    *,
    metrics: Iterable[str] = (),
    dnsmos_model: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    cache: bool = True,
) -> list[Inspection]:
    """Find out which recordings need work.

    Args:
        inputs: files, folders (searched recursively) and glob patterns, one or several.
        metrics: metrics without a reference to add as `scores`: dnsmos_sig, dnsmos_bak, dnsmos_ovrl, or
            dnsmos for all three. They are measured over the whole recording, window by window.
        dnsmos_model: the ONNX file of DNSMOS; by default the one in an installed `speechmos`.
        jobs: number of processes; None for as many as are worthwhile.
        cache: keep measurements for 90 days, and use those of earlier runs.

    Returns:
        An inspection of each file, the worst first.

    Raises:
        OptionError: there are no audio files, or an unknown metric or one that needs a reference, or DNSMOS without
            its file.
        CheckpointError, MissingDependency: DNSMOS cannot be loaded.
    """
    names = [os.fspath(path) for path in as_paths(inputs)]
    plan = plan_inspection(names, metrics=metrics, dnsmos_model=dnsmos_model)
    if not plan.files:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in plan.unusable)
        raise OptionError("no audio files found" + (f" ({reasons})" if reasons else ""))
    found = list(run_inspection(plan, jobs, Interrupt(), cache=cache))
    found += [_select(unreadable(path, reason), plan.metrics) for path, reason in plan.unusable]
    return by_need(found)


def by_need(inspections: Sequence[Inspection]) -> list[Inspection]:
    """Sort the worst recordings to the front."""
    return sorted(inspections, key=lambda it: (-it.need, it.file))


def run_inspection(
    plan: InspectionPlan, jobs: int | None, interrupt: Interrupt, *, cache: bool = True
) -> Iterator[Inspection]:
    """Yield inspections in any order; an interrupt ends the iteration, and the next run resumes."""
    for found in _inspections(plan.files, plan.dnsmos_model, jobs, interrupt, cache=cache):
        yield _select(found, plan.metrics)


def _select(found: Inspection, metrics: Sequence[str]) -> Inspection:
    return replace(found, scores={name: found.scores.get(name) for name in metrics})


def _inspections(
    files: Sequence[Path], dnsmos_model: Path | None, jobs: int | None, interrupt: Interrupt, *, cache: bool
) -> Iterator[Inspection]:
    scores = default_folder() if cache else None
    folder = None if scores is None else scores.with_name("inspections")
    left = []
    for path in files:
        if interrupt.requested:
            return
        known = _load(folder, path, dnsmos_model)
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
    inspect = functools.partial(_inspect_and_keep, folder=folder, dnsmos_model=dnsmos_model)
    if count == 1:
        for path in left:
            if interrupt.requested:
                return
            yield inspect(path)
        return
    work = sorted(zip(weights, left, strict=True), key=lambda item: -item[0])
    with local_processes(count):
        for path, result in map_in_processes(inspect, work, count, interrupt, chunk_size=_CHUNK_S):
            yield result or unreadable(path, _DIED)


def _count_processes(weights: Sequence[float], jobs: int | None) -> int:
    import joblib

    most = len(weights)
    return min(jobs, most) if jobs else min(joblib.cpu_count(), most, math.ceil(sum(weights) / PROCESS_S))


def _inspect_and_keep(path: Path, folder: Path | None, dnsmos_model: Path | None) -> Inspection:
    from dccrn_cli.engine.files.worker import prepare_torch

    prepare_torch(1)
    try:
        found = inspect_file(path, dnsmos_model)
    except Exception as error:  # a fault in one file must not stop the rest
        return unreadable(path, f"{type(error).__name__}: {error}")
    place = _place(folder, path)
    if place is not None and found.verdict != "unreadable":
        with contextlib.suppress(StorageError, OptionError):
            text = json.dumps({**vars(found), "dnsmos_model": identity(dnsmos_model)}, ensure_ascii=True)
            write_whole(place, text.encode("utf-8", "surrogateescape"), durable=False)
    return found


def _load(folder: Path | None, path: Path, dnsmos_model: Path | None) -> Inspection | None:
    """What is known of a file, unless scores are wanted that are not there or come from another model."""
    place = _place(folder, path)
    if place is None:
        return None
    try:
        entry = json.loads(place.read_bytes())
        measured_with = entry.pop("dnsmos_model", [])
        if dnsmos_model is not None and measured_with != list(identity(dnsmos_model)):
            return None
        return Inspection(**{**entry, "file": str(path)})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _place(folder: Path | None, path: Path) -> Path | None:
    """Cache entry of a file, unchanged as long as path, size and modification time are."""
    if folder is None:
        return None
    key = repr((_FORMAT, __version__, MODEL, identity(path)))
    digest = hashlib.blake2b(os.fsencode(key), digest_size=16).hexdigest()
    return folder / digest[:2] / f"{digest}.json"
