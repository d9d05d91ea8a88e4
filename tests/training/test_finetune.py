"""Fine-tuning: better on the user's noise, or rejected."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import lively, speechlike, voice
from typer.testing import CliRunner

from dccrn_cli.cli.app import app
from dccrn_cli.cli.finetune import _expected
from dccrn_cli.data.pairs import Pair
from dccrn_cli.errors import DataError, OptionError
from dccrn_cli.metrics.align import find_shift
from dccrn_cli.mixing.mixing_options import MixingOptions
from dccrn_cli.mixing.source import Blend, RecordedPairs
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.nn.models import find_model
from dccrn_cli.training import finetune
from dccrn_cli.training.finetune import Comparison, FineTuning, Scores, blended
from dccrn_cli.training.finetune_data import OwnData, own_data
from dccrn_cli.training.finetune_run import finetune as finetune_model
from dccrn_cli.training.recipe import read_recipe
from dccrn_cli.training.retention_set import SNRS_DB, yardstick


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech/ and noise/ with 6 files each, and pairs/noisy, pairs/clean."""
    root = tmp_path_factory.mktemp("own")
    for part in ("speech", "noise", "pairs/noisy", "pairs/clean"):
        (root / part).mkdir(parents=True)
    for index in range(6):
        rng = np.random.default_rng(index)
        speech, noise = voice(4, index), 0.05 * rng.standard_normal(64_000)
        soundfile.write(root / "speech" / f"{index}.wav", speech, 16_000)
        soundfile.write(root / "noise" / f"{index}.wav", noise, 16_000)
        soundfile.write(root / "pairs" / "clean" / f"{index}.wav", speech, 16_000)
        late = np.concatenate([np.zeros(40), speech[:-40]])  # recorded 2.5 ms later
        soundfile.write(root / "pairs" / "noisy" / f"{index}.wav", late + noise, 16_000)
    return root


START = "dccrn-small"


@pytest.fixture(scope="module")
def small() -> dict[float, list[Pair]]:
    """A part of the yardstick."""
    return {snr_db: pairs[:1] for snr_db, pairs in yardstick().items() if snr_db in (0.0, 10.0, math.inf)}


