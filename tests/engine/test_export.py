"""Exported models run by onnxruntime, in the engine and without it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from conftest import SMALL_DCCRNS, SMALL_PRESETS, TINY, lively, speechlike
from typer.testing import CliRunner

from dccrn_cli import Enhancer, export_onnx
from dccrn_cli.cli.app import app
from dccrn_cli.engine.onnx.model_metadata import UNKNOWN_LENGTH
from dccrn_cli.engine.onnx.runtime import OnnxEnhancer, OnnxNetwork
from dccrn_cli.engine.overlap_add import SpectralEnhancer
from dccrn_cli.engine.stream import StreamingNetwork
from dccrn_cli.errors import CheckpointError, DccrnError, MissingDependency, OptionError
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.nn.config import PRESETS, DCCRNConfig
from dccrn_cli.nn.models import find_model, is_onnx, model_names
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.nn.systems import CRNConfig, LSTMConfig

TOLERANCE = 1e-4
EXAMPLE = Path(__file__).parents[2] / "examples" / "stream_onnx.py"

VARIANTS = SMALL_PRESETS | {
    "window-of-odd-hops": dataclasses.replace(TINY, win_length=500, hop_length=200),
    "complex-norm": dataclasses.replace(SMALL_DCCRNS["dccrn-cl"], complex_norm=True, mask="M"),
    "crn-that-looks-ahead": dataclasses.replace(SMALL_PRESETS["crn"], look_ahead=2),
    "lstm-of-the-past": dataclasses.replace(SMALL_PRESETS["lstm"], look_ahead=0),
    "dcunet-centred": dataclasses.replace(SMALL_PRESETS["dcunet"], look_ahead=22),
}


@pytest.fixture(scope="module")
def tiny_onnx(tiny_model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, exported in blocks of four hops."""
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    model, provenance = load_checkpoint(tiny_model_file)
    export_onnx(model, path, block=4 * model.config.hop_length, name="tiny", provenance=provenance)
    return path


def stages(model: SpectralNetwork, file: Path) -> tuple[OnnxEnhancer, SpectralEnhancer]:
    return OnnxNetwork(file).open(), SpectralEnhancer(StreamingNetwork(model, precision="fp32"))


