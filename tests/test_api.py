"""The public Python API: its members, its types, and one call for every command."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speechlike
from typer.testing import CliRunner

import dccrn_cli
from dccrn_cli import (
    EnhanceOptions,
    FileResult,
    FineTuneOptions,
    OptionError,
    PlanOptions,
    enhance_folder,
    finetune,
    mix,
    score_folders,
    train,
)
from dccrn_cli.cli.app import app
from dccrn_cli.mixing.noises import coloured
from dccrn_cli.training.retention_set import yardstick

ROOT = Path(__file__).parents[1]

MEMBERS = {
    "Inspection", "inspect_files",
    "AudioError", "CheckpointError", "DataError", "DccrnError", "EnhanceOptions", "Enhancer", "FileResult",
    "FineTuneOptions", "InvalidSamples", "ListenOptions", "ListeningPage", "ListeningResults", "LiveEnhancer",
    "LiveOptions", "LiveStatus", "MetricError", "MissingDependency", "OptionError", "PlanOptions",
    "SoundDeviceError", "StorageError", "UnreadableAudio", "UnsupportedFormat", "Workers", "__version__",
    "available_models", "collect_results", "enhance", "enhance_folder", "export_onnx", "finetune", "listening_page",
    "load_model", "mix", "score_folders", "score_pair", "train",
}  # fmt: skip

SCRIPT = """\
import dccrn_cli
rate: int = dccrn_cli.Enhancer(sample_rate=48_000).latency
names: list[str] = [result.status for result in dccrn_cli.enhance_folder("noisy", "clean", model="dccrn-small")]
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech/ and noise/ of six files each."""
    root = tmp_path_factory.mktemp("sound")
    for folder in ("speech", "noise"):
        (root / folder).mkdir()
    for index in range(6):
        clip = speechlike(48_000, seed=index)[:, 0]
        soundfile.write(root / f"speech/{index}.wav", clip * (np.sin(np.arange(len(clip)) / 2500) > -0.3), 16_000)
        noise = coloured(48_000, np.random.default_rng(index))
        soundfile.write(root / f"noise/{index}.wav", 0.2 * noise / np.abs(noise).max(), 16_000)
    return root


def test_members() -> None:
    assert set(dccrn_cli.__all__) == MEMBERS
    assert set(dir(dccrn_cli)) >= MEMBERS
    assert all(getattr(dccrn_cli, name) is not None for name in MEMBERS)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dccrn_cli.nothing


def test_members_are_loaded_lazily() -> None:
    code = "import sys, dccrn_cli; dir(dccrn_cli); print(sorted({'torch', 'numpy', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.xdist_group("types")
def test_user_script_passes_mypy(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "script.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # there, for the cache of types
    assert done.returncode == 0, done.stdout
    (tmp_path / "script.py").write_text(SCRIPT + 'wrong: str = dccrn_cli.mix("a", "b", "c")\n')
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Incompatible types" in done.stdout


def test_enhance_folder_equals_the_command(sound: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    seen: list[FileResult] = []
    report = tmp_path / "report.csv"
    options = EnhanceOptions(model=str(tiny_model_file))
    results = enhance_folder(sound / "speech", tmp_path / "a", options, report=report, on_result=seen.append)
    assert results == seen
    assert [result.status for result in results] == ["done"] * 6
    assert len(report.read_text().splitlines()) == 7
    command = ["enhance", str(sound / "speech"), "-o", str(tmp_path / "b"), "--model", str(tiny_model_file)]
    assert CliRunner().invoke(app, command).exit_code == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    again = enhance_folder(sound / "speech", tmp_path / "a", options)
    assert {result.status for result in again} == {"skipped"}
    some = enhance_folder(sound / "speech", tmp_path / "c", options, selection=PlanOptions(include=("1*",)))
    assert [result.target.name for result in some] == ["1.wav"]


def test_one_bad_file_does_not_stop_the_rest(sound: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.wav").write_bytes(b"no sound")
    (tmp_path / "in/b.wav").write_bytes((sound / "speech/0.wav").read_bytes())
    results = enhance_folder(tmp_path / "in", tmp_path / "out", model=str(tiny_model_file))
    assert [result.status for result in results] == ["failed", "done"]
    with pytest.raises(OptionError, match="no audio files"):
        enhance_folder(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(OptionError, match="nothing"):
        enhance_folder(tmp_path / "in", tmp_path / "out", nothing=1)


def test_test_sets_and_scores(sound: Path, tmp_path: Path) -> None:
    made = mix(sound / "speech", sound / "noise", tmp_path / "set", count=3, snr_db=(0.0, 10.0), seconds=1.0)
    assert [result.status for result in made] == ["made"] * 3
    again = mix(sound / "speech", sound / "noise", tmp_path / "set", count=3, snr_db=(0.0, 10.0), seconds=1.0)
    assert [result.status for result in again] == ["skipped"] * 3
    seen: list[str] = []
    records = score_folders(
        tmp_path / "set/clean", tmp_path / "set/noisy", metrics=["si_snr"], by=["snr"], cache=False,
        on_record=lambda record: seen.append(record["file"]),
    )  # fmt: skip
    assert sorted(seen) == [record["file"] for record in records]
    assert [record["groups"]["snr"] for record in records] == [0.0, 10.0, 0.0]
    with pytest.raises(OptionError, match="nothing"):
        mix(sound / "speech", sound / "noise", tmp_path / "other", nothing=1)


@pytest.mark.slow
def test_training_and_fine_tuning(
    sound: Path, tmp_path: Path, tiny_model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {snr_db: pairs[:1] for snr_db, pairs in yardstick().items() if snr_db in (10.0, math.inf)}
    monkeypatch.setattr("dccrn_cli.training.finetune.yardstick", lambda: few)
    monkeypatch.setattr("dccrn_cli.training.finetune_data.PAIRS_PER_SNR", 1)
    steps: list[int] = []
    settings = {"training": {"steps": 4, "batch": 2, "bf16": False}, "mixing": {"seconds": 1.0}}
    trained = train(
        sound / "speech", sound / "noise", tmp_path / "run", init=tiny_model_file, changes=settings, threads=1,
        check=False, on_progress=lambda progress: steps.append(progress.step),
    )  # fmt: skip
    assert steps == [1, 2, 3, 4]
    assert trained.steps == 4
    assert trained.model.is_file()
    assert "si_snr" in trained.figures
    tuned = finetune(
        sound / "speech", sound / "noise", tmp_path / "mine.safetensors", trained.model,
        FineTuneOptions(steps=2, threads=1), check=False, on_progress=lambda progress: steps.append(progress.step),
    )  # fmt: skip
    assert steps[4:] == [1, 2]
    assert tuned.written == (tmp_path / "mine.safetensors").exists()
    assert tuned.written or tuned.objections
