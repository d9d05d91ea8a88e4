"""Shared by all tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from dccrn_cli.nn.build import build_network
from dccrn_cli.nn.checkpoint import save_model
from dccrn_cli.nn.config import DCCRN_PRESETS, PRESETS, NetworkConfig
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.nn.network import SpectralNetwork

torch.set_num_threads(1)


C = TypeVar("C", bound=NetworkConfig)


def lively(config: NetworkConfig, seed: int = 0) -> SpectralNetwork:
    """An untrained network with plausible biases and statistics, so that every part has an effect."""
    torch.manual_seed(seed)
    model = build_network(config)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "running_var" in name:
                tensor.copy_(0.5 + torch.rand_like(tensor))
            elif "running_cov" in name:
                tensor.copy_(torch.tensor([1.2, 0.3, 0.8])[:, None].expand_as(tensor))
            elif "bias" in name or "running_mean" in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    return model.eval()


TINY = dataclasses.replace(DCCRN_PRESETS["dccrn-lstm-small"], channels=(4, 4, 8, 8, 8, 8), rnn_units=8)


def shrunk(config: C) -> C:
    """The same network with few channels and units."""
    sizes: dict[str, Any] = {"rnn_units": 8, "units": 8, "intra_units": 4}
    if hasattr(config, "channels"):
        sizes["channels"] = tuple(4 + 4 * (layer // 2) for layer in range(len(config.channels)))
    fields = {field.name for field in dataclasses.fields(config)}
    return dataclasses.replace(config, **{name: size for name, size in sizes.items() if name in fields})


SMALL_PRESETS = {name: shrunk(config) for name, config in PRESETS.items()}
SMALL_DCCRNS = {name: shrunk(config) for name, config in DCCRN_PRESETS.items()}


@pytest.fixture(scope="session")
def tiny_model() -> DCCRN:
    """A very small network of the same kind as the bundled ones."""
    model = lively(TINY)
    assert isinstance(model, DCCRN)
    return model


@pytest.fixture(scope="session")
def tiny_model_file(tiny_model: DCCRN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network as a file."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(tiny_model, path, {"data": "none"})
    return path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cached measurements, for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Folders clean/, noisy/ and out/ of six files: snr-05, snr+00, snr+10, two of each, in two folders."""
    from voices import mixed_sets  # which uses this module

    return mixed_sets(tmp_path)


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded."""
    return np.random.default_rng(0)


def speechlike(frames: int, sample_rate: int = 16_000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Modulated harmonics and noise up to half the sample rate, float32 `(frames, channels)`."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / sample_rate
    tone = sum(np.sin(2 * np.pi * 130 * k * time + k) / k for k in range(1, 25))
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time)
    noise = rng.standard_normal((frames, channels))
    return (0.08 * (tone * envelope)[:, None] + 0.03 * noise).astype(np.float32)


def voice(seconds: float, seed: int) -> np.ndarray:
    """Syllable-like harmonics with pauses, `(samples,)`."""
    size = round(seconds * 16_000)
    time_s = np.arange(size) / 16_000
    rng = np.random.default_rng(seed)
    base_hz = rng.uniform(100, 220)
    tone = sum(np.sin(2 * np.pi * base_hz * k * time_s + k) / k for k in range(1, 20))
    return (0.1 * tone * np.clip(np.sin(2 * np.pi * rng.uniform(1.5, 3) * time_s), 0, 1)).astype(np.float32)
