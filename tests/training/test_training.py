"""Training: clips, mixing, losses, the loop, its resumption, and the command."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import speechlike
from runs import mixer, trainer
from typer.testing import CliRunner

from dccrn_cli.cli.app import app
from dccrn_cli.data.clips import ClipPool, find_clips
from dccrn_cli.data.pairs import read_pairs
from dccrn_cli.errors import CheckpointError, DataError, OptionError, StorageError
from dccrn_cli.mixing.mixer import Mixer
from dccrn_cli.mixing.noises import coloured
from dccrn_cli.mixing.source import mixed_pairs
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.training import training_run
from dccrn_cli.training.distributed import Team
from dccrn_cli.training.losses import LossOptions
from dccrn_cli.training.run_folder import RunFolder
from dccrn_cli.training.train_options import TrainOptions
from dccrn_cli.training.trainer import Trainer
from dccrn_cli.training.validation import validate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech/ (4 speakers) and noise/, and speech.tar with the same clips."""
    root = tmp_path_factory.mktemp("data")
    for index in range(40):
        path = root / "speech" / f"speaker{index % 4}" / f"{index}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = speechlike(20_000 + 500 * index, seed=index)[:, 0]
        soundfile.write(path, clip * (np.sin(np.arange(len(clip)) / 2500) > -0.3), 16_000)
        path = root / "noise" / f"class{index % 5}" / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = coloured(24_000, np.random.default_rng(index))
        soundfile.write(path, 0.2 * noise / np.abs(noise).max(), 16_000)
    with tarfile.open(root / "speech.tar", "w") as archive:
        archive.add(root / "speech", arcname=".")
    return root


def test_folders_and_archives_give_the_same_clips(data: Path) -> None:
    folder, archive = find_clips([data / "speech"]), find_clips([data / "speech.tar"])
    assert len(folder) == len(archive) == 40
    assert [clip.group for clip in folder] == [clip.group for clip in archive]
    np.testing.assert_array_equal(folder[7].read(), archive[7].read())


def test_clips_are_resampled_and_made_mono(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((44_100, 2)), 44_100)
    assert find_clips([tmp_path])[0].read().shape == (16_000,)


def test_bad_data_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no audio"):
        find_clips([tmp_path])
    with pytest.raises(DataError, match="no such"):
        find_clips([tmp_path / "none"])
    (tmp_path / "a.wav").write_bytes(b"text")
    with pytest.raises(DataError, match=r"a\.wav"):
        find_clips([tmp_path])[0].read()
    (tmp_path / "b.tar").write_bytes(b"text")
    with pytest.raises(DataError, match=r"b\.tar"):
        find_clips([tmp_path / "b.tar"])


def test_network_learns(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path / "run", steps=150, validate_every=150, ema=0.9, lr=5e-3)
    run.source = mixer(data, snr_db=(-5.0, 0.0))
    run.pairs = mixed_pairs(mixer(data, seed=9, snr_db=(-5.0, 0.0)), 6)
    before = validate(run.model, run.pairs, LossOptions())
    list(run.run())
    after = run.progress.best
    assert after is not None
    assert after["loss"] < 0.9 * before["loss"]
    assert after["si_snr"] > before["si_snr"] + 0.3
    model, provenance = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert provenance["steps"] == 150
    assert validate(model, run.pairs, LossOptions())["loss"] == pytest.approx(after["loss"], abs=0.02)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_stopped_run_resumes_exactly(data: Path, tmp_path: Path, optimizer: str) -> None:
    whole = trainer(data, tmp_path / "whole", optimizer=optimizer)
    losses = [progress.loss for progress in whole.run()]
    first = trainer(data, tmp_path / "parts", optimizer=optimizer)
    for _ in first.run(stop=lambda: first.progress.step >= 13):
        pass
    assert first.progress.step == 13
    second = trainer(data, tmp_path / "parts", optimizer=optimizer)
    assert second.resume()
    rest = [progress.loss for progress in second.run()]
    np.testing.assert_allclose(rest, losses[13:], rtol=1e-5)
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    log = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [10, 20, 30]


