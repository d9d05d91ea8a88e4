"""The same weights give the same output as in the paper authors' code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from authors import authors_model
from typer.testing import CliRunner

from dccrn_cli import Enhancer
from dccrn_cli.cli.app import app
from dccrn_cli.errors import CheckpointError, OptionError
from dccrn_cli.nn.authors_checkpoint import from_reference
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.nn.config import DCCRN_PRESETS
from dccrn_cli.nn.cost import count_parameters

TOLERANCE = 1e-4


def speechlike(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    tone = sum(np.sin(2 * np.pi * 140 * k * time + k) / k for k in range(1, 20))
    return (0.1 * tone * (0.6 + 0.4 * np.sin(9 * time)) + 0.03 * rng.standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("use_cbn", [False, True], ids=["plain", "cbn"])
@pytest.mark.parametrize("kind", ["r", "c", "e", "cl"])
def test_converted_model_equals_the_reference(kind: str, use_cbn: bool, tmp_path: Path) -> None:
    authors = authors_model(kind, use_cbn)
    saved, converted = tmp_path / "reference.pth", tmp_path / "mine.safetensors"
    torch.save(authors.state_dict(), saved)
    result = CliRunner().invoke(app, ["convert", str(saved), "-o", str(converted), "--preset", f"dccrn-{kind}"])
    assert result.exit_code == 0, result.output
    model, _ = load_checkpoint(converted)
    enhancer = Enhancer(converted, precision="fp32")
    for samples in (16_000, 15_999, 4_001, 500):
        x = speechlike(samples, seed=samples)
        with torch.inference_mode():
            expected = authors(torch.from_numpy(x)[None])[0].numpy()
            whole = model(torch.from_numpy(x)[None])[0].numpy()
        assert np.abs(expected).max() > 0.02
        assert whole.shape == x.shape
        assert len(expected) == samples // 100 * 100
        np.testing.assert_allclose(whole[: len(expected)], expected, atol=TOLERANCE)
        np.testing.assert_allclose(enhancer(x)[: len(expected)], expected, atol=TOLERANCE)


@pytest.mark.parametrize(("kind", "millions"), [("r", 3.982), ("c", 3.982), ("e", 3.982), ("cl", 3.671)])
def test_parameter_counts_of_the_papers_networks(kind: str, millions: float) -> None:
    model = from_reference(authors_model(kind, False).state_dict(), DCCRN_PRESETS[f"dccrn-{kind}"])
    assert count_parameters(model) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_wrapped_state_dict_of_another_size() -> None:
    from authors import AuthorsDCCRN

    authors = AuthorsDCCRN([16, 32, 64, 128, 256, 256], 128, "E", use_clstm=False, use_cbn=False).eval()
    state = {"state_dict": {f"module.{key}": value for key, value in authors.state_dict().items()}, "epoch": 3}
    model = from_reference(state, DCCRN_PRESETS["dccrn-e"])
    assert model.config.channels == (16, 32, 64, 128, 256, 256)
    assert model.config.rnn_units == 128
    x = torch.from_numpy(speechlike(3_000))[None]
    with torch.inference_mode():
        torch.testing.assert_close(model(x), authors(x), atol=TOLERANCE, rtol=0)


def test_unconvertible_files_are_reported(tmp_path: Path) -> None:
    state = authors_model("e", False).state_dict()
    with pytest.raises(CheckpointError, match="no encoder"):
        from_reference({"something": torch.zeros(3)}, DCCRN_PRESETS["dccrn-e"])
    with pytest.raises(CheckpointError, match="unknown tensors"):
        from_reference({**state, "extra.weight": torch.zeros(3)}, DCCRN_PRESETS["dccrn-e"])
    state.pop("tranform.bias")
    with pytest.raises(CheckpointError, match=r"linear\.bias"):
        from_reference(state, DCCRN_PRESETS["dccrn-e"])
    with pytest.raises(CheckpointError, match="STFT"):
        from_reference(
            {**authors_model("e", False).state_dict(), "stft.weight": torch.zeros(514, 1, 400)},
            DCCRN_PRESETS["dccrn-e"],
        )
    with pytest.raises(OptionError, match="dccrn-e"):
        from_reference(state, DCCRN_PRESETS["dccrn-small"])
    with pytest.raises(CheckpointError, match="no encoder"):
        from_reference({0: torch.zeros(1), "enhance.weight_hh_l0": torch.zeros(())}, DCCRN_PRESETS["dccrn-e"])
    bad = tmp_path / "bad.pth"
    for content in (b"not a checkpoint", b"", b".", b"K", b"\x80\x02R."):
        bad.write_bytes(content)
        result = CliRunner().invoke(app, ["convert", str(bad), "-o", str(tmp_path / "x.safetensors")])
        assert result.exit_code == 2
        assert "bad.pth" in result.output
        assert "Traceback" not in result.output


def test_convert_does_not_overwrite_by_default(tmp_path: Path) -> None:
    saved = tmp_path / "reference.pth"
    torch.save(authors_model("e", False).state_dict(), saved)
    before = saved.read_bytes()
    for extra in ([], ["--overwrite"]):
        assert CliRunner().invoke(app, ["convert", str(saved), "-o", str(saved), *extra]).exit_code == 2
    assert saved.read_bytes() == before
    assert (
        CliRunner().invoke(app, ["convert", str(saved), "-o", str(tmp_path / "new" / "x.safetensors")]).exit_code == 0
    )
    assert load_checkpoint(tmp_path / "new" / "x.safetensors")[0].config == DCCRN_PRESETS["dccrn-e"]
