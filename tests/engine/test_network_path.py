"""One path for all networks: the whole signal, any blocks, both precisions, files of earlier versions."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_PRESETS, TINY, lively, speechlike
from safetensors.torch import save_file

from dccrn_cli import Enhancer
from dccrn_cli.engine.fold import Precision, pick_precision
from dccrn_cli.engine.stream import StreamingNetwork
from dccrn_cli.errors import OptionError
from dccrn_cli.nn.checkpoint import FORMAT, load_checkpoint
from dccrn_cli.nn.config import PRESETS

LEVEL_DB = {"fp32": 100.0, "bf16": 45.0}
"""How far below the output the difference between two cuts may lie."""


def below_db(difference: np.ndarray, signal: np.ndarray) -> float:
    return float(10 * np.log10(np.square(signal).sum() / max(np.square(difference).sum(), 1e-30)))


def in_blocks(enhancer: Enhancer, x: np.ndarray, sizes: list[int]) -> np.ndarray:
    edges = np.cumsum([0, *sizes])
    parts = [enhancer.process(x[start : start + size], axis=0) for start, size in zip(edges, sizes, strict=False)]
    return np.concatenate([*parts, enhancer.flush()])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_any_blocks_equal_the_whole_signal(name: str, precision: Precision, rng: np.random.Generator) -> None:
    model = lively(SMALL_PRESETS[name])
    enhancer = Enhancer(StreamingNetwork(model, precision=precision))
    x = speechlike(17_001, channels=2)
    with torch.inference_mode():
        whole = model(torch.from_numpy(x.T.copy())).T.numpy()
    assert below_db(enhancer(x) - whole, whole) > {"fp32": 100, "bf16": 40}[precision]
    expected = enhancer(x)
    for size in (7, 100, 1000, 16_000, None):
        sizes = rng.integers(1, 3000, 100).tolist() if size is None else [size] * (len(x) // size + 1)
        got = in_blocks(enhancer, x, sizes)
        assert got.shape == x.shape
        assert below_db(got - expected, expected) > LEVEL_DB[precision], size
        if precision == "fp32":
            np.testing.assert_allclose(got, whole, atol=1e-5)
    short = x[:600]
    np.testing.assert_allclose(in_blocks(enhancer, short, [1] * 600), enhancer(short), atol=1e-3)


@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_latency_is_as_stated(name: str) -> None:
    """A change in the input first affects a sample `latency` before it, to within a hop."""
    config = dataclasses.replace(SMALL_PRESETS[name], clamp=False)
    model = lively(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)  # keeps all layers above float32 rounding
    enhancer = Enhancer(model, precision="fp32")
    x = 0.1 * speechlike(20_000)[:, 0]
    expected, reach = enhancer(x), []
    for at in range(12_000, 12_000 + config.hop_length, 8):
        clicked = x.copy()
        clicked[at] += 20.0
        reach.append(at - int((enhancer(clicked) != expected).argmax()))
    assert enhancer.latency - config.hop_length / 4 < max(reach) <= enhancer.latency


def test_live_presets_have_low_latency() -> None:
    """The latency is at most 96 ms for the default model and 40 ms for the live one."""
    assert PRESETS["dccrn"].latency_samples <= 0.096 * 16_000
    assert PRESETS["dccrn-live"].latency_samples <= 0.040 * 16_000


def test_precisions_by_name() -> None:
    cpu = torch.device("cpu")
    assert pick_precision("fp32", cpu) == torch.float32
    assert pick_precision("bf16", cpu) == torch.bfloat16
    assert pick_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    assert pick_precision("auto", torch.device("cuda")) == torch.float32
    with pytest.raises(OptionError, match="fp16"):
        Enhancer(lively(TINY), precision="fp16")  # type: ignore[arg-type]


def test_tensor_names_of_earlier_files(tmp_path: Path) -> None:
    model = lively(TINY)
    earlier = {}
    for name, tensor in model.state_dict().items():
        name = re.sub(r"(coder\.\d+)\.conv\.", r"\1.0.", name)
        name = re.sub(r"(coder\.\d+)\.norm\.", r"\1.1.", name)
        name = re.sub(r"(coder\.\d+)\.activation\.", r"\1.2.", name).replace("bottleneck.0.", "rnn.")
        if tensor.is_floating_point():
            earlier[name] = tensor.contiguous()
    assert "encoder.0.0.real_weight" in earlier
    assert "rnn.lstm.weight_ih_l0" in earlier
    path = tmp_path / "earlier.safetensors"
    save_file(earlier, path, {"format": FORMAT, "config": json.dumps(TINY.to_dict())})
    x = torch.from_numpy(speechlike(4000).T.copy())
    with torch.inference_mode():
        torch.testing.assert_close(load_checkpoint(path)[0](x), model(x), atol=0, rtol=0)
