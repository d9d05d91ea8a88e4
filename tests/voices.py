"""Signals and files to score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from conftest import speechlike

RATE = 16_000


def voice(seed: int = 0, seconds: float = 1.5, rate: int = RATE) -> np.ndarray:
    """Float32 `(samples,)`, all different."""
    rng = np.random.default_rng(2000 + seed)
    x = speechlike(round(seconds * rate), rate, seed=seed)[:, 0]
    steps = np.repeat(rng.uniform(0.3, 1.0, len(x) // 400 + 1), 400)[: len(x)]
    steps[: len(x) // 5] = 0  # PESQ looks for where speech begins
    return (x * steps + 1e-3 * rng.standard_normal(len(x))).astype(np.float32)


def hiss(x: np.ndarray, level: float = 0.02, seed: int = 5) -> np.ndarray:
    return (x + level * np.random.default_rng(seed).standard_normal(x.shape)).astype(np.float32)


def write(path: Path, x: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def mixed_sets(root: Path) -> Path:
    """What the fixture `sets` returns."""
    for number, snr in enumerate((-5, 0, 10, -5, 0, 10)):
        clean = voice(number)
        noise = np.random.default_rng(50 + number).standard_normal(len(clean)).astype(np.float32)
        noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2) / 10 ** (snr / 10))
        name = f"{'ab'[number % 2]}/mix_{number}_snr{snr:+03}.wav"
        write(root / "clean" / name, clean)
        write(root / "noisy" / name, clean + noise)
        write(root / "out" / name, clean + 0.3 * noise)
    return root