def test_damaged_run_is_reported(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path)
    assert not run.resume()
    (tmp_path / "last.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        run.resume()


def test_schedules(data: Path, tmp_path: Path) -> None:
    cosine = trainer(data, tmp_path, schedule="cosine", steps=100, warmup=10, lr=1.0)
    assert cosine.options.learning_rate(0) == pytest.approx(0.1, rel=0.01)
    assert cosine.options.learning_rate(50) == pytest.approx(0.505, abs=0.01)
    assert cosine.options.learning_rate(99) < 0.02
    plateau = trainer(data, tmp_path, schedule="plateau", patience=1, early_stop=2, lr=1e-30, steps=100)
    steps = [progress.step for progress in plateau.run()]
    assert plateau.rate_scale < 1  # no improvement at this rate: halved, then stopped early
    assert steps[-1] < 100


def test_first_validation_comes_early() -> None:
    options = TrainOptions(steps=5000, validate_every=2000)
    assert [step for step in range(1, 5001) if options.validates_after(step)] == [200, 2000, 4000, 5000]
    for never in (TrainOptions(steps=50, validate_every=50), TrainOptions(steps=500, validate_every=500)):
        assert [step for step in range(1, never.steps + 1) if never.validates_after(step)] == [never.steps]


def test_non_finite_steps_are_skipped(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, steps=8, validate_every=100)
    good = run.source.batch

    def batch(number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        noisy, clean = good(number, size)
        return (noisy * np.float32("nan"), clean) if number == 3 else (noisy, clean)

    run.source.batch = batch  # type: ignore[method-assign]
    *_, last = run.run()
    assert last.skipped == 1
    assert all(torch.isfinite(p).all() for p in run.model.parameters())
    run.source.batch = lambda number, size: (good(number, size)[0] * np.float32("nan"), good(number, size)[1])  # type: ignore[method-assign]
    run.options = dataclasses.replace(run.options, steps=100)
    with pytest.raises(DataError, match="no finite gradient"):
        list(run.run())


def test_log_with_nan_is_valid_json(tmp_path: Path) -> None:
    RunFolder(tmp_path).log({"step": 1, "loss": math.nan, "si_snr": math.inf, "stoi": 0.5})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    record = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=refuse)
    assert record == {"step": 1, "loss": None, "si_snr": None, "stoi": 0.5}


def test_unreadable_clip_is_skipped_and_named(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, steps=4, validate_every=100)
    (tmp_path / "bad.wav").write_bytes(b"text")
    bad = find_clips([tmp_path / "bad.wav"])
    assert isinstance(run.source, Mixer)
    run.source.noise = ClipPool([*find_clips([data / "noise"])[:1], *bad], balance=1)
    list(run.run())
    assert list(run.source.noise.unreadable) == ["bad.wav"]
    run = trainer(data, tmp_path / "other")
    assert isinstance(run.source, Mixer)
    run.source.noise = ClipPool(bad)
    with pytest.raises(DataError, match=r"bad\.wav"):
        list(run.run())


def test_run_keeps_its_data(data: Path, tmp_path: Path) -> None:
    list(trainer(data, tmp_path, steps=2, validate_every=100).run())
    with pytest.raises(OptionError, match="batch 2, not 3"):
        trainer(data, tmp_path, batch=3).resume()
    with pytest.raises(OptionError, match="optimizer adamw, not muon"):
        trainer(data, tmp_path, optimizer="muon").resume()


def test_stalled_run_stays_stopped(data: Path, tmp_path: Path) -> None:
    options = {"lr": 1e-30, "early_stop": 1, "steps": 100, "validate_every": 3}
    list(trainer(data, tmp_path, **options).run())
    again = trainer(data, tmp_path, **options)
    assert again.resume()
    assert list(again.run()) == []


def test_bf16_on_a_cpu(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, steps=3, bf16=True, validate_every=100)
    assert all(np.isfinite(progress.loss) for progress in run.run())
    assert run.progress.skipped == 0


def test_pairs_from_a_folder(data: Path, tmp_path: Path) -> None:
    for index in range(3):
        noisy, clean = mixer(data).example(index)
        for part, x in (("noisy", noisy), ("clean", clean)):
            (tmp_path / part).mkdir(exist_ok=True)
            soundfile.write(tmp_path / part / f"{index}.wav", x, 16_000)
    assert len(read_pairs(tmp_path)) == 3
    (tmp_path / "noisy" / "0.wav").unlink()
    with pytest.raises(DataError, match="without a partner"):
        read_pairs(tmp_path)


@pytest.fixture
def command(data: Path, tmp_path: Path) -> list[str]:
    """A training run of the smallest preset, short enough for a test."""
    sizes = ["--seconds", "0.5", "--batch", "1", "--validate-every", "6", "--threads", "1", "--fp32"]
    validation = tmp_path / "pairs"
    for part in ("noisy", "clean"):
        (validation / part).mkdir(parents=True)
        soundfile.write(validation / part / "0.wav", speechlike(16_000, seed=part == "noisy"), 16_000)
    sources = ["--clean", str(data / "speech.tar"), "--noise", str(data / "noise"), "--validation", str(validation)]
    return ["train", *sources, "-o", str(tmp_path / "run"), *sizes]


def test_train_command_and_use_of_its_model(command: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*command, "--steps", "6"])
    assert result.exit_code == 0, result.output
    assert "Best:" in result.output
    result = CliRunner().invoke(app, [*command, "--steps", "12", "--init", str(tmp_path / "run" / "best.safetensors")])
    assert result.exit_code == 0, result.output
    assert "resuming after step 6" in result.output
    soundfile.write(tmp_path / "x.wav", speechlike(8000), 16_000)
    model = tmp_path / "run" / "best.safetensors"
    arguments = ["enhance", str(tmp_path / "x.wav"), "-o", str(tmp_path / "y.wav"), "--model", str(model)]
    assert CliRunner().invoke(app, arguments).exit_code == 0


