"""Pictures."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dccrn_cli.errors import MissingDependency
from dccrn_cli.report.spectrogram import draw_spectrograms, level_db


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


def test_missing_matplotlib_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependency, match=r"pip install 'dccrn-cli\[plots\]'"):
        draw_spectrograms([("a", np.zeros(100))], 16_000, tmp_path / "x.png")
