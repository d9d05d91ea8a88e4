"""Data checks before training: every fault is found and named, and good data pass."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from dccrn_cli.data.check import DataReport, check_clips
from dccrn_cli.data.clips import Clip, find_clips
from dccrn_cli.data.speech_likeness import likeness
from dccrn_cli.mixing.noises import KINDS, coloured

RATE = 16_000


def talk(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """Syllables of gliding voice or hiss with pauses, varying like speech."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * rate:
        count = int(rng.uniform(0.12, 0.35) * rate)
        time = np.arange(count) / rate
        pitch_hz = rng.uniform(90, 220) * (1 + rng.uniform(-0.3, 0.3) * time)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / rate
        formant = rng.integers(3, 12)
        voice = sum(np.sin(k * phase) / (1 + abs(k - formant)) for k in range(1, 30))
        edge = np.sin(np.pi * np.arange(count) / count) ** 0.7
        hiss = rng.standard_normal(count // 3) * np.hanning(count // 3) * rng.uniform(0.1, 0.5)
        pause = np.zeros(int(rng.exponential(0.08) * rate))
        parts += [voice * edge * rng.uniform(0.3, 1), hiss, pause]
    speech = np.concatenate(parts)[: int(seconds * rate)]
    return 0.08 * speech + 1e-4 * rng.standard_normal(len(speech))


def put(path: Path, x: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, rate)


def put_half(path: Path) -> None:
    soundfile.write(path, talk(3, 56), RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech/ and noise/ with nothing wrong."""
    root = tmp_path_factory.mktemp("sound")
    for index in range(10):
        put(root / "speech" / f"{index}.wav", talk(3, index))
        put(root / "noise" / f"{index}.wav", 0.02 * coloured(2 * RATE, np.random.default_rng(index)).clip(-8, 8))
    return root


def clips(*paths: Path) -> list[Clip]:
    return find_clips(paths)


def kinds(report: DataReport, severity: str) -> set[tuple[str, str]]:
    return {(one.role, one.kind) for one in report.findings if one.severity == severity}


def test_valid_data_pass(sound: Path) -> None:
    told: list[tuple[int, int]] = []
    report = check_clips(
        clips(sound / "speech"), clips(sound / "noise"), on_progress=lambda done, of: told.append((done, of))
    )
    assert report.findings == ()
    assert report.summary == {}
    assert report.roles["speech"].clips == report.roles["speech"].checked == 10
    assert report.roles["speech"].seconds == pytest.approx(30)
    assert told == [(done, 20) for done in range(1, 21)]


FAULTS: dict[str, Callable[[Path], object]] = {
    "unreadable": lambda path: path.write_bytes(b"text that is no audio at all"),
    "empty": lambda path: put(path, np.zeros(0)),
    "cut off": put_half,
    "silent": lambda path: put(path, np.zeros(RATE)),
    "short": lambda path: put(path, talk(0.2, 50)),
    "rate": lambda path: put(path, talk(3, 51, 8000), 8000),
    "narrow": lambda path: put(path, soxr.resample(talk(3, 52, 8000), 8000, RATE)),
    "clipped": lambda path: put(path, np.clip(20 * talk(3, 53), -1, 1)),
    "offset": lambda path: put(path, talk(3, 54) + 0.1),
    "noisy": lambda path: put(path, talk(3, 55) + 0.007 * np.random.default_rng(0).standard_normal(3 * RATE)),
    "not speech": lambda path: put(path, 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)),
    "duplicate": lambda path: put(path, talk(3, 5)),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_single_bad_file_is_named(kind: str, sound: Path, tmp_path: Path) -> None:
    """A warning, since training can continue with or without it."""
    FAULTS[kind](tmp_path / "bad.wav")
    report = check_clips(clips(sound / "speech", tmp_path), clips(sound / "noise"))
    assert report.errors == ()
    found = [one for one in report.findings if one.kind == kind]
    assert [(one.name, one.role, one.severity) for one in found] == [("bad.wav", "speech", "warning")]
    assert report.summary["speech", kind] == 1
    assert found[0].message


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("unreadable", "unreadable"), ("empty", "unreadable"), ("silent", "silent"), ("not speech", "not speech")],
)
@pytest.mark.parametrize("count", [1, 6])
def test_nothing_but_bad_files_is_an_error(kind: str, expected: str, count: int, sound: Path, tmp_path: Path) -> None:
    for index in range(count):
        FAULTS[kind](tmp_path / f"{index}.wav")
    report = check_clips(clips(tmp_path), clips(sound / "noise"))
    assert ("speech", expected) in {(one.role, one.kind) for one in report.errors}
    assert report.findings[0].severity == "error"
    assert not report.findings[0].name


def test_noise_given_as_clean_speech_is_detected(sound: Path) -> None:
    report = check_clips(clips(sound / "noise"), clips(sound / "speech"))
    (error,) = report.errors
    assert "look like noise, not speech" in error.message


def test_too_little_is_an_error(sound: Path) -> None:
    one = clips(sound / "speech")[:1]
    assert kinds(check_clips(one, clips(sound / "noise")), "error") == {("speech", "little")}
    assert check_clips(one, clips(sound / "noise"), min_seconds=3).errors == ()


def test_worst_findings_come_first(sound: Path, tmp_path: Path) -> None:
    for index, gain in enumerate((6, 30, 12)):
        put(tmp_path / f"{index}.wav", np.clip(gain * talk(3, index), -1, 1))
    report = check_clips(clips(sound / "speech", tmp_path), clips(sound / "noise"))
    assert [one.name for one in report.findings if one.kind == "clipped"] == ["1.wav", "2.wav", "0.wav"]


def test_duplicates_are_found_within_and_across_roles(sound: Path, tmp_path: Path) -> None:
    put(tmp_path / "a" / "again.wav", talk(3, 7))
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.add(sound / "speech" / "2.wav", "x/other.wav")
    report = check_clips(clips(sound / "speech", tmp_path / "a"), clips(sound / "noise", tmp_path / "b.tar"), limit=2)
    found = {one.name: one.message for one in report.findings if one.kind == "duplicate"}
    assert found == {
        "again.wav": "is the same as 7.wav",
        "x/other.wav": "is the same as 2.wav, used as speech",
    }
    assert report.roles["speech"].checked == 2
    assert report.roles["speech"].seconds == pytest.approx(33)


def test_speech_given_as_noise_is_an_error(sound: Path) -> None:
    report = check_clips(clips(sound / "speech"), clips(sound / "speech"))
    assert [one.message for one in report.errors] == ["10 of 10 noise files are also given as clean speech"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_generated_noises_are_not_classified_as_speech(kind: Callable[..., np.ndarray]) -> None:
    logits = [likeness(kind(48_000, np.random.default_rng(seed))).speech_logit for seed in range(12)]
    assert np.mean(np.array(logits) < 0) > 0.6


@pytest.mark.parametrize("length", [16_000, 16_001, 48_000, 500_000])
@pytest.mark.parametrize("gain", [0.0, 1e-4, 1.0])
def test_speech_likeness_at_any_length_and_level(length: int, gain: float) -> None:
    found = likeness((gain * np.resize(talk(3, 0), length)).astype(np.float32))
    assert np.isfinite([found.speech_logit, found.snr_db, found.band_hz]).all()
    if gain == 1:
        assert found.speech_logit > 0
        assert found.snr_db > 25