def through(stage: OnnxEnhancer | SpectralEnhancer, x: np.ndarray, size: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    parts = [stage.process(x[start : start + size]) for start in range(0, len(x), size)] + [stage.flush()]
    enhanced, gain = (np.concatenate(which) for which in zip(*parts, strict=True))
    return enhanced, gain


BLOCKS = [(name, 1 + place % 4) for place, name in enumerate(VARIANTS)] + [("lstm", 9), ("dccrn", 16)]
"""Networks, each with a block in hops."""


@pytest.mark.parametrize(("name", "hops"), BLOCKS)
def test_exported_networks_equal_the_engine(name: str, hops: int, tmp_path: Path) -> None:
    """All samples and gains, for signals that end anywhere in a block or hop."""
    model = lively(VARIANTS[name])
    hop = model.config.hop_length
    export_onnx(model, tmp_path / "model.onnx", hops * hop)
    exported, engine = stages(model, tmp_path / "model.onnx")
    for length in (1, hop - 1, 3 * hop, 15 * hop, 6001):
        x = speechlike(length, channels=2, seed=length)
        x[length // 2 : length // 2 + 1000] = 0.0
        for got, expected in zip(through(exported, x), through(engine, x), strict=True):
            assert got.shape == expected.shape == x.shape
            np.testing.assert_allclose(got, expected, atol=TOLERANCE / 10, err_msg=f"{length} samples")


def test_presets_cover_all_graph_operations() -> None:
    """An LSTM with look-ahead, complex and bidirectional LSTMs, both targets, clamped or not."""
    assert set(VARIANTS) >= set(PRESETS)
    configs = VARIANTS.values()
    assert any(isinstance(config, LSTMConfig) and config.look_ahead for config in configs)
    assert any(isinstance(config, DCCRNConfig) and config.complex_rnn for config in configs)
    assert any(isinstance(config, DCCRNConfig) and config.dual_path_blocks for config in configs)
    assert {config.target for config in configs if isinstance(config, CRNConfig)} == {"magnitude", "complex"}
    assert {config.clamp for config in configs} == {False, True}


@pytest.mark.parametrize("name", model_names())
def test_bundled_models_equal_the_engine_over_a_minute(name: str, tmp_path: Path) -> None:
    model, provenance = load_checkpoint(find_model(name))
    export_onnx(model, tmp_path / "model.onnx", name=name, provenance=provenance)
    exported, engine = stages(model, tmp_path / "model.onnx")
    x = speechlike(60 * 16_000 + 123)
    x[200_000:300_000] = 0.0
    x[600_000:] *= 0.01
    for got, expected in zip(through(exported, x, 48_000), through(engine, x, 48_000), strict=True):
        np.testing.assert_allclose(got, expected, atol=TOLERANCE)


def test_default_block_and_metadata(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    provenance = {"licence": "CC BY 4.0", "data": "räum\udc80"}
    metadata = export_onnx(lively(TINY), file, name="tiny", provenance=provenance)
    proto = onnx.load(file)
    onnx.checker.check_model(proto, full_check=True)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    assert properties["sample_rate"] == "16000"
    assert properties["block_samples"] == str(16 * 256) == str(metadata.block)
    assert properties["hop_length"] == "256"
    assert properties["latency_samples"] == str(6 * 256 + 256) == str(metadata.latency)
    assert (properties["model"], properties["licence"]) == ("tiny", "CC BY 4.0")
    assert json.loads(properties["provenance"])["licence"] == "CC BY 4.0"
    session = onnxruntime.InferenceSession(file)
    states = json.loads(properties["states"])
    assert [state["input"] for state in states] == [entry.name for entry in session.get_inputs()[2:]]
    assert [state["output"] for state in states] == [entry.name for entry in session.get_outputs()[2:]]
    assert [state["shape"] for state in states] == [entry.shape for entry in session.get_inputs()[2:]]
    assert [state["shape"] for state in states] == [entry.shape for entry in session.get_outputs()[2:]]
    assert OnnxNetwork(file).metadata.config == TINY


def test_exported_files_contain_no_local_paths(tiny_onnx: Path) -> None:
    content = tiny_onnx.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in content
    assert sys.prefix.encode() not in content


def test_latency_is_as_stated(tmp_path: Path) -> None:
    """A change of the input affects the output no earlier than the latency, and within less than a hop of it."""
    config = dataclasses.replace(SMALL_PRESETS["dccrn"], clamp=False)
    model = lively(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)  # keeps all layers above float32 rounding
    metadata = export_onnx(model, tmp_path / "model.onnx", config.hop_length)
    enhancer = Enhancer(tmp_path / "model.onnx")
    assert enhancer.latency == metadata.latency + config.hop_length - 1 == Enhancer(model).latency
    x = 0.1 * speechlike(20_000)[:, 0]
    earliest = []
    for at in range(12_000, 12_000 + config.hop_length, 16):
        changed = x.copy()
        changed[at:] += 0.5
        moved = np.abs(enhancer(x) - enhancer(changed)) > 1e-7
        earliest.append(at - int(moved.argmax()))
    assert metadata.latency < max(earliest) <= enhancer.latency


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 44_100])
def test_enhancer_runs_exported_models(tiny_onnx: Path, tiny_model_file: Path, sample_rate: int) -> None:
    """At any sample rate, with the same high-band gate; in blocks as well as whole; twice in a row."""
    x = speechlike(30_000, sample_rate, channels=2)
    exported = Enhancer(tiny_onnx, sample_rate)
    got = exported(x)
    expected = Enhancer(tiny_model_file, sample_rate, precision="fp32", device="cpu")(x)
    assert got.shape == x.shape
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    for size in (1, 777) if sample_rate == 16_000 else (777,):
        short = x[:: 1 if size > 1 else 10]
        parts = [exported.process(short[start : start + size], axis=0) for start in range(0, len(short), size)]
        np.testing.assert_allclose(np.concatenate([*parts, exported.flush()]), exported(short), atol=1e-6)


def test_enhancers_share_an_exported_model(tiny_onnx: Path) -> None:
    network = OnnxNetwork(tiny_onnx)
    one, other = Enhancer(network), Enhancer(network)
    x, y = speechlike(9000, seed=1)[:, 0], speechlike(9000, seed=2)[:, 0]
    first = one.process(x[:5000]), other.process(y[:5000])
    second = one.process(x[5000:]), other.process(y[5000:])
    together = [np.concatenate([a, b, e.flush()]) for a, b, e in zip(first, second, (one, other), strict=True)]
    np.testing.assert_array_equal(together, [Enhancer(network)(x), Enhancer(network)(y)])
    assert Enhancer(network)(x[:0]).shape == (0,)


def test_length_may_be_unknown_until_the_last_block(tiny_onnx: Path) -> None:
    network = OnnxNetwork(tiny_onnx)
    block, length = network.metadata.block, 5 * network.metadata.block - 100
    x = np.pad(speechlike(length)[:, 0], (0, 3 * block))
    results = []
    for lengths in ([length] * 7, [UNKNOWN_LENGTH] * 4 + [length] * 3):
        state, parts = network.fresh_state(), []
        for number, stated in enumerate(lengths):
            enhanced, gain, state = network.run(x[number * block : (number + 1) * block], stated, state)
            assert 0.0 <= gain.min() <= gain.max() <= 1.0 + 1e-6
            parts.append(enhanced)
        results.append(np.concatenate(parts))
    np.testing.assert_array_equal(results[0], results[1])


def test_example_runs_without_torch(tiny_onnx: Path, tiny_model_file: Path, tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 40
    for length in (20_001, 100):
        x = speechlike(length)[:, 0]
        soundfile.write(tmp_path / "noisy.wav", x, 16_000, "FLOAT")
        blocked = "import sys, runpy; sys.modules.update(torch=None, dccrn_cli=None); runpy.run_path(sys.argv.pop(1))"
        names = [tiny_onnx, tmp_path / "noisy.wav", tmp_path / "clean.wav"]
        subprocess.run([sys.executable, "-W", "error", "-c", blocked, EXAMPLE, *names], check=True)
        got, _ = soundfile.read(tmp_path / "clean.wav", dtype="float32")
        expected = Enhancer(tiny_model_file, precision="fp32", device="cpu")(x)
        assert got.shape == x.shape
        np.testing.assert_allclose(got, expected, atol=TOLERANCE)


def test_command(tiny_model_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "model.onnx"
    arguments = ["export", str(tiny_model_file), "-o", str(file), "--block", "512"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert "tiny in blocks of 512 samples (32 ms), output delayed by 1792 samples (112 ms)" in run.stdout
    assert run.stderr == ""
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 2
    assert "already exists" in run.stderr
    run = CliRunner().invoke(app, ["export", str(tiny_model_file), "-o", str(tmp_path / "x.onnx"), "--block", "100"])
    assert run.exit_code == 2
    assert "multiple of 256 samples" in run.stderr
    assert not (tmp_path / "x.onnx").exists()
    run = CliRunner().invoke(app, ["export", str(file), "-o", str(tmp_path / "x.onnx")])
    assert run.exit_code == 2
    assert "not a model file" in run.stderr


def test_files_are_enhanced_by_exported_models(tiny_onnx: Path, tiny_model_file: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(40_000, 44_100, 2), 44_100, "FLOAT")
    results = []
    for name, model in (("onnx", tiny_onnx), ("torch", tiny_model_file)):
        target = tmp_path / f"{name}.wav"
        arguments = ["enhance", str(tmp_path / "a.wav"), "-o", str(target), "--model", str(model)]
        run = CliRunner().invoke(app, [*arguments, "--precision", "fp32"])
        assert run.exit_code == 0, run.output
        results.append(soundfile.read(target)[0])
    assert results[0].shape == results[1].shape
    np.testing.assert_allclose(results[0], results[1], atol=TOLERANCE)


def test_exported_models_run_on_the_cpu(tiny_onnx: Path) -> None:
    with pytest.raises(OptionError, match="CPU"):
        Enhancer(tiny_onnx, device="cuda")
    with pytest.raises(OptionError, match="CPU"):
        Enhancer(tiny_onnx, precision="bf16")


@pytest.mark.parametrize("name", ["model.onnx", "model"])
def test_exported_model_needs_no_suffix(name: str, tiny_onnx: Path, tiny_model_file: Path, tmp_path: Path) -> None:
    x = speechlike(3000)[:, 0]
    (tmp_path / name).write_bytes(tiny_model_file.read_bytes())
    assert not is_onnx(tmp_path / name)
    assert Enhancer(tmp_path / name)(x).shape == x.shape
    (tmp_path / name).write_bytes(tiny_onnx.read_bytes())
    assert is_onnx(tmp_path / name)
    assert Enhancer(tmp_path / name)(x).shape == x.shape


def test_damaged_files_are_named(tiny_onnx: Path, tmp_path: Path) -> None:
    whole = tiny_onnx.read_bytes()
    file = tmp_path / "model.onnx"

    def with_property(key: str, value: str) -> bytes:
        proto = onnx.load_from_string(whole)
        properties = {entry.key: entry.value for entry in proto.metadata_props} | {key: value}
        del proto.metadata_props[:]
        onnx.helper.set_model_props(proto, properties)
        return bytes(proto.SerializeToString())

    spoiled = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "noise": bytes(range(256)) * 20,
        "format": with_property("format", "another"),
        "states": with_property("states", "[{}]"),
        "fewer states": with_property("states", "[]"),
        "block": with_property("block_samples", "100"),
        "config": with_property("config", '{"architecture": "another"}'),
    }
    for what, content in spoiled.items():
        file.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            Enhancer(file)
        assert caught.value.path == file, what
    run = CliRunner().invoke(app, ["enhance", "-", "--model", str(file)])
    assert run.exit_code != 0
    assert str(file) in run.stderr


def test_missing_packages_are_named(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def needs(package: str, error: DccrnError) -> None:
        assert str(error) == f"{package} is needed for this: pip install 'dccrn-cli[onnx]'"

    for package in ("onnx", "onnxscript"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingDependency) as caught:
                export_onnx(lively(TINY), tmp_path / "x.onnx")
            needs(package, caught.value)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency) as caught:
        Enhancer(tiny_onnx)
    needs("onnxruntime", caught.value)
