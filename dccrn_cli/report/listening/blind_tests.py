"""Results of the blind tests on listening pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dccrn_cli.errors import OptionError
from dccrn_cli.scoring.statistics import binomial_p, mean_interval

FORMAT = "dccrn listening test"
_KEYS = {"rating": ("system", "rating"), "preference": ("a", "b", "chosen"), "abx": ("a", "b", "correct")}


@dataclass(frozen=True)
class RatingResult:
    """Ratings of one version, 0 to 100, over all listeners and files."""

    system: str
    mean: float
    interval: tuple[float, float] | None
    answers: int
    listeners: int


@dataclass(frozen=True)
class PreferenceResult:
    """How often one version was preferred to another; in `share` no preference counts as half.

    Attributes:
        p_value: two-sided binomial test of the answers with a preference; None if there are none.
    """

    system: str
    other: str
    share: float
    interval: tuple[float, float] | None
    preferred: int
    other_preferred: int
    undecided: int
    listeners: int
    p_value: float | None


@dataclass(frozen=True)
class AbxResult:
    """How often X was identified; `p_value` is the probability of at least as many right answers by guessing."""

    a: str
    b: str
    correct: int
    answers: int
    share: float
    interval: tuple[float, float] | None
    listeners: int
    p_value: float


@dataclass(frozen=True)
class ListeningResults:
    """All answers, by method."""

    ratings: tuple[RatingResult, ...] = ()
    preferences: tuple[PreferenceResult, ...] = ()
    abx: tuple[AbxResult, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Convert to plain data for JSON."""
        return asdict(self)


def collect_results(paths: Sequence[str | Path]) -> ListeningResults:
    """Combine the JSON files saved by blind tests.

    A file given twice, under whatever name, counts once.

    Args:
        paths: the files.

    Raises:
        OptionError: a file cannot be read or is not such a result.
    """
    rows: dict[str, list[tuple[str, dict[str, Any]]]] = {method: [] for method in _KEYS}
    seen = set()
    for number, path in enumerate(map(Path, paths)):
        method, listener, answers = _read(path)
        content = json.dumps([method, listener, answers], sort_keys=True)
        if content not in seen:
            seen.add(content)
            rows[method] += [(listener or f"file {number}", row) for row in answers]
    return ListeningResults(_ratings(rows["rating"]), _preferences(rows["preference"]), _abx(rows["abx"]))


def _read(path: Path) -> tuple[str, str, list[dict[str, Any]]]:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise OptionError(f"cannot be read ({error.strerror})", path) from None
    except (ValueError, RecursionError):
        raise OptionError("is not a JSON file", path) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise OptionError("is not a listening test result", path)
    method, rows, listener = data.get("method"), data.get("rows"), data.get("listener", "")
    if method not in _KEYS or not isinstance(rows, list) or not rows or not isinstance(listener, str):
        raise OptionError("is a result of an unknown kind of listening test", path)
    for row in rows:
        if not isinstance(row, dict) or not all(_is_valid(key, row.get(key)) for key in _KEYS[method]):
            raise OptionError("is a damaged listening test result", path)
    return method, listener, rows


def _is_valid(key: str, value: object) -> bool:
    if key == "rating":
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100
    return isinstance(value, bool) if key == "correct" else isinstance(value, str)


def _ratings(rows: Sequence[tuple[str, dict[str, Any]]]) -> tuple[RatingResult, ...]:
    by_system: dict[str, list[tuple[str, float]]] = {}
    for listener, row in rows:
        by_system.setdefault(row["system"], []).append((listener, float(row["rating"])))
    results = []
    for system, answers in by_system.items():
        values = [value for _, value in answers]
        listeners = len({listener for listener, _ in answers})
        mean = sum(values) / len(values)
        results.append(RatingResult(system, mean, mean_interval(values), len(values), listeners))
    return tuple(sorted(results, key=lambda it: -it.mean))


def _preferences(rows: Sequence[tuple[str, dict[str, Any]]]) -> tuple[PreferenceResult, ...]:
    results = []
    for (first, second), answers in _by_pair(rows).items():
        values = [{first: 1.0, second: 0.0}.get(row["chosen"], 0.5) for _, row in answers]
        wins, losses = values.count(1.0), values.count(0.0)
        share = sum(values) / len(values)
        p_value = binomial_p(wins, wins + losses, two_sided=True) if wins + losses else None
        results.append(
            PreferenceResult(
                first, second, share, mean_interval(values), wins, losses, len(values) - wins - losses,
                _count_listeners(answers), p_value,
            )
        )  # fmt: skip
    return tuple(results)


def _abx(rows: Sequence[tuple[str, dict[str, Any]]]) -> tuple[AbxResult, ...]:
    results = []
    for (first, second), answers in _by_pair(rows).items():
        values = [float(row["correct"]) for _, row in answers]
        correct, count = round(sum(values)), len(values)
        listeners, p_value = _count_listeners(answers), binomial_p(correct, count)
        results.append(
            AbxResult(first, second, correct, count, correct / count, mean_interval(values), listeners, p_value)
        )
    return tuple(results)


def _by_pair(rows: Sequence[tuple[str, dict[str, Any]]]) -> dict[tuple[str, str], list[tuple[str, dict[str, Any]]]]:
    pairs: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    for listener, row in rows:
        first, second = sorted((row["a"], row["b"]))
        pairs.setdefault((first, second), []).append((listener, row))
    return pairs


def _count_listeners(answers: Sequence[tuple[str, dict[str, Any]]]) -> int:
    return len({listener for listener, _ in answers})
