"""The comparison of all presets completes, resumes where it stopped, and reports its results."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import soundfile
from conftest import TINY, speechlike

from dccrn_cli.nn.systems import LSTMConfig

_PATH = Path(__file__).parents[2] / "benchmarks" / "models.py"


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark with two very small presets."""
    spec = importlib.util.spec_from_file_location("models_benchmark", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    presets = {"dccrn-small": TINY, "lstm": LSTMConfig(units=8)}
    monkeypatch.setattr(module, "PRESETS", presets)
    monkeypatch.setattr(module, "preset", presets.__getitem__)
    return module


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Options for data of a few seconds."""
    for kind in ("speech", "noise"):
        (tmp_path / kind).mkdir()
        for index in range(3):
            soundfile.write(tmp_path / kind / f"{index}.wav", speechlike(16_000, seed=index), 16_000)
    with open(tmp_path / "metadata.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "snr_db"])
        for index, snr in enumerate(("-5", "10", "")):
            rows.writerow([f"p{index}", snr])
            for part in ("noisy", "clean"):
                (tmp_path / part).mkdir(exist_ok=True)
                soundfile.write(tmp_path / part / f"p{index}.wav", speechlike(16_000, seed=part == "noisy"), 16_000)
    data = ["--clean", str(tmp_path / "speech"), "--noise", str(tmp_path / "noise"), "--validation", str(tmp_path)]
    return [str(tmp_path / "runs"), *data, "--batch", "1", "--seconds", "1"]


def run(models: ModuleType, monkeypatch: pytest.MonkeyPatch, *command: str) -> None:
    monkeypatch.setattr(sys, "argv", ["models.py", *command])
    models.main()


def test_tables(
    models: ModuleType, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(models, monkeypatch, *command, "--steps", "3", "--presets", "lstm")
    run(models, monkeypatch, *command, "--steps", "3")
    output = capsys.readouterr().out
    heads = [line for line in output.splitlines() if line.startswith("| SI-SNR")]
    assert heads[-1] == "| SI-SNR, dB | -5 dB | 10 dB | ? dB | all |"
    for text in ("| 9.60 |", "| 2.783 |", "narrow-band raw", "wide-band MOS-LQO", "look-ahead ms"):
        assert text in output
    # The second run reuses the first preset.
    monkeypatch.setattr(models, "train", None)
    run(models, monkeypatch, *command, "--steps", "3")
    tables = capsys.readouterr().out.partition("validation pairs")[2]
    assert tables == output.rpartition("validation pairs")[2]
    with pytest.raises(SystemExit, match="other options"):
        run(models, monkeypatch, *command, "--steps", "4")


def test_stopped_preset_resumes(
    models: ModuleType, command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    whole = models.Trainer.run

    def stopped(self: object, stop: object = None) -> object:
        for count, progress in enumerate(whole(self), 1):
            yield progress
            if count == 4:
                self.save()  # type: ignore[attr-defined]
                raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(models.Trainer, "run", stopped)
        with pytest.raises(Stopped):
            run(models, monkeypatch, *command, "--steps", "6", "--presets", "lstm")
    run(models, monkeypatch, *command, "--steps", "6", "--presets", "lstm")
    record = models.read_json(tmp_path / "runs" / "lstm" / "figures.json")
    assert record["training"]["steps"] == 6


def test_time_budget(models: ModuleType, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run(models, monkeypatch, *command, "--minutes", "0.005", "--presets", "dccrn-small")
    record = models.read_json(Path(command[0]) / "dccrn-small" / "figures.json")
    assert 0.3 <= record["training"]["training_s"] < 20


@pytest.mark.parametrize("network", ["dccrn-small", "lstm"])
def test_magnitude_losses_keep_the_noisy_phase(
    models: ModuleType, command: list[str], monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    options = ["--steps", "2", "--presets", "--losses", "msa", "csa", "--loss-preset", network]
    run(models, monkeypatch, *command, *options)
    if network == "dccrn-small":
        for loss, mask in (("msa", "M"), ("csa", TINY.mask)):
            model, _ = models.load_checkpoint(Path(command[0]) / f"{network} with {loss}" / "model.safetensors")
            assert model.config.mask == mask
