"""Model files are untrusted input: every failure is a CheckpointError, using little time and memory."""

from __future__ import annotations

import dataclasses
import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMALL_PRESETS, TINY
from safetensors.torch import save_file

from dccrn_cli.engine.onnx.model_metadata import OnnxMetadata
from dccrn_cli.errors import CheckpointError
from dccrn_cli.nn.authors_checkpoint import read_reference
from dccrn_cli.nn.build import build_network, network_shapes
from dccrn_cli.nn.checkpoint import FORMAT, load_checkpoint, read_metadata, save_model
from dccrn_cli.nn.config import PRESETS, DCCRNConfig, preset

DEEP = "[" * 200_000 + "]" * 200_000


def model_file(path: Path, config: str | dict[str, Any], state: Any = None, provenance: str = "{}") -> Path:
    state = state or {"encoder.0.conv.real_weight": torch.zeros(2048, 1, 1, 1)}
    text = config if isinstance(config, str) else json.dumps(config)
    save_file(state, path, {"format": FORMAT, "config": text, "provenance": provenance})
    return path


def changed(**fields: Any) -> dict[str, Any]:
    return {**TINY.to_dict(), **fields}


@pytest.mark.parametrize(
    "config",
    [
        changed(rnn_layers=10**9),
        changed(rnn_units=10**9),
        changed(rnn_units=10**18),
        changed(channels=[4096] * 6),
        changed(channels=[2] * 10**5),
        changed(channels=[10**12] * 6),
        changed(n_fft=1 << 30, win_length=1 << 29),
        changed(dual_path_blocks=10**9, intra_units=2),
        changed(freq_kernels=[10**9 + 1] * 6),
        changed(look_ahead=10**9),
        changed(freq_kernels=[513] + [1] * 5),
        {**PRESETS["dccrn"].to_dict(), "n_fft": 4096, "win_length": 4096, "hop_length": 2048},
        {**PRESETS["dccrn"].to_dict(), "hop_length": 1},
        {**PRESETS["dccrn"].to_dict(), "sample_rate": 10**9},
        {**PRESETS["dcunet"].to_dict(), "kernels": [[]] * 8},
        {**PRESETS["dcunet"].to_dict(), "kernels": [[7, 5, 3]] * 8},
        {**PRESETS["lstm"].to_dict(), "layers": 10**9},
        {**PRESETS["lstm"].to_dict(), "units": 10**9},
        {**PRESETS["lstm"].to_dict(), "kernel": 10**12},
        {**PRESETS["crn"].to_dict(), "rnn_units": 10**9},
        {**PRESETS["crn"].to_dict(), "channels": [10**7] * 5},
        {**PRESETS["dcunet"].to_dict(), "channels": [10**6] * 8},
        {**PRESETS["dcunet"].to_dict(), "kernels": [[10**6 + 1, 10**6 + 1]] * 8},
        changed(channels="many"),
        changed(rnn_units=float("nan")),
        DEEP,
        "1e999999",
        "[]",
        "null",
    ],
)
def test_sizes_are_checked_before_anything_is_built(config: str | dict[str, Any], tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.safetensors", config)
    started, before_kib = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200 << 10


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed(channels=[2, 2], freq_kernels=[100_001, 1], look_ahead=0), "freq_kernels must be smaller than n_fft"),
        (
            {**PRESETS["lstm"].to_dict(), "units": 1, "layers": 1, "kernel": 10**6, "look_ahead": 10**6 - 1},
            "kernel must be at most 256",
        ),
        ({**PRESETS["dcunet"].to_dict(), "channels": [2], "kernels": [[1, 10**6 + 1]]}, "at most 256 frames"),
    ],
)
def test_kernels_that_fit_their_tensors_but_take_hours(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(model_file(tmp_path / "a.safetensors", config))


def test_deeply_nested_provenance(tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.safetensors", TINY.to_dict(), build_network(TINY).state_dict(), DEEP)
    for read in (load_checkpoint, read_metadata):
        with pytest.raises(CheckpointError, match="unreadable provenance"):
            read(path)


def test_deep_or_large_exported_models() -> None:
    good = {
        "format": "dccrn-onnx-1", "model": "a", "block_samples": "256", "latency_samples": "0", "provenance": "{}",
        "states": "[]", "config": json.dumps(TINY.to_dict()),
    }  # fmt: skip
    assert OnnxMetadata.from_properties(good).block == 256
    huge = json.dumps([{"input": "a", "shape": [10**6, 10**6], "dtype": "float32"}])
    for change in (
        {"config": DEEP}, {"states": DEEP}, {"provenance": DEEP}, {"block_samples": str(10**12)}, {"states": huge},
        {"block_samples": "-1"}, {"config": json.dumps(changed(rnn_layers=10**9))},
    ):  # fmt: skip
        with pytest.raises(CheckpointError):
            OnnxMetadata.from_properties({**good, **change})


@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_tensor_shapes_must_match_the_network(name: str, tmp_path: Path) -> None:
    model = build_network(SMALL_PRESETS[name])
    assert network_shapes(SMALL_PRESETS[name]) == {key: tuple(t.shape) for key, t in model.state_dict().items()}
    save_model(model, tmp_path / "a.safetensors")
    state = load_checkpoint(tmp_path / "a.safetensors")[0].state_dict()
    assert state.keys() == model.state_dict().keys()


def test_pickles_declaring_more_than_they_contain(tmp_path: Path) -> None:
    paper = preset("dccrn-e")
    assert isinstance(paper, DCCRNConfig)
    kernels = {f"encoder.{n}.0.real_conv.weight": torch.zeros(2048, 1, 1, 1) for n in range(6)}
    claims = {**kernels, "enhance.weight_hh_l0": torch.zeros(1024, 256)}
    itself: dict[str, Any] = {}
    itself["model"] = itself
    views = {
        name: torch.zeros(()).expand(shape) for name, shape in network_shapes(dataclasses.replace(paper)).items()
    }  # fmt: skip
    for state in (claims, itself, views):
        torch.save(state, tmp_path / "a.pth")
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(CheckpointError):
            read_reference(tmp_path / "a.pth", paper)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200 << 10