@pytest.fixture(autouse=True)
def few_pairs(small: dict[float, list[Pair]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A yardstick and a set of held-out pairs that do not take long."""
    monkeypatch.setattr(finetune, "yardstick", lambda: small)
    monkeypatch.setattr("dccrn_cli.training.finetune_data.PAIRS_PER_SNR", 1)


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `dccrn finetune`."""
    settings = ["--threads", "1", "--steps", "50"]
    result = CliRunner().invoke(app, ["finetune", *settings, *map(str, arguments)])
    return result.exit_code, result.output


def test_better_model_is_written_and_usable(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    sources = ("--clean", data / "speech", "--noise", data / "noise", "--model", START, "-o", output)
    code, said = run(*sources, "--lr", "1e-3")
    assert code == 0, said
    assert "your noise, all" in said
    assert "4 + 2 speech files" in said
    for part in ("of scoring", "in 50 steps; loss ", " in total"):
        assert part in said, part
    provenance = load_checkpoint(output)[1]
    figures = provenance["finetuned"]
    assert figures["own_after"]["mean"]["si_snr"] > figures["own_before"]["mean"]["si_snr"] + 0.1
    assert provenance["started_from"] == START
    assert sorted(os.listdir(tmp_path)) == ["mine.safetensors"]
    soundfile.write(tmp_path / "x.wav", voice(1, 3), 16_000)
    arguments = ["enhance", str(tmp_path / "x.wav"), "-o", str(tmp_path / "y.wav"), "--model", str(output)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    before = output.read_bytes()
    code, said = run(*sources, "--steps", "1")  # hardly trained: worse than the existing model
    assert code == 1
    assert "Refused" in said
    assert output.read_bytes() == before


def test_total_time_is_estimated_beforehand() -> None:
    assert _expected(20, 600, 70) == (
        "About 11 min 30 s in total: 20.0 s so far, 10 min 00 s of training, about 1 min 10 s of scoring"
    )


def test_noise_as_clean_speech_stops_before_training(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    sources = ("--clean", data / "noise", "--noise", data / "speech", "--model", START, "-o", output)
    code, said = run(*sources)
    assert code == 2
    assert '"clean" files look like noise, not speech' in said
    assert "--force" in said
    assert "Before:" not in said
    with pytest.raises(DataError, match="look like noise"):
        finetune_model(data / "noise", data / "speech", output, START)
    code, said = run(*sources, "--json", "--force")
    assert code in (0, 1)
    assert "Warning" in said
    figures = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert set(figures["own_after"]["by_snr_db"]) == {f"{snr_db:g}" for snr_db in SNRS_DB}
    assert figures["elsewhere_before"]["mean"]["si_snr"] is not None
    assert ("Nothing was written" in said) == (not output.exists())


@pytest.mark.parametrize("name", ["folder", "sound.wav", "."])
def test_invalid_output_is_reported_first(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    soundfile.write(tmp_path / "sound.wav", voice(1, 3), 16_000)
    before = sorted(os.listdir(tmp_path))
    sources = ("--clean", data / "speech", "--noise", data / "noise", "--model", START)
    code, said = run(*sources, "-o", "." if name == "." else tmp_path / name)
    assert code == 2
    assert "Before" not in said
    assert sorted(os.listdir(tmp_path)) == before


def test_run_with_other_options_is_not_resumed(data: Path, small: dict[float, list[Pair]], tmp_path: Path) -> None:
    own = own_data([data / "speech"], [data / "noise"], None, [], MixingOptions(seconds=1.0), 0.3, 0)
    fewer = own_data([data / "speech"], [data / "noise" / f"{n}.wav" for n in range(3)], None, [], own.source.options,
                     0.3, 0)  # fmt: skip
    recipe = read_recipe("finetune")

    def begin(own: OwnData, **asked: object) -> None:
        FineTuning(load_checkpoint(find_model(START))[0], own, recipe, tmp_path, torch.device("cpu"), asked).begin(
            3, 1.0
        )

    begin(own, general=0.3)
    begin(own, general=0.3)
    with pytest.raises(OptionError, match="different general;"):
        begin(own, general=0.4)
    with pytest.raises(OptionError, match="different recordings;"):
        begin(fewer, general=0.3)


def test_general_noise_keeps_its_share_with_pairs(data: Path) -> None:
    folders = [(data / "pairs/noisy", data / "pairs/clean")]
    for clean, noise, pairs in (
        ([data / "speech"], [data / "noise"], []), ([], [], folders), ([data / "speech"], [data / "noise"], folders),
    ):  # fmt: skip
        source = own_data(clean, noise, None, pairs, MixingOptions(seconds=1.0), 0.3, 0).source
        assert isinstance(source, Blend)
        general = sum(share for one, share in source.sources if one.options.synthetic == 1.0)
        assert general / sum(share for _, share in source.sources) == pytest.approx(0.3)
    with pytest.raises(OptionError, match="--rooms"):
        own_data([], [], [data / "speech"], folders, MixingOptions(seconds=1.0), 0.3, 0)


def test_recorded_pairs(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    code, said = run(
        "--pairs", data / "pairs/noisy", data / "pairs/clean", "--model", START, "-o", output, "--general", "0.2"
    )
    assert "4 + 2 recorded pairs" in said
    assert code == 0, said
    assert output.exists()


def test_recorded_pairs_are_aligned_and_set_aside_by_file(data: Path) -> None:
    own = own_data([], [], None, [(data / "pairs/noisy", data / "pairs/clean")], MixingOptions(seconds=1.0), 0.3, 0)
    (pairs,) = own.held_out.values()
    for pair in pairs:
        shift = find_shift(pair.clean[:, None], pair.noisy[:, None], 16_000)
        assert shift is not None
        assert shift.delay_samples == 0
    source = RecordedPairs(pairs, MixingOptions(seconds=1.0), 3)
    for number in range(4):
        noisy, clean = source.example(number)
        assert noisy.shape == clean.shape == (16_000,)
        np.testing.assert_array_equal(noisy, source.example(number)[0])


def test_no_recording_is_in_both_splits(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    from dccrn_cli.data.clips import Clip

    original = Clip.read

    def watched(clip: Clip) -> np.ndarray:
        read.append(str(clip.source))
        return original(clip)

    monkeypatch.setattr(Clip, "read", watched)
    own = own_data([data / "speech"], [data / "noise"], None, [], MixingOptions(seconds=1.0), 0.0, 0)
    held = set(read)
    read.clear()
    for number in range(40):
        own.source.example(number)
    assert held
    assert len(set(read)) == 8
    assert not held & set(read)


def test_killed_run_resumes(data: Path, tiny_model_file: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "mine.safetensors.run"
    command = [
        sys.executable, "-m", "dccrn_cli", "finetune", "--clean", str(data / "speech"), "--noise", str(data / "noise"),
        "--model", str(tiny_model_file), "-o", str(tmp_path / "mine.safetensors"), "--threads", "1", "--steps", "40",
        "--no-check",
    ]  # fmt: skip
    run_folder.mkdir()
    every_step = read_recipe("finetune", {"training": {"steps": 40, "save_every_s": 0.0}})
    (run_folder / "recipe.toml").write_text(every_step.to_toml())
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 300
    while not (run_folder / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait(timeout=60)
    assert not (tmp_path / "mine.safetensors").exists()
    code, said = run("--clean", data / "speech", "--noise", data / "noise", "--model", str(tiny_model_file),
                     "-o", tmp_path / "mine.safetensors")  # fmt: skip
    assert "Resuming after step" in said
    assert code in (0, 1)
    assert not run_folder.exists()


def scores(si_snr: float, pesq: float = 2.0, stoi: float = 0.8, clean: float = 35.0) -> Scores:
    """Figures of a model."""
    return Scores({}, {"loss": 0.0, "si_snr": si_snr, "pesq_wb": pesq, "stoi": stoi}, clean)


def test_objections_to_a_model() -> None:
    good = Comparison(scores(10), scores(11), scores(12), scores(12.2))
    assert good.objections() == []
    worse: dict[str, dict[str, Any]] = {
        "on your noise changes by": {"own_after": scores(10.05)},
        "PESQ-WB on your noise drops": {"own_after": scores(11, pesq=1.9)},
        "SI-SNR elsewhere drops": {"elsewhere_after": scores(11.9)},
        "STOI elsewhere drops": {"elsewhere_after": scores(12, stoi=0.7)},
        "clean speech is changed": {"elsewhere_after": scores(12, clean=20.0)},
        "less than +0.10": {"own_after": scores(math.nan)},
    }
    for words, change in worse.items():
        objections = dataclasses.replace(good, **change).objections()
        assert any(words in objection for objection in objections), (words, objections)


def test_blending_interpolates_between_models(tiny_model: DCCRN) -> None:
    other = lively(tiny_model.config, seed=1)
    signal_ = torch.from_numpy(speechlike(4000)[:, 0])[None]
    with torch.inference_mode():
        for strength, end in ((0.0, tiny_model), (1.0, other)):
            torch.testing.assert_close(blended(tiny_model, other, strength)(signal_), end(signal_))


def test_blend_draws_sources_by_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    options = MixingOptions(seconds=0.5)
    ones, twos = (
        RecordedPairs([Pair("x", np.full(8000, v, np.float32), np.full(8000, v, np.float32))], options, 0)
        for v in (0.1, 0.2)
    )
    drawn = []
    monkeypatch.setattr(ones, "example", lambda number: False)
    monkeypatch.setattr(twos, "example", lambda number: True)
    blend = Blend([(ones, 0.7), (twos, 0.3)], seed=1)
    drawn = [blend.example(number) for number in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.04)


def test_retention_set_is_fixed() -> None:
    one, two = yardstick(), yardstick()
    assert set(one) == {*SNRS_DB, math.inf}
    for snr_db, pairs in one.items():
        for a, b in zip(pairs, two[snr_db], strict=True):
            np.testing.assert_array_equal(a.noisy, b.noisy)
            assert a.clean.shape == (64_000,)
            assert np.array_equal(a.noisy, a.clean) == math.isinf(snr_db)


@pytest.mark.parametrize("bad", ["empty", "missing", "single", "unreadable", "silent", "no noise"])
def test_bad_data_are_rejected_before_writing(bad: str, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    if bad == "missing":
        folder.rmdir()
    elif bad == "single":
        soundfile.write(folder / "a.wav", voice(5, 0), 16_000)
    elif bad == "unreadable":
        for index in range(5):
            (folder / f"{index}.wav").write_bytes(b"no audio")
    elif bad == "silent":
        for index in range(5):
            soundfile.write(folder / f"{index}.wav", np.zeros(32_000), 16_000)
    sources = ["--clean", folder] if bad == "no noise" else ["--clean", folder, "--noise", data / "noise"]
    code, said = run(*sources, "--model", START, "-o", tmp_path / "mine.safetensors")
    assert code == 2
    assert "Traceback" not in said
    assert "Error" in said
    assert not (tmp_path / "mine.safetensors").exists()


def test_finetuning_needs_training_data(data: Path) -> None:
    with pytest.raises(OptionError, match="--pairs"):
        own_data([], [], None, [], MixingOptions(), 0.3, 0)
    with pytest.raises(DataError):
        own_data([data / "none"], [data / "noise"], None, [], MixingOptions(), 0.3, 0)
    made = own_data([data / "speech"], [data / "noise"], None, [], MixingOptions(seconds=1.0), 0.3, 0)
    assert isinstance(made, OwnData)
    assert len(made.some_held_out()) == 6
