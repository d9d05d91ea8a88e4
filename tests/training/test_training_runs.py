"""Training runs in practice: killed, on a full disk, on several processes, from a recipe."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from commands import posix
from conftest import TINY, lively, speechlike, voice
from runs import mixer, trainer
from typer.testing import CliRunner

from dccrn_cli.cli.app import app
from dccrn_cli.errors import DataError, OptionError, StorageError
from dccrn_cli.mixing.mixing_options import MixingOptions
from dccrn_cli.mixing.noises import synthetic_noise
from dccrn_cli.nn.checkpoint import load_checkpoint, save_model
from dccrn_cli.nn.config import DCCRN_PRESETS, DCCRNConfig
from dccrn_cli.training.distributed import Team
from dccrn_cli.training.losses import COMBINATIONS
from dccrn_cli.training.recipe import parse_setting, read_recipe, recipe_names
from dccrn_cli.training.run_folder import RunFolder
from dccrn_cli.training.train_options import TrainOptions
from dccrn_cli.utils.storage import write_whole

SMALL_NETWORK = [
    f"network.{name}={value}" for name, value in (("channels", list(TINY.channels)), ("rnn_units", TINY.rnn_units))
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech/ and noise/ with some clips each, pairs/ with one pair."""
    root = tmp_path_factory.mktemp("data")
    for part in ("speech", "noise", "pairs/noisy", "pairs/clean"):
        (root / part).mkdir(parents=True)
    for index in range(6):
        soundfile.write(root / "speech" / f"{index}.wav", speechlike(24_000, seed=index), 16_000)
        noise = synthetic_noise(24_000, np.random.default_rng(index))
        soundfile.write(root / "noise" / f"{index}.wav", 0.2 * noise / np.abs(noise).max(), 16_000)
    for part in ("noisy", "clean"):
        soundfile.write(root / "pairs" / part / "0.wav", speechlike(8_000, seed=part == "noisy"), 16_000)
    return root


def arguments(data: Path, run: Path, *more: str) -> list[str]:
    """A command that trains a very small network for a short time."""
    changes = [*SMALL_NETWORK, "training.save_every_s=0", *more]
    sources = ["--clean", str(data / "speech"), "--noise", str(data / "noise"), "--validation", str(data / "pairs")]
    sizes = [
        "--preset",
        "dccrn-lstm-small",
        "--steps",
        "24",
        "--batch",
        "2",
        "--seconds",
        "0.5",
        "--validate-every",
        "12",
        "--threads",
        "1",
        "--no-check",
    ]
    return ["train", *sources, "-o", str(run), *sizes, *(text for change in changes for text in ("--set", change))]


def logged_steps(run: Path) -> list[int]:
    """Steps in the log of a run."""
    return [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]