def test_ctrl_c_saves_and_the_same_command_resumes(command: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dccrn_cli", *command, "--steps", "100000"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "run" / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 100,000; rerun the same command to resume" in said
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["progress"]["step"] >= 6
    assert not [name for name in os.listdir(tmp_path / "run") if name.endswith(".tmp")]


def test_only_the_leading_process_checks_the_data(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that a check rejects, in a process that leads and in one that does not."""
    soundfile.write(tmp_path / "short.wav", speechlike(16_000), 16_000)
    for part in ("noisy", "clean"):
        (tmp_path / part).mkdir()
        soundfile.write(tmp_path / part / "0.wav", speechlike(16_000), 16_000)
    said: list[str] = []

    def begun(run: Trainer) -> None:
        raise KeyboardInterrupt

    for rank, error, calls in ((0, DataError, ["data", "check"]), (1, KeyboardInterrupt, [])):
        monkeypatch.setattr(training_run, "assemble", lambda device, rank=rank: nullcontext(Team(rank)))
        said.clear()
        with pytest.raises(error):
            training_run.train(
                data / "speech", tmp_path / "short.wav", tmp_path / "run", validation=tmp_path,
                on_data=lambda _: said.append("data"), on_check=lambda _: said.append("check"), on_start=begun,
            )  # fmt: skip
        assert said == calls


def test_train_usage_errors(data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for clean, noise in ((empty, data / "noise"), (data / "speech", tmp_path / "none")):
        arguments = ["train", "--clean", str(clean), "--noise", str(noise), "-o", str(tmp_path / "run")]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_archive_members_are_read_in_place(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(500, 0.25), 16_000, format="WAV")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("x/1.wav", "x/2.wav"):
            member = tarfile.TarInfo(name)
            member.size = len(buffer.getvalue())
            archive.addfile(member, io.BytesIO(buffer.getvalue()))
    for clip in find_clips([tmp_path / "a.tar"]):
        np.testing.assert_array_equal(clip.read(), np.full(500, 8192))


def test_the_log_of_a_run_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "mine.txt").write_text("precious")
    (tmp_path / "run" / "log.jsonl").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(StorageError, match="cannot be written"):
        RunFolder(tmp_path / "run").log({"step": 1})
    assert (tmp_path / "mine.txt").read_text() == "precious"
