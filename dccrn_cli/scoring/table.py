"""Tables of records: means with confidence intervals by group, and differences between systems."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import TypedDict

from dccrn_cli.scoring.measurement import Record
from dccrn_cli.scoring.statistics import mean_interval, wilcoxon_p

NOISY = "noisy"
"""Label of the row for the noisy files."""


class Statistic(TypedDict):
    """A mean over files.

    Keys:
        mean, median: None if `count` is 0.
        low, high: ends of the 95 % confidence interval of the mean; None for fewer than two files.
        count: number of files with a value; missing: number without.
    """

    mean: float | None
    low: float | None
    high: float | None
    median: float | None
    count: int
    missing: int


class SummaryRow(TypedDict):
    """One row of a table.

    Keys:
        group: value by column; columns that are aggregated over are absent.
        system: label, or `noisy`.
        files: number of files in the group.
        metrics: statistics by metric.
    """

    group: dict[str, float | str | None]
    system: str
    files: int
    metrics: dict[str, Statistic]


class DifferenceStatistic(Statistic):
    """A mean difference over files.

    Keys:
        p_value: two-sided, from Wilcoxon's signed-rank test; None for fewer than two files.
    """

    p_value: float | None


class Difference(TypedDict):
    """Difference between a system and the first one, over the files for which all systems have values.

    Keys:
        group: value by column; columns that are aggregated over are absent.
        system, baseline: labels.
        metrics: statistics of the differences, by metric.
    """

    group: dict[str, float | str | None]
    system: str
    baseline: str
    metrics: dict[str, DifferenceStatistic]


def statistic(values: Iterable[float | None]) -> Statistic:
    """Statistics of the values that are not None."""
    every = list(values)
    found = [value for value in every if value is not None]
    ends = mean_interval(found)
    return {
        "mean": fmean(found) if found else None,
        "low": ends[0] if ends else None,
        "high": ends[1] if ends else None,
        "median": median(found) if found else None,
        "count": len(found),
        "missing": len(every) - len(found),
    }


def summarize(records: Sequence[Record], by: Sequence[str] = ()) -> list[SummaryRow]:
    """Rows by group, with all files last; in each group the noisy files first, then the systems in order.

    With several columns, each group of the leading columns also has a row aggregated over the others.
    Systems, and the noisy files, are compared over the same files: those for which all have a value.
    Unmatched records are skipped.

    Args:
        records: records annotated with groups.
        by: columns to group by.
    """
    paired = [record for record in records if record["status"] != "unmatched"]
    systems = list(dict.fromkeys(record["system"] for record in records))
    common = shared(paired, systems)
    return [row for group, members in _rollup(paired, by) for row in _rows(group, members, systems, common)]


def differences(records: Sequence[Record], by: Sequence[str] = ()) -> list[Difference]:
    """Paired differences of each further system from the first, with interval and significance test.

    Args:
        records: records annotated with groups.
        by: columns to group by; rows are ordered by group, with all files last.
    """
    paired = [record for record in records if record["status"] != "unmatched"]
    systems = list(dict.fromkeys(record["system"] for record in records))
    common = shared(paired, systems)
    values = {(record["system"], key(record)): record["values"] for record in paired}
    first = systems[0] if systems else ""

    def less(system: str, metric: str, files: set[str]) -> DifferenceStatistic:
        pairs = ((values[system, file][metric], values[first, file][metric]) for file in sorted(common[metric] & files))
        found = [after - before for after, before in pairs if after is not None and before is not None]
        return {**statistic(found), "p_value": wilcoxon_p(found)}

    rows: list[Difference] = []
    for group, members in _rollup(paired, by) if len(systems) > 1 else ():
        files = {key(record) for record in members}
        rows += [
            {
                "group": group, "system": system, "baseline": first,
                "metrics": {name: less(system, name, files) for name in common},
            }
            for system in systems[1:]
        ]  # fmt: skip
    return rows


def key(record: Record) -> str:
    """Identifies a file across systems."""
    return f"{record['reference'] or record['file']}\0{record['noisy'] or ''}"


def shared(records: Sequence[Record], systems: Sequence[str]) -> dict[str, set[str]]:
    """Keys of the files for which every system has a value, by metric."""
    names = list(dict.fromkeys(name for record in records for name in record["values"]))
    found: dict[str, set[str]] = {}
    for name in names:
        by_system = {system: set[str]() for system in systems}
        for record in records:
            if record["values"][name] is not None:
                by_system[record["system"]].add(key(record))
        found[name] = set.intersection(*by_system.values()) if by_system else set()
    return found


def _rows(
    group: dict[str, float | str | None], members: Sequence[Record], systems: Sequence[str], common: dict[str, set[str]]
) -> list[SummaryRow]:
    several = len(systems) > 1

    def cells(records: Sequence[Record], pick: Callable[[Record, str], float | None]) -> dict[str, Statistic]:
        return {
            name: statistic(pick(record, name) if key(record) in files or not several else None for record in records)
            for name, files in common.items()
        }

    rows: list[SummaryRow] = []
    before: dict[str, Record] = {key(record): record for record in members if record["noisy_values"]}
    if before:
        noisy = {
            name: statistic(
                record["noisy_values"].get(name) if identity in common[name] else None
                for identity, record in before.items()
            )
            for name in common
        }
        name_of_noisy = NOISY if NOISY not in systems else f"{NOISY} (input)"
        rows.append({"group": group, "system": name_of_noisy, "files": len(before), "metrics": noisy})
    for system in systems:
        own = [record for record in members if record["system"] == system]
        if own:
            rows.append(
                {
                    "group": group,
                    "system": system,
                    "files": len(own),
                    "metrics": cells(own, lambda record, name: record["values"][name]),
                }
            )
    return rows


def _rollup(
    records: Sequence[Record], by: Sequence[str]
) -> Iterable[tuple[dict[str, float | str | None], list[Record]]]:
    """Groups in natural order, each column's groups followed by their aggregate."""

    def within(
        members: list[Record], depth: int, above: dict[str, float | str | None]
    ) -> Iterable[tuple[dict[str, float | str | None], list[Record]]]:
        if depth < len(by):
            column = by[depth]
            split: dict[float | str | None, list[Record]] = {}
            for record in members:
                split.setdefault(record["groups"].get(column), []).append(record)
            for value in sorted(split, key=natural):
                yield from within(split[value], depth + 1, {**above, column: value})
        yield above, members

    return within(list(records), 0, {})


def natural(value: float | str | None) -> tuple[int, list[tuple[int, float, str]]]:
    """Sort key of groups: numbers, then text in natural order, then unknown values."""
    if value is None:
        return 2, []
    if isinstance(value, float | int):
        return 0, [(0, float(value), "")]
    parts = re.split(r"(\d+)", value)
    return 1, [(0, float(part), "") if part.isdecimal() else (1, 0.0, part) for part in parts]


def label(column: str, row: SummaryRow | Difference) -> str:
    """Display text of a group in its column."""
    if column not in row["group"]:
        return "all"
    value = row["group"][column]
    if value is None:
        return "–"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text} dB" if column in ("snr", "snr_db") else text
