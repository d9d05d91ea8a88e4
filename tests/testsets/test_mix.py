"""Test sets: contents, agreement with their metadata, and reproducibility."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from testset_data import arguments, content, mix, mixtures, put, recordings, table
from typer.testing import CliRunner

from dccrn_cli.cli.app import app
from dccrn_cli.data.clips import HELD_OUT, find_clips, set_aside
from dccrn_cli.data.speech_level import active_rms, rms
from dccrn_cli.errors import AudioError, OptionError
from dccrn_cli.testsets.mixture_recipe import PROTOCOLS, MixtureRecipe, Span, parse_snr, parse_span
from dccrn_cli.testsets.rows import read_rows
from dccrn_cli.testsets.sources import Sources
from dccrn_cli.testsets.testset import MixtureSet, noise_sets


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("snr_on", ["active", "whole"])
@pytest.mark.parametrize("sample_format", ["s16", "f32"])
def test_files_have_the_snr_in_the_metadata(data: Path, tmp_path: Path, snr_on: str, sample_format: str) -> None:
    result = mix(data, tmp_path, "--snr", "-10,0,20", "--count", 18, "--level", "-50:-10", "--snr-on", snr_on,
                 "--sample-format", sample_format, "--reverb", 0.5, "--keep-noise")  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "metadata.csv")
    assert Counter(row.snr_db for row in rows) == {-10: 6, 0: 6, 20: 6}
    assert Counter(row.room for row in rows) == {"": 9, "simulated": 9}
    assert any(row.gain_db < 0 for row in rows)
    for row in rows:
        noisy, clean, noise = (
            soundfile.read(tmp_path / kind / f"{row.name}.wav")[0] for kind in ("noisy", "clean", "noise")
        )
        level = active_rms(clean) if snr_on == "active" else rms(clean)
        assert 20 * np.log10(level / rms(noisy - clean)) == pytest.approx(row.snr_db, abs=0.05)
        assert 20 * np.log10(active_rms(clean)) == pytest.approx(row.level_db + row.gain_db, abs=0.3)
        assert len(noisy) == len(clean) == row.samples
        assert np.abs(noisy).max() <= 1
        assert np.abs(noisy - clean - noise).max() <= (0 if sample_format == "s16" else 1e-7)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols(data: Path, tmp_path: Path, name: str) -> None:
    more = ("--unseen-noise", data / "unseen") if name == "losses" else ()
    result = mix(data, tmp_path, "--protocol", name, "--count", 28, *more)
    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "metadata.csv")
    used = Counter(row.snr_db for row in rows)
    noisy, clean = ({path.name for path in (tmp_path / kind).iterdir()} for kind in ("noisy", "clean"))
    assert len(rows) == len(noisy) == len(clean) == 28
    if name == "dns":
        assert min(used) >= -5
        assert max(used) <= 20
        assert Counter(row.reverb for row in rows) == {0: 14, 1: 14}
        assert {row.samples for row in rows} == {160_000}
        assert clean == {f"clean_fileid_{number}.wav" for number in range(28)}
        assert all(f"_snr{row.snr_db:g}_tl{row.level_db:g}_fileid_{row.number}.wav" in " ".join(noisy) for row in rows)
        return
    assert noisy == clean
    if name == "losses":
        assert used == dict.fromkeys(range(-10, 21, 5), 4)
        assert {row.samples for row in rows} == {48_000}
        assert Counter(row.noise_set for row in rows) == {"seen": 14, "unseen": 14}
        assert "mix_00007_snr-10_unseen.wav" in noisy
    else:
        assert set(used) == ({0, 5, 10, 15, 20} if name == "dccrn-wsj0" else {-5, 0, 5})
        assert max(used.values()) - min(used.values()) <= 1
        assert len({row.samples for row in rows}) == 9
        assert Counter(row.clean for row in rows).most_common()[-1][1] >= 3


def test_options_override_the_protocol(data: Path, tmp_path: Path) -> None:
    result = mix(data, tmp_path, "--protocol", "dns", "--snr", "7.5", "--seconds", 1, "--reverb", 0, "--count", 3)
    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "metadata.csv")
    assert {(row.snr_db, row.samples, row.reverb) for row in rows} == {(7.5, 16_000, 0)}


def test_killed_run_resumes_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    options = ("--count", 150, "--reverb", 0.3)
    command = [sys.executable, "-m", "dccrn_cli", *arguments(data, tmp_path / "killed", *options)]
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        before = len(list((tmp_path / "killed").glob("noisy/*.wav")))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 300
        while len(list((tmp_path / "killed").glob("noisy/*.wav"))) < before + 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == code, errors
        assert "Traceback" not in errors
    with open(tmp_path / "killed" / "metadata.csv", "a") as file:
        file.write("mix_00399_sn")  # a row cut off
    missing = next((tmp_path / "killed" / "clean").iterdir())
    missing.unlink()
    result = mix(data, tmp_path / "killed", *options)
    assert result.exit_code == 0, result.output
    assert "skipped" in result.output
    assert mix(data, tmp_path / "whole", *options).exit_code == 0
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_existing_mixtures_are_kept(data: Path, tmp_path: Path) -> None:
    assert mix(data, tmp_path, "--count", 4).exit_code == 0
    before = content(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    result = mix(data, tmp_path, "--count", 2)
    assert result.exit_code == 0
    assert "4 skipped" in result.output
    assert content(tmp_path) == before
    assert mix(data, tmp_path, "--count", 6, "--keep-noise").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(list((tmp_path / "noise").iterdir())) == len(table(tmp_path)) == 6
    assert mix(data, tmp_path, "--count", 4, "--seed", 1).exit_code == 2
    mine = tmp_path / "noisy" / table(tmp_path)[2]["name"]
    mine = mine.with_name(mine.name + ".wav")
    mine.write_bytes(b"mine")
    (tmp_path / "metadata.csv").unlink()
    result = mix(data, tmp_path, "--count", 4)
    assert result.exit_code == 1
    assert "already exists with different content" in result.output
    assert mine.read_bytes() == b"mine"
    assert len(table(tmp_path)) == 3
    assert mix(data, tmp_path, "--count", 4, "--seed", 1, "--overwrite").exit_code == 0
    assert {row["seed"] for row in table(tmp_path)} == {"1"}


def test_bad_sources_affect_only_their_mixtures(data: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    (moved / "speech" / "speaker0" / "0.flac").write_bytes(b"text")
    put(moved / "noise" / "class1" / "1.wav", np.zeros(20_000))
    assert mix(data, tmp_path / "good").exit_code == 0
    result = mix(moved, tmp_path / "bad")
    assert result.exit_code == 0
    assert "Note: speaker0/0.flac: not readable as audio" in result.output
    assert "Note: class1/1.wav: contains only silence" in result.output
    good, bad = table(tmp_path / "good"), table(tmp_path / "bad")
    assert len(good) == len(bad) == 9
    for before, after in zip(good, bad, strict=True):
        hit = before["clean"] == "speaker0/0.flac" or before["noise"] == "class1/1.wav"
        assert (before["digest"] != after["digest"]) == hit
    shutil.rmtree(moved / "noise")
    (moved / "noise").mkdir()
    (moved / "noise" / "a.wav").write_bytes(b"text")
    result = mix(moved, tmp_path / "none")
    assert result.exit_code == 2
    assert "no usable recording is left" in result.output


def test_frame_at_the_activity_threshold_does_not_shift_the_snr(data: Path, tmp_path: Path) -> None:
    """Rounding moves such frames across the activity threshold, which changes the active level."""
    speech = np.zeros(24_000)
    speech[3200:9600] = 0.3 * np.sin(np.arange(6400))
    speech[12_800:13_440] = 0.003 * np.sin(np.arange(640))
    put(tmp_path / "speech" / "a.wav", speech)
    clean, noise = Sources(find_clips([tmp_path / "speech"])), Sources(find_clips([data / "noise"]))
    errors = []
    for level_db in np.arange(-50.0, -30.0, 0.5):
        recipe = MixtureRecipe(level_db=Span(level_db, level_db), snr_db=(0.0,))
        _, mixture = MixtureSet(recipe, clean, {"": noise}, None).make(0)
        added = rms(mixture.noisy - mixture.clean)
        errors.append(abs(20 * np.log10(active_rms(mixture.clean) / added)))
    assert max(errors) < 0.01


def test_too_coarse_sample_formats_are_rejected(data: Path) -> None:
    faint = {"level_db": Span(-75.0, -75.0), "snr_db": (30.0,)}
    with pytest.raises(AudioError, match="too coarse"):
        mixtures(data, **faint).make(0)
    _, mixture = mixtures(data, **faint, sample_format="f32").make(0)
    assert abs(mixture.snr_error_db) < 1e-3


def test_parsing_of_snr_and_level() -> None:
    assert parse_snr("-5, 0,2.5") == (-5.0, 0.0, 2.5)
    assert parse_snr("-5:20") == Span(-5.0, 20.0)
    assert parse_span("-25") == Span(-25.0, -25.0)
    for text in ("", "a", "5:", "nan", "1,,2", "0:5:10", "inf"):
        with pytest.raises(OptionError):
            parse_snr(text)
    with pytest.raises(OptionError, match="below its start"):
        parse_snr("20:-5")
    drawn = [Span(-1.0, 1.0).draw(np.random.default_rng(seed), 0.5) for seed in range(60)]
    assert set(drawn) == {-1.0, -0.5, 0.0, 0.5, 1.0}


def test_seen_and_unseen(data: Path) -> None:
    noise, unseen = find_clips([data / "noise"]), find_clips([data / "unseen"])
    assert {name: len(pool.clips) for name, pool in noise_sets(noise, unseen, 0, None).items()} == {
        "seen": 4, "unseen": 2,
    }  # fmt: skip
    assert set(noise_sets(noise, unseen, 0, "unseen")) == {"unseen"}
    assert set(noise_sets(noise, [], 0, None)) == {""}
    assert set(noise_sets(noise, [], 0, "seen")) == {"seen"}
    shared = noise_sets(noise + unseen, [], 0.5, "both")
    names = [[clip.name for clip in pool.clips] for pool in shared.values()]
    assert sorted(names[0] + names[1]) == sorted(clip.name for clip in noise + unseen)
    for share in (1e-9, 1.0):
        assert all(pool.clips for pool in noise_sets(noise, [], share, None).values())
    for clips, wrong in ((noise, ([], 0, "both")), (noise[:1], ([], None, "both"))):
        with pytest.raises(OptionError):
            noise_sets(clips, *wrong)


def test_unseen_noise_equals_the_noise_held_out_by_finetune(data: Path, tmp_path: Path) -> None:
    result = mix(data, tmp_path / "a", "--protocol", "losses", "--count", 14)
    assert result.exit_code == 0, result.output
    assert "1 of 4 recordings of noise treated as unseen" in result.output
    _, held = set_aside(find_clips([data / "noise"]), HELD_OUT, "noise")
    rows = read_rows(tmp_path / "a" / "metadata.csv")
    used = {kind: {row.noise for row in rows if row.noise_set == kind} for kind in ("seen", "unseen")}
    assert used["unseen"] == {clip.name for clip in held}
    assert used["seen"] == {clip.name for clip in find_clips([data / "noise"])} - used["unseen"]


def test_replacing_a_set_removes_all_its_files(data: Path, tmp_path: Path) -> None:
    assert mix(data, tmp_path, "--snr", 0, "--count", 3, "--keep-noise").exit_code == 0
    mine = tmp_path / "noisy" / "mine.wav"
    mine.touch()
    assert mix(data, tmp_path, "--snr", 5, "--count", 2).exit_code == 2
    assert len(list(tmp_path.rglob("*.wav"))) == 10, "refused, and nothing is gone"
    assert mix(data, tmp_path, "--snr", 5, "--count", 2, "--overwrite").exit_code == 0
    names = {f"{row['name']}.wav" for row in table(tmp_path)}
    assert {path.name for path in (tmp_path / "noisy").iterdir()} == names | {mine.name}
    assert {path.name for path in (tmp_path / "clean").iterdir()} == names
    assert not list((tmp_path / "noise").iterdir())


def test_noise_with_long_pauses(data: Path, tmp_path: Path) -> None:
    door = np.zeros(60 * 16_000)
    door[30 * 16_000 : 30 * 16_000 + 4000] = 0.3 * np.random.default_rng(0).standard_normal(4000)
    (tmp_path / "door").mkdir()
    soundfile.write(tmp_path / "door" / "slam.wav", door, 16_000)
    result = mix(data, tmp_path / "out", "--noise", tmp_path / "door", "--count", 4)
    assert result.exit_code == 0, result.output
    mixtures = MixtureSet(
        MixtureRecipe(), Sources(find_clips([data / "speech"])), {"": Sources(find_clips([tmp_path / "door"]))}, None
    )
    for number in range(6):
        row, _ = mixtures.make(number)
        assert row.noise_offset < 30.25 * 16_000 < row.noise_offset + row.samples + 4000


@pytest.mark.parametrize(
    "more",
    [
        ("--snr", "loud"),
        ("--snr", "20:-5"),
        ("--level", "-10:-30"),
        ("--protocol", "nothing"),
        ("--protocol", "losses", "--unseen-share", "0"),
        ("--split", "both", "--unseen-share", "0"),
        ("--reverb", "1.5"),
        ("--count", "0"),
        ("--sample-format", "u8"),
        ("--rooms", "nowhere"),
        ("--from", "nowhere.csv"),
        ("--from", __file__),
        ("--from", "nowhere.csv", "--seed", "1"),
    ],
)
def test_wrong_usage(data: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    result = mix(data, tmp_path / "out", *more)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_results_among_the_sources_are_rejected(data: Path, tmp_path: Path) -> None:
    assert mix(data, tmp_path / "set", "--count", 2).exit_code == 0
    before = content(tmp_path / "set")
    for more in ((), ("--overwrite",)):
        result = mix(data, tmp_path / "set", "--from", tmp_path / "set" / "metadata.csv", *more)
        assert result.exit_code == 2
    assert content(tmp_path / "set") == before
    shutil.copytree(data / "speech", tmp_path / "clean")
    command = ["mix", "--clean", str(tmp_path / "clean"), "--noise", str(data / "noise"), "-o", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "among the sources" in result.output


def test_mixing_needs_no_torch(data: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from dccrn_cli.cli.app import app\n"
        "assert CliRunner().invoke(app, sys.argv[1:]).exit_code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, *arguments(data, tmp_path, "--count", 2)], check=True, env=os.environ)
