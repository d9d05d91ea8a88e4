"""Scores the paths given by a user: pairing, choice of metrics, and records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from dccrn_cli.errors import OptionError
from dccrn_cli.scoring.cache import Store, default_folder
from dccrn_cli.scoring.grouping import annotate, check_columns, find_metadata
from dccrn_cli.scoring.measurement import MAX_LENGTH_DIFFERENCE_S, Record, Repairs
from dccrn_cli.scoring.pairing import Pairing, label_folders, pair_paths, read_pair_table
from dccrn_cli.scoring.score_pairs import choose_metrics, in_order, score_pairs
from dccrn_cli.utils.callbacks import notify
from dccrn_cli.utils.interrupt import Interrupt, run_to_end
from dccrn_cli.utils.paths import Paths, as_paths


@dataclass(frozen=True)
class ScorePlan:
    """Files and metrics to score.

    Attributes:
        pairing: paired files, and those without a partner.
        systems: labels of the folders of estimates.
        metrics: metric names, in display order.
        columns: columns to group by.
        metadata: CSV file with these columns.
        store: values of earlier runs.
        jobs: number of processes; None for as many as are worthwhile.
    """

    pairing: Pairing
    systems: tuple[str, ...]
    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    metadata: Path | None
    store: Store
    jobs: int | None

    @property
    def lacks_noisy(self) -> bool:
        """Whether some but not all pairs have a noisy file."""
        return len({pair.noisy is None for pair in self.pairing.pairs}) > 1

    def run(self, interrupt: Interrupt) -> Iterator[Record]:
        """Yield records in any order, without groups; an interrupt ends the iteration."""
        return score_pairs(self.pairing, self.metrics, self.store, self.jobs, interrupt)

    def arranged(self, records: Iterable[Record]) -> list[Record]:
        """Sort records by system and file, and add their SNR and groups."""
        return annotate(in_order(records, self.systems), self.columns, self.metadata)


def score_folders(
    reference: str | PathLike[str] | None,
    estimate: Paths,
    noisy: str | PathLike[str] | None = None,
    metrics: Iterable[str] | None = None,
    *,
    by: Sequence[str] = (),
    pairs: str | PathLike[str] | None = None,
    metadata: str | PathLike[str] | None = None,
    align: bool = False,
    max_length_difference_s: float = MAX_LENGTH_DIFFERENCE_S,
    dnsmos_model: str | PathLike[str] | None = None,
    jobs: int | None = None,
    cache: bool = True,
    on_plan: Callable[[ScorePlan], object] | None = None,
    on_record: Callable[[Record], object] | None = None,
) -> list[Record]:
    """Score all files of one or more folders against a folder of references.

    Files are paired by name: the same path, with or without suffix or folders; names with a mark
    (`talk_clean.wav`, `enhanced_talk.wav`); or DNS challenge numbers. Originals beside the results
    made from them are skipped.

    Args:
        reference: folder or file; None for metrics that need no reference (DNSMOS).
        estimate: folder or file, or several of them, one per system.
        noisy: folder or file from which the estimates were made.
        metrics: names from `METRICS`, or `all` for every metric the files allow; None for the default ones.
        by: columns to group by: `snr`, `folder` or a column of the metadata.
        metadata: CSV file; None for a `metadata.csv` beside or above the files.
        align: remove a constant delay from each estimate.
        max_length_difference_s: a longer signal is trimmed at its end by at most this.
        dnsmos_model: the ONNX file of DNSMOS, if requested.
        jobs: number of processes; None for as many as are worthwhile.
        cache: store values and reuse those of earlier runs.
        pairs: CSV file with the columns ref, est and optionally noisy, instead of pairing by name.
        on_plan: called once, before the first file is scored.
        on_record: called with each record as it becomes available, in any order.

    Returns:
        One record per file, including those without a partner; `scoring.table.summarize` tabulates them.

    Raises:
        OptionError: invalid paths or names.
        CheckpointError, MissingDependency: DNSMOS cannot be loaded.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    pairing, systems = _pairing(_path(reference), as_paths(estimate), _path(noisy), _path(pairs))
    has_noisy = any(pair.noisy is not None for pair in pairing.pairs)
    has_reference = any(pair.reference is not None for pair in pairing.pairs) or bool(pairing.unmatched)
    model = _path(dnsmos_model)
    names = choose_metrics(metrics, has_noisy, model, has_reference)
    table = _path(metadata) or find_metadata(pairing.pairs)
    columns = tuple(dict.fromkeys(by))
    check_columns(columns, table)
    store = Store(default_folder() if cache else None, Repairs(max_length_difference_s, align), model)
    plan = ScorePlan(pairing, systems, names, columns, table, store, jobs)
    notify(on_plan, plan)
    return plan.arranged(run_to_end(plan.run, on_record))


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _pairing(
    reference: Path | None, estimates: Sequence[Path], noisy: Path | None, table: Path | None
) -> tuple[Pairing, tuple[str, ...]]:
    """Pairing, and the labels of the systems."""
    if table is not None:
        if len(estimates) > 1:
            raise OptionError("--pairs describes a single system; give --est at most once")
        pairing = read_pair_table(table, reference, estimates[0] if estimates else None, noisy)
        return pairing, (pairing.pairs[0].system,)
    if not estimates:
        raise OptionError("specify what to score: --ref CLEAN --est RESULTS, or --pairs FILE.csv")
    systems = label_folders(estimates)
    return pair_paths(reference, systems, noisy), tuple(systems)