def test_killed_run_ends_in_the_same_bytes(data: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert CliRunner().invoke(app, arguments(data, whole)).exit_code == 0
    kills = 0
    for wait_until in (3, 9, 14):
        process = subprocess.Popen([sys.executable, "-m", "dccrn_cli", *arguments(data, killed)])
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            state = RunFolder(killed).load()  # written atomically, so readable at any moment
            if state is not None and state["progress"]["step"] >= wait_until:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
        process.wait(timeout=60)
    assert kills > 0
    result = CliRunner().invoke(app, arguments(data, killed))
    assert result.exit_code == 0, result.output
    assert (killed / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    last = [RunFolder(folder).load() for folder in (killed, whole)]
    assert last[0] is not None
    assert last[1] is not None
    for name, tensor in last[0]["model"].items():
        assert torch.equal(tensor, last[1]["model"][name]), name
    assert logged_steps(killed) == logged_steps(whole) == [12, 24]


def test_full_disk_keeps_existing_files(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    assert CliRunner().invoke(app, arguments(data, run)).exit_code == 0
    before = {name: (run / name).read_bytes() for name in ("last.pt", "best.safetensors")}

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    result = CliRunner().invoke(app, [*arguments(data, run), "--steps", "48"])
    assert result.exit_code == 1
    assert "the disk is full" in result.output
    assert {name: (run / name).read_bytes() for name in before} == before
    assert not [name for name in os.listdir(run) if name.endswith(".tmp")]
    monkeypatch.undo()
    assert CliRunner().invoke(app, [*arguments(data, run), "--steps", "48"]).exit_code == 0


def test_unwritable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        write_whole(tmp_path / "file" / "x", b"1")
    with pytest.raises(OptionError, match="folder"):
        write_whole(tmp_path, b"1")


def test_two_processes_train_one_network(data: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def train(run: Path, *more: str) -> str:
        command = [*launcher, "-m", "dccrn_cli", *arguments(data, run), "--device", "cpu", *more]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stderr
        return result.stdout

    said = train(tmp_path / "whole")
    assert said.count("Best:") == 1  # only one process prints
    train(tmp_path / "parts", "--steps", "12")
    assert "resuming after step 12" in train(tmp_path / "parts")
    # After a restart gradients are summed in another order, which changes insignificant weights.
    heard = torch.from_numpy(speechlike(8_000)[:, 0])[None]
    with torch.inference_mode():
        one, other = (load_checkpoint(tmp_path / run / "best.safetensors")[0](heard) for run in ("parts", "whole"))
    torch.testing.assert_close(one, other, rtol=0, atol=0.02 * float(other.abs().max()))
    assert logged_steps(tmp_path / "whole") == [12, 24]


def test_batch_is_divided_evenly(data: Path, tmp_path: Path) -> None:
    from dccrn_cli.training.prefetch import Batches

    whole = Batches(mixer(data), 4)[3]
    parts = [Batches(mixer(data), 2, rank, 2)[3] for rank in range(2)]
    np.testing.assert_array_equal(np.concatenate([part.noisy for part in parts]), whole.noisy)
    assert Team().gather([1, 2]) == [1, 2]
    with pytest.raises(OptionError, match="cannot be divided"):
        run = trainer(data, tmp_path)
        type(run)(run.model, run.source, run.pairs, tmp_path, TrainOptions(batch=3), team=Team(0, 2))


def test_worker_processes_make_the_same_batches(data: Path) -> None:
    from dccrn_cli.training.prefetch import Batches, prefetched

    batches = Batches(mixer(data), 2)
    with prefetched(batches, range(3, 6), workers=1) as by_process, prefetched(batches, range(3, 6)) as by_thread:
        for one, other in zip(by_process, by_thread, strict=True):
            np.testing.assert_array_equal(one.noisy, other.noisy)
            np.testing.assert_array_equal(one.clean, other.clean)


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_worker_processes_leave_signals_of_a_terminal_to_their_parent(data: Path, name: str) -> None:
    from dccrn_cli.training.prefetch import Batches, prefetched

    class Signalled(Batches):
        def __getitem__(self, number: int) -> Any:
            signal.raise_signal(getattr(signal, name))
            return super().__getitem__(number)

    with prefetched(Signalled(mixer(data), 2), range(2), workers=1) as made:
        assert len(list(made)) == 2


def test_skipped_step_leaves_batch_statistics_unchanged(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, steps=3, validate_every=100)
    before = {name: buffer.clone() for name, buffer in run.model.named_buffers()}
    bad = run.source.batch(0, 2)
    run.source.batch = lambda number, size: (bad[0] * np.float32("inf"), bad[1])  # type: ignore[method-assign]
    with pytest.raises(DataError):
        run.options = TrainOptions(steps=50, batch=2, bf16=False)
        list(run.run())
    for name, buffer in run.model.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_tensorboard_gets_figures_audio_and_spectrograms(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    result = CliRunner().invoke(app, [*arguments(data, tmp_path / "run"), "--tensorboard"])
    assert result.exit_code == 0, result.output
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("training/loss")) == 24
    assert [event.step for event in events.Scalars("validation/si_snr")] == [12, 24]
    assert {"example 0/enhanced", "example 0/noisy", "example 0/clean"} <= set(events.Tags()["images"])
    assert "example 0/enhanced" in events.Tags()["audio"]


def test_run_resumes_only_with_the_same_network(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert CliRunner().invoke(app, arguments(data, run)).exit_code == 0
    result = CliRunner().invoke(app, [*arguments(data, run, "network.mask=E"), "--steps", "26"])
    assert result.exit_code == 2
    assert "network.mask C, not E" in result.output
    assert 'mask = "E"' not in (run / "recipe.toml").read_text()


def test_another_loss_resets_the_best_model(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert CliRunner().invoke(app, arguments(data, run)).exit_code == 0
    before = (run / "best.safetensors").read_bytes()
    more = arguments(data, run, "loss.multi-resolution=50")
    assert CliRunner().invoke(app, [*more, "--steps", "26"]).exit_code == 0
    assert (run / "best.safetensors").read_bytes() != before
    state = RunFolder(run).load()
    assert state is not None
    assert state["progress"]["best"]["loss"] > 10


def test_run_from_a_model_is_reproducible_from_its_recipe(data: Path, tmp_path: Path) -> None:
    start, first, again = tmp_path / "start.safetensors", tmp_path / "first", tmp_path / "again"
    save_model(lively(dataclasses.replace(TINY, mask="E")), start, {})
    plain = [item for item in arguments(data, first) if not item.startswith("network.")]
    plain = [item for place, item in enumerate(plain) if item != "--set" or plain[place + 1] != "--set"]
    plain = [item for item in plain if item not in ("--preset", "dccrn-lstm-small")]
    assert CliRunner().invoke(app, [*plain, "--init", str(start)]).exit_code == 0
    recipe = read_recipe(first / "recipe.toml")
    assert recipe.config() == dataclasses.replace(TINY, mask="E")
    plain[plain.index(str(first))] = str(again)
    result = CliRunner().invoke(app, [*plain, "--init", str(start), "--recipe", str(first / "recipe.toml")])
    assert result.exit_code == 0, result.output
    weights = [load_checkpoint(run / "best.safetensors")[0].state_dict() for run in (first, again)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    result = CliRunner().invoke(app, [*plain, "--init", str(start), "--set", "network.mask=C"])
    assert result.exit_code == 2, "a mask cannot be changed in a trained network"


def test_loss_combination_replaces_that_of_the_recipe() -> None:
    loss = read_recipe("dccrn", {"loss": {"combination": "si-snr+lms", "level": 0.1}}).loss
    assert loss.terms == {**COMBINATIONS["si-snr+lms"], "level": 0.1}
    assert read_recipe("dccrn", {"loss": {"level": 0.1}}).loss.terms.keys() > {"pmsqe", "pesq", "level"}


def test_errors_of_workers_are_one_line(data: Path, tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.wav").write_bytes(b"text")
    broken = arguments(data, tmp_path / "run")
    broken[broken.index(str(data / "noise"))] = str(tmp_path)
    result = CliRunner().invoke(app, [*broken, "--workers", "1"])
    assert result.exit_code == 2
    assert result.output.count("not readable as audio") == 1
    assert "Traceback" not in result.output


def test_recipes_round_trip(tmp_path: Path) -> None:
    assert {"dccrn", "dccrn-small", "dccrn-e-paper", "dccrn-cl-paper"} <= set(recipe_names())
    for name in recipe_names():
        recipe = read_recipe(name)
        assert recipe.description
        (tmp_path / f"{name}.toml").write_text(recipe.to_toml())
        again = read_recipe(tmp_path / f"{name}.toml")
        assert again == recipe


def test_recipes_inherit_and_take_changes(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'base = "dccrn"\n[mixing]\nsnr-db = [0, 5]\n[training]\nbatch = 2\n[loss]\nsnr = 1\n[network]\nrnn-units = 64\n'
    )
    recipe = read_recipe(tmp_path / "mine.toml", {"training": {"lr": 1e-4}, "loss": {"mse": 0.5}})
    assert recipe.mixing.snr_db == (0.0, 5.0)
    assert recipe.mixing.seconds == read_recipe("dccrn").mixing.seconds
    assert (recipe.training.batch, recipe.training.lr) == (2, 1e-4)
    assert dict(recipe.loss.terms) == {"snr": 1.0, "mse": 0.5}
    more = read_recipe("dccrn", {"loss": {"pesq": 0.1}})
    assert dict(more.loss.terms) == {**read_recipe("dccrn").loss.terms, "pesq": 0.1}
    config = recipe.config()
    assert isinstance(config, DCCRNConfig)
    assert config.rnn_units == 64
    assert config.channels == DCCRN_PRESETS["dccrn"].channels
    (tmp_path / "next.toml").write_text('base = "mine"\n')
    assert read_recipe(tmp_path / "next.toml").training.batch == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("colour = 1", "no setting named 'colour'"),
        ("[mixing]\ncolour = 1", "mixing: no setting named 'colour'"),
        ("[training]\nlr = 'fast'", "lr must be a number"),
        ("[training]\nbf16 = 1", "bf16 must be true or false"),
        ("[training]\nschedule = 'slow'", "one of plateau, cosine"),
        ("[training]\nsteps = 0", "at least 1"),
        ("[mixing]\nsnr-db = [1]", "a list of 2"),
        ("[network]\nmask = 'Z'", "one of R, C, E"),
        ("[loss]\nbeauty = 1", "beauty"),
        ("preset = 'none'", "no preset"),
        ("base = 'bad'", "is based on itself"),
        ("mixing = 3", "must be a table"),
        ("= 3", "Invalid"),
    ],
)
def test_errors_in_recipes_are_reported(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(OptionError, match=reason):
        read_recipe(tmp_path / "bad.toml")


def test_settings_from_the_command_line() -> None:
    assert parse_setting("mixing.snr_db=[0, 5]") == ("mixing", "snr_db", [0, 5])
    assert parse_setting("mixing.target=early") == ("mixing", "target", "early")
    for text in ("mixing=3", "a.b=1", "training.lr", "loss.=1"):
        with pytest.raises(OptionError):
            parse_setting(text)
    with pytest.raises(OptionError, match="neither"):
        read_recipe("none")
    assert isinstance(read_recipe("dccrn").mixing, MixingOptions)


def test_list_of_recipes() -> None:
    result = CliRunner().invoke(app, ["train", "--list-recipes"])
    assert result.exit_code == 0
    assert all(name in result.output for name in recipe_names())


def test_data_are_checked_first(data: Path, tmp_path: Path) -> None:
    odd, spoken = tmp_path / "odd", tmp_path / "spoken"
    for folder in (odd, spoken):
        folder.mkdir()
    for index in range(4):
        soundfile.write(spoken / f"{index}.wav", voice(4, index), 16_000)
    soundfile.write(odd / "silent.wav", np.zeros(32_000), 16_000)
    (odd / "text.wav").write_bytes(b"text")
    command = [*arguments(data, tmp_path / "run"), "--check", "--noise", str(odd), "--noise", str(spoken)]
    place = command.index("--clean") + 1
    result = CliRunner().invoke(app, [*command[:place], str(spoken), *command[place + 1 :]])
    assert result.exit_code == 0, result.output
    assert "silent.wav contains only silence" in result.output
    assert "text.wav not readable as audio" in result.output
    assert ", used as speech" in result.output
    (tmp_path / "run" / "last.pt").unlink()
    result = CliRunner().invoke(app, [*command[:place], str(odd), *command[place + 1 :]])
    assert result.exit_code == 2
    assert "s of usable speech" in result.output
    assert not (tmp_path / "run" / "last.pt").exists()
