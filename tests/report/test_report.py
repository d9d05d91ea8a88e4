"""Pictures."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dccrn_cli.errors import MissingDependency, OptionError
from dccrn_cli.metrics.registry import METRICS
from dccrn_cli.report.scores import ScoredFile, ScoredSystem, draw_scores
from dccrn_cli.report.spectrogram import draw_comparison, draw_spectrograms, level_db


def test_level_of_a_sine() -> None:
    rate = 16_000
    x = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    level = level_db(x, rate)
    assert level.max() == pytest.approx(0, abs=0.1)
    assert level[:, 10].argmax() == round(1000 * 0.032)


def test_picture(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(8000)
    draw_spectrograms([("a", x), ("b", 0.1 * x)], 16_000, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("rate", "samples"), [(8000, 0), (11_025, 1), (44_100, 3001), (192_000, 9000)])
def test_comparison_at_any_rate(tmp_path: Path, rate: int, samples: int) -> None:
    x = np.random.default_rng(0).standard_normal((samples, 2))
    draw_comparison(tmp_path / "x.png", rate, x, x[:, 0], 0 * x, "a $ and _b_")
    assert width_and_height(tmp_path / "x.png") == (1440, 1190)


def test_comparison_with_missing_versions(tmp_path: Path) -> None:
    draw_comparison(tmp_path / "x.png", 16_000, None, None, np.zeros(5000))
    assert width_and_height(tmp_path / "x.png") == (1440, 490)


def test_spectrogram_frames_are_aligned() -> None:
    click = np.zeros(16_000)
    click[8064] = 1
    assert level_db(click, 16_000).max(axis=0).argmax() == 8064 / 128
    assert level_db(click, 16_000, hop=504).max(axis=0).argmax() == 16


def test_long_recordings_are_drawn_in_bounded_memory(tmp_path: Path) -> None:
    draw_spectrograms([("an hour", np.zeros(3600 * 2000, np.float32))], 2000, tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()


def scored(label: str, count: int = 12, **changes: Any) -> ScoredSystem:
    """A system with scores that rise with the SNR."""
    values = dict.fromkeys(METRICS, 1.0)
    files: list[dict[str, Any]] = [
        {
            "name": f"{index}",
            "values": {name: value + index % 7 for name, value in values.items()},
            "noisy": {name: value + index % 4 for name, value in values.items()},
            "snr_db": 5.0 * (index % 4),
        }
        | changes
        for index in range(count)
    ]
    return ScoredSystem(label, [ScoredFile(**file) for file in files])


def width_and_height(path: Path) -> tuple[int, int]:
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("PDF", b"%PDF"), ("svg", b"<?xml")])
def test_score_figure_variants(tmp_path: Path, form: str, start: bytes) -> None:
    path = tmp_path / f"x.{form}"
    draw_scores([scored("a"), scored("b")], ["stoi"], path)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize(("metrics", "systems"), [(1, 3), (3, 1), (5, 2), (len(METRICS), 5)])
def test_size_follows_metrics(tmp_path: Path, metrics: int, systems: int) -> None:
    draw_scores([scored(f"_{n}$") for n in range(systems)], list(METRICS)[:metrics], tmp_path / "x.png")
    width, height = width_and_height(tmp_path / "x.png")
    rows = metrics if metrics <= 5 else -(-metrics // 3)
    assert width == 1440
    assert height == pytest.approx(200 * (2.2 * rows + 0.8), abs=60)


@pytest.mark.parametrize(
    ("system", "width"),
    [
        (scored("no SNR", snr_db=None), 1440),
        (scored("an infinite SNR", snr_db=float("inf")), 1440),
        (scored("no noisy", noisy={}), 960),
        (scored("nothing noisy", noisy={"stoi": None}), 960),
        (scored("no SNR, no noisy", snr_db=None, noisy={}), 960),
        (scored("nothing", values={"stoi": None}, noisy={}), 960),
        (scored("nothing but noisy", values={}), 1440),
        (scored("not numbers", values={"stoi": float("inf")}), 1440),
        (scored("one file", 1), 1440),
        (scored("one file, no SNR", 1, snr_db=None), 1440),
        (scored("two files", 2), 1440),
        (scored("all the same", values={"stoi": 1.0}), 1440),
        (scored("a label that goes on and on, 日本語 apart" * 3), 1440),
    ],
    ids=lambda value: value.label[:20] if isinstance(value, ScoredSystem) else "",
)
def test_unusual_scores(tmp_path: Path, system: ScoredSystem, width: int) -> None:
    draw_scores([system], ["stoi"], tmp_path / "x.png")
    assert width_and_height(tmp_path / "x.png")[0] == width


def test_systems_with_different_files(tmp_path: Path) -> None:
    systems = [scored("a"), scored("b", 3, snr_db=None), ScoredSystem("c", []), scored("d", 5, noisy={})]
    draw_scores(systems, ["si_snr", "si_snr_improvement"], tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()


def test_vector_figures_of_many_files_stay_small(tmp_path: Path) -> None:
    draw_scores([scored("a", 10_000), scored("b", 10_000)], ["stoi"], tmp_path / "x.pdf")
    assert (tmp_path / "x.pdf").stat().st_size < 300_000


def test_undrawable_scores(tmp_path: Path) -> None:
    for systems, metrics, name in (
        ([scored("a")], ["stoi"], "x.jpg"),
        ([scored("a")], ["stoi"], "x"),
        ([scored("a")], [], "x.png"),
        ([scored("a")], ["loudness"], "x.png"),
        ([], ["stoi"], "x.png"),
        ([ScoredSystem("a", [])], ["stoi"], "x.png"),
    ):
        with pytest.raises(OptionError):
            draw_scores(systems, metrics, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_matplotlib_settings_are_unchanged(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_scores([scored("a")], ["stoi"], tmp_path / "x.png")
    assert dict(matplotlib.rcParams) == before


def test_missing_matplotlib_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependency, match=r"pip install 'dccrn-cli\[plots\]'"):
        draw_spectrograms([("a", np.zeros(100))], 16_000, tmp_path / "x.png")
    with pytest.raises(MissingDependency, match="matplotlib"):
        draw_scores([scored("a")], ["stoi"], tmp_path / "x.png")
