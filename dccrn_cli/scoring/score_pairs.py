"""Scores many files, sequentially or in processes, reusing earlier measurements from the store."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dccrn_cli.errors import CheckpointError, MissingDependency, OptionError
from dccrn_cli.metrics.registry import ALIASES, DEFAULT_METRICS, METRICS, select_metrics
from dccrn_cli.scoring.cache import Store
from dccrn_cli.scoring.measurement import Measurement, Record, measure_files
from dccrn_cli.scoring.pairing import FilePair, Pairing, Unmatched
from dccrn_cli.scoring.sound_cache import SoundCache
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.processes import local_processes, map_in_processes

ALL = "all"
"""Stands for all metrics."""

FILES_PER_PROCESS = 8
"""Number of files that makes it worth starting another process."""

_FILE_BYTES = 40_000  # overhead per file, expressed in bytes
_DIED = "the process scoring it died; out of memory?"


def choose_metrics(
    names: Iterable[str] | None, with_noisy: bool, dnsmos_model: Path | None = None, with_reference: bool = True
) -> tuple[str, ...]:
    """Choose metrics, in display order: those named, the default ones, or for `all` every metric the files allow.

    Args:
        names: names from `METRICS` or `ALIASES`, or `all`; None for the default ones.
        with_noisy, with_reference: whether there are such files.
        dnsmos_model: the ONNX file of DNSMOS; None for the one in an installed `speechmos`.

    Raises:
        OptionError: an unknown metric, or one whose files are missing.
    """
    if names is None:
        usual = (*DEFAULT_METRICS, "si_snr_improvement") if with_noisy else DEFAULT_METRICS
        names = usual if with_reference else ALIASES["dnsmos"]
    names = set(names)
    every = ALL in names
    if every:
        from dccrn_cli.metrics.dnsmos import is_available

        with_dnsmos = is_available(dnsmos_model)
        names = (names - {ALL}) | {name for name in METRICS if with_dnsmos or not name.startswith("dnsmos")}
    chosen = tuple(metric.name for metric in select_metrics(names))
    lacking = {
        "the noisy files": [name for name in chosen if METRICS[name].needs_noisy and not with_noisy],
        "reference files": [name for name in chosen if METRICS[name].needs_reference and not with_reference],
    }
    if not every:
        for what, those in lacking.items():
            if those:
                raise OptionError(f"{', '.join(sorted(those))} needs {what}")
    left_out = {name for those in lacking.values() for name in those}
    left = tuple(name for name in chosen if name not in left_out)
    if not left:
        raise OptionError("without references only DNSMOS can be measured, and its model is missing (--dnsmos-model)")
    return left


def in_order(records: Iterable[Record], systems: Iterable[str]) -> list[Record]:
    """Sort records by system and file."""
    place = {system: number for number, system in enumerate(systems)}
    return sorted(records, key=lambda record: (place[record["system"]], record["file"], record["reference"] or ""))


def score_pairs(
    pairing: Pairing, metrics: Sequence[str], store: Store, jobs: int | None, interrupt: Interrupt
) -> Iterator[Record]:
    """Yield records in any order; an interrupt ends the iteration.

    Raises:
        OptionError, CheckpointError, MissingDependency: DNSMOS is requested but cannot be loaded.
    """
    if any(name.startswith("dnsmos") for name in metrics):
        from dccrn_cli.metrics.dnsmos import find_dnsmos_model, load_network

        load_network(find_dnsmos_model(store.dnsmos_model))
    yield from (_without_partner(alone, metrics) for alone in pairing.unmatched)
    left: list[tuple[float, list[FilePair]]] = []
    for pairs in _tasks(pairing.pairs):
        if interrupt.requested:
            return
        known = _known(pairs, metrics, store)
        if known is None:
            left.append((_weight(pairs), pairs))
        else:
            yield from known
    if left:
        store.prune()
    left.sort(key=lambda item: -item[0])
    count = _count_processes(len(left), jobs)
    if count == 1:
        for _, pairs in left:
            if interrupt.requested:
                return
            yield from _try_task(pairs, metrics, store)
    else:
        function = functools.partial(_try_task, metrics=metrics, store=store)
        with local_processes(count):
            for pairs, records in map_in_processes(function, left, count, interrupt):
                died = Measurement(error=_DIED)
                yield from records or (_record(pair, died, None, metrics) for pair in pairs)


def _count_processes(tasks: int, jobs: int | None) -> int:
    """The number requested, or as many as are worthwhile, but no more than there are tasks."""
    import joblib

    tasks = max(tasks, 1)
    return min(jobs, tasks) if jobs else min(joblib.cpu_count(), math.ceil(tasks / FILES_PER_PROCESS))


def score_task(pairs: Sequence[FilePair], metrics: Sequence[str], store: Store) -> list[Record]:
    """Score pairs with the same reference and noisy file.

    Raises:
        OptionError, CheckpointError, MissingDependency: DNSMOS cannot be loaded.
    """
    sounds = SoundCache()

    def measure(estimate: Path, noisy: Path | None, wanted: Sequence[str], with_store: Store) -> Measurement:
        found = with_store.load(reference, estimate, noisy, wanted)
        missing = [name for name in wanted if name not in found.values]
        if missing:
            new = measure_files(
                sounds, reference, estimate, noisy, missing, with_store.repairs, with_store.dnsmos_model
            )
            found = new.joined(found)
            with_store.save(reference, estimate, noisy, found)
        return found.select(wanted)

    reference, noisy = pairs[0].reference, pairs[0].noisy
    names = _of_noisy(metrics, reference is not None)
    before = None if noisy is None else measure(noisy, None, names, store.unaligned())
    return [_record(pair, measure(pair.estimate, noisy, metrics, store), before, metrics) for pair in pairs]


def _try_task(pairs: Sequence[FilePair], metrics: Sequence[str], store: Store) -> list[Record]:
    try:
        return score_task(pairs, metrics, store)
    except (OptionError, CheckpointError, MissingDependency):
        raise
    except Exception as error:  # no fault of a single file may stop the rest
        failed = Measurement(dict.fromkeys(metrics), error=f"{type(error).__name__}: {error}")
        return [_record(pair, failed, None, metrics) for pair in pairs]


def _known(pairs: Sequence[FilePair], metrics: Sequence[str], store: Store) -> list[Record] | None:
    """Records from the store, or None unless everything is there."""
    reference, noisy = pairs[0].reference, pairs[0].noisy
    before = None
    if noisy is not None:
        names = _of_noisy(metrics, reference is not None)
        before = store.unaligned().load(reference, noisy, None, names)
        if len(before.values) < len(names):
            return None
    records = []
    for pair in pairs:
        found = store.load(reference, pair.estimate, noisy, metrics)
        if len(found.values) < len(metrics):
            return None
        records.append(_record(pair, found, before, metrics))
    return records


def _of_noisy(metrics: Sequence[str], with_reference: bool) -> list[str]:
    """Metrics measured on the noisy file: always its SNR if there is a reference, for grouping."""
    snr = ["snr"] if with_reference else []
    return list(dict.fromkeys([*(name for name in metrics if not METRICS[name].needs_noisy), *snr]))


def _record(pair: FilePair, found: Measurement, before: Measurement | None, metrics: Sequence[str]) -> Record:
    values = {name: found.values.get(name) for name in metrics}
    note = found.note()
    if before is not None and before.error:
        note = "; ".join(filter(None, [note, before.error.replace("estimate", "noisy file")]))
    return {
        "file": pair.file,
        "system": pair.system,
        "reference": None if pair.reference is None else str(pair.reference),
        "estimate": str(pair.estimate),
        "noisy": None if pair.noisy is None else str(pair.noisy),
        "status": "scored" if any(value is not None for value in values.values()) else "failed",
        "values": values,
        "noisy_values": {} if before is None else {k: before.values.get(k) for k in metrics if k in before.values},
        "snr_db": None if before is None else before.values.get("snr"),
        "snr_source": "" if before is None or before.values.get("snr") is None else "measured",
        "groups": {},
        "seconds": found.seconds,
        "sample_rate": found.sample_rate,
        "delay_samples": found.delay_samples,
        "note": note,
    }


def _without_partner(alone: Unmatched, metrics: Sequence[str]) -> Record:
    return {
        "file": alone.file,
        "system": alone.system,
        "reference": None if alone.reference is None else str(alone.reference),
        "estimate": None if alone.estimate is None else str(alone.estimate),
        "noisy": None,
        "status": "unmatched",
        "values": dict.fromkeys(metrics),
        "noisy_values": {},
        "snr_db": None,
        "snr_source": "",
        "groups": {},
        "seconds": 0.0,
        "sample_rate": 0,
        "delay_samples": None,
        "note": alone.reason,
    }


def _tasks(pairs: Iterable[FilePair]) -> list[list[FilePair]]:
    tasks: dict[object, list[FilePair]] = {}
    for pair in pairs:
        # Only systems share a task; many estimates of one reference are spread over processes.
        alone = pair.file if pair.noisy is None or pair.reference is None else ""
        tasks.setdefault((pair.reference, pair.noisy, alone), []).append(pair)
    return list(tasks.values())


def _weight(pairs: Sequence[FilePair]) -> float:
    """Approximate amount of work, in bytes."""
    try:
        size = os.stat(pairs[0].reference or pairs[0].estimate).st_size
    except OSError:
        size = 0
    return (size + _FILE_BYTES) * (len(pairs) + (pairs[0].noisy is not None))
