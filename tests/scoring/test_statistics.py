"""Intervals, tests and SNR classes shared by tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dccrn_cli.report.panels as panels
from dccrn_cli.report.score_pictures import plot_scores
from dccrn_cli.scoring.grouping import annotate
from dccrn_cli.scoring.measurement import Record
from dccrn_cli.scoring.snr_classes import MAX_CLASSES, SnrClasses
from dccrn_cli.scoring.statistics import FEW, mean_interval, wilcoxon_p
from dccrn_cli.scoring.table import statistic, summarize


def half(values: Any) -> float:
    low, high = mean_interval(values) or (np.nan, np.nan)
    return (high - low) / 2


def test_few_values_use_students_t() -> None:
    for freedom, quantile in {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 13: 2.160}.items():
        x = np.arange(freedom + 1.0)
        assert half(x) == pytest.approx(quantile * x.std(ddof=1) / len(x) ** 0.5, rel=1e-3)
    assert mean_interval([1.0]) is None
    assert mean_interval([]) is None


def test_many_values() -> None:
    for count in (400, 6000):
        x = np.random.default_rng(0).normal(3.0, 2.0, count)
        assert half(x) == pytest.approx(1.96 * x.std() / count**0.5, rel=0.06)
    skewed = np.random.default_rng(1).exponential(1.0, 40)
    low, high = mean_interval(skewed) or (0.0, 0.0)
    assert high - skewed.mean() > 1.1 * (skewed.mean() - low)  # a normal interval would be even


@pytest.mark.parametrize("count", [3, FEW - 1, FEW, 60, 5000])
def test_interval_is_independent_of_file_order(count: int) -> None:
    x = list(np.random.default_rng(2).standard_normal(count))
    assert mean_interval(x) == mean_interval(x[::-1])
    assert mean_interval([2.5] * count) == (2.5, 2.5)


def test_coverage_at_five_files() -> None:
    rng = np.random.default_rng(3)
    hits = [low <= 0 <= high for low, high in (mean_interval(rng.standard_normal(5)) or (9, 9) for _ in range(2000))]
    assert 0.93 < np.mean(hits) < 0.97


def test_wilcoxon() -> None:
    assert wilcoxon_p([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx(2 / 64)
    assert wilcoxon_p([0.0, 0.0]) == 1.0
    assert wilcoxon_p([1.0]) is None
    p = wilcoxon_p(list(np.random.default_rng(0).standard_normal(200)))
    assert p is not None
    assert p > 0.01


def record(number: int, snr_db: float | None, source: str) -> Record:
    return {
        "file": f"{number}.wav", "system": "out", "reference": f"c/{number}.wav", "estimate": f"o/{number}.wav",
        "noisy": None, "status": "scored", "values": {"stoi": float(number % 7)}, "noisy_values": {},
        "snr_db": snr_db, "snr_source": source, "groups": {}, "seconds": 1.0, "sample_rate": 16_000,
        "delay_samples": None, "note": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "snrs",
    [[-5.0, 0.0, 2.5], list(np.linspace(-7, 22, 12)), list(np.linspace(-7, 22, 60)), [None, 3.0, float(np.pi)]],
    ids=len,
)
@pytest.mark.parametrize("source", ["metadata", "measured"])
def test_table_and_figure_share_classes_and_intervals(
    tmp_path: Path, snrs: list[float | None], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, ...]] = []
    arms: list[float] = []
    real = panels._arms

    def spy(values: np.ndarray) -> tuple[float, float]:
        arms.append(sum(real(values)))
        return real(values)

    def note(axis: Any, metric: Any, series: Any, classes: SnrClasses, draw: Any = panels.against_snr) -> None:
        drawn.append(classes.centres)
        draw(axis, metric, series, classes)

    monkeypatch.setattr(panels, "_arms", spy)
    monkeypatch.setattr("dccrn_cli.report.scores.against_snr", note)
    records = annotate([record(n, snr_db, source) for n, snr_db in enumerate(snrs * 3)], ["snr"], None)
    plot_scores(records, ["stoi"], tmp_path / "x.png")
    rows = [row for row in summarize(records, ["snr"]) if row["group"].get("snr") is not None]
    assert drawn == [tuple(row["group"]["snr"] for row in rows)]
    table = [row["metrics"]["stoi"] for row in rows]
    assert arms == pytest.approx([(it["high"] or 0) - (it["low"] or 0) for it in table])


def test_snr_classes() -> None:
    few = SnrClasses.of([2.5, 17.5, None, 2.5, -7.52])
    assert few.centres == (-7.5, 2.5, 17.5)
    assert few.label == "Input SNR in dB"
    many = SnrClasses.of(np.linspace(-7, 22, 100).tolist())
    assert many.centres == (-5, 0, 5, 10, 15, 20)
    assert "±2.5" in many.label
    assert [many.find(snr_db) for snr_db in (-7.5, 2.4, 2.5, float("nan"), None)] == [-5, 0, 5, None, None]
    assert len(SnrClasses.of(np.linspace(-300, 300, 100).tolist()).centres) <= MAX_CLASSES
    assert SnrClasses.of([None, float("nan")]).centres == ()


def test_interval_of_three_values() -> None:
    it = statistic([1.0, 2.0, 3.0, None])
    assert (it["count"], it["missing"], it["mean"]) == (3, 1, 2.0)
    assert it["high"] == pytest.approx(2 + 4.303 / 3**0.5, abs=1e-3)
