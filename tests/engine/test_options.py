"""Options take effect or are rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from conftest import speechlike
from typer.testing import CliRunner

import dccrn_cli
from dccrn_cli import EnhanceOptions, available_models, enhance, load_model
from dccrn_cli.cli.app import app
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.errors import OptionError
from dccrn_cli.nn.device import pick_device


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", speechlike(8000), 16_000)
    return tmp_path / "a.wav"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_suffix_of_another_container_is_rejected(wav: Path, tiny_model_file: Path) -> None:
    out = wav.with_name("out")
    for arguments in (
        ("-o", wav.with_name("b.wav"), "--format", "flac"),
        ("-o", wav.with_name("b.ogg"), "--format", "opus"),
        ("-o", out, "--format", "flac", "--name", "{stem}.wav"),
        ("-o", out, "--format", "flac", "--keep-video"),
    ):
        result = run("enhance", wav, *arguments, "--model", tiny_model_file)
        assert (result.exit_code, "--format" in result.stderr) == (2, True), arguments
    assert sorted(path.name for path in wav.parent.iterdir()) == ["a.wav"]
    result = run("enhance", wav, "-o", wav.with_name("b.oga"), "--format", "ogg", "--model", tiny_model_file)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--suffix", "_clean"), ("--name", "{stem}_x{ext}"), ("--keep-mtime",), ("-j", 2), ("--include", "*.wav"),
        ("--exclude", "*.mp3"), ("--backend", "dask", "--scheduler", "tcp://h:1"), ("--scheduler", "tcp://h:1"),
        ("--format", "flac"), ("--overwrite",), ("--rate", 8000), ("--channels", 2),
    ],
)  # fmt: skip
def test_standard_output_rejects_options_without_effect(
    wav: Path, tiny_model_file: Path, arguments: tuple[object, ...]
) -> None:
    result = run("enhance", wav, "-o", "-", *arguments, "--model", tiny_model_file)
    assert result.exit_code == 2, arguments
    assert str(arguments[0]).replace("-j", "--jobs") in result.stderr


def test_options_that_need_other_options(wav: Path, tiny_model_file: Path) -> None:
    for arguments in (("--scheduler", "tcp://h:1"), ("--rate", 8000), ("--channels", 2)):
        assert run("enhance", wav, "-o", wav.with_name("o"), *arguments, "--model", tiny_model_file).exit_code == 2


@pytest.mark.parametrize(
    "change",
    [
        {"mix": 2.0}, {"mix": -0.1}, {"mix": float("nan")}, {"mix": "1"}, {"attenuation_limit_db": -1},
        {"high_band": "some"}, {"precision": "fp64"}, {"threads": 0}, {"threads": 1.5}, {"sample_rate": 0},
        {"sample_format": "s7"}, {"device": "tpu"}, {"device": "cpu:x"}, {"device": "cpu:7"}, {"unknown": 1},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_options_in_python(wav: Path, tiny_model_file: Path, change: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        enhance(wav, wav.with_name("b.wav"), model=str(tiny_model_file), **change)
    assert not wav.with_name("b.wav").exists()


def test_requested_threads_are_used(wav: Path, tiny_model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, pump = set(), FileEnhancer.pump

    def spy(self: FileEnhancer, *arguments: Any) -> Any:
        seen.add(torch.get_num_threads())
        return pump(self, *arguments)

    monkeypatch.setattr(FileEnhancer, "pump", spy)
    enhance(wav, wav.with_name("b.wav"), model=str(tiny_model_file), threads=3)
    assert seen == {3}
    assert torch.get_num_threads() == 1


def test_short_names_of_sample_formats(wav: Path, tiny_model_file: Path) -> None:
    enhance(wav, wav.with_name("b.wav"), model=str(tiny_model_file), sample_format="s24")
    assert soundfile.info(wav.with_name("b.wav")).subtype == "PCM_24"
    assert EnhanceOptions(sample_format="FLOAT").sample_format == "FLOAT"


def test_models_by_name_and_by_path(tiny_model_file: Path) -> None:
    names = available_models()
    assert names[0] == "dccrn"
    assert "dccrn-small" in names
    small = load_model("dccrn-small")
    assert sum(parameter.numel() for parameter in small.parameters()) < 1.5e6
    assert not small.training
    assert load_model(tiny_model_file)(torch.zeros(1, 800)).shape == (1, 800)
    assert {"available_models", "load_model", "EnhanceOptions"} <= set(dccrn_cli.__all__)


def test_auto_device_is_cuda_or_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    assert "never `mps`" in (pick_device.__doc__ or "")
