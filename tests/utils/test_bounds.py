"""What a file claims is bounded; failures are remembered; nobody's home is needed."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile
from conftest import speechlike, voice

from dccrn_cli.audio.decode import read_sound
from dccrn_cli.audio.stdio import StreamReader
from dccrn_cli.audio.wav import wav_header
from dccrn_cli.data import clips
from dccrn_cli.data.clips import Clip, find_clips
from dccrn_cli.engine.files.plan import PlanOptions, make_plan
from dccrn_cli.errors import DataError, OptionError
from dccrn_cli.scoring.cache import default_folder


def tar_header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, pax: dict[str, str] | None = None) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.pax_headers = kind, size, pax or {}
    return entry.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


LONG_NAME = tar_header("x", tarfile.GNUTYPE_LONGNAME, 4) + b"abc".ljust(512, b"\0")


@pytest.mark.parametrize(
    "start",
    [
        tar_header("x", tarfile.GNUTYPE_LONGNAME, 1 << 50),
        tar_header("x", tarfile.XHDTYPE, 1 << 50),
        tar_header("a.wav", pax={"GNU.sparse.map": "0,1,a", "GNU.sparse.size": "9"}),
        3000 * LONG_NAME,
    ],
    ids=["long name", "extended header", "sparse map", "nested"],
)
def test_archives_with_hostile_headers(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(start + tar_header("b.wav") + bytes(1024))
    with pytest.raises(DataError, match="cannot be read as an archive"):
        find_clips([tmp_path / "a.tar"])


def test_tar_entry_declaring_a_terabyte(tmp_path: Path) -> None:
    sound = io.BytesIO()
    soundfile.write(sound, voice(1, 0), 16_000, format="WAV")
    entry = tarfile.TarInfo("long.wav")
    entry.size = 1 << 40
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + sound.getvalue())
    clip = Clip("long.wav", tmp_path / "a.tar", 512, 1 << 40)
    with pytest.raises(
        DataError, match=r"long\.wav: cannot be read as audio \(its 1,099,511,627,776 bytes extend past"
    ):
        clip.read()
    with open(tmp_path / "sparse.wav", "wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(DataError, match=r"sparse\.wav: is larger than 2 GiB"):
        Clip("sparse.wav", tmp_path / "sparse.wav").read()


def test_too_long_clip_is_rejected_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "long.flac", np.zeros(8000 * 3600 * 6, np.int16), 8000)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"long\.flac: is longer than 2 h; split it"):
        find_clips([tmp_path])[0].read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 600 << 10
    monkeypatch.setattr(clips, "_BLOCK", 1000)  # any blocks give the same samples
    soundfile.write(tmp_path / "a.wav", speechlike(44_100, 44_100, 2), 44_100)
    in_blocks = Clip("a.wav", tmp_path / "a.wav").read()
    monkeypatch.setattr(clips, "_BLOCK", 1 << 20)
    np.testing.assert_array_equal(in_blocks, Clip("a.wav", tmp_path / "a.wav").read())


def with_rate(path: Path, rate: int) -> None:
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("rate", [1, 768_000])
def test_scores_of_files_with_odd_rates(rate: int, tmp_path: Path) -> None:
    for role in ("clean", "out"):
        (tmp_path / role).mkdir()
        soundfile.write(tmp_path / role / "a.wav", voice(60, 0), 16_000)
    with_rate(tmp_path / "clean" / "a.wav", rate)
    script = (
        "import re, sys; from pathlib import Path;"
        "from dccrn_cli import score_folders; r = score_folders(*sys.argv[1:]);"
        "print(r[0]['note'] if isinstance(r, list) else r.records[0]['note']);"
        # ru_maxrss would count the memory of the process that started this one.
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) >> 10)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "clean"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    note, mib = done.stdout.strip().rsplit("\n", 1)
    assert ("not supported" in note) if rate == 1 else ("longer than the reference" in note)
    assert int(mib) < 1200


def test_no_cache_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert default_folder() is None


def test_failures_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dccrn_cli import score_folders

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for role in ("clean", "out"):
        (tmp_path / role).mkdir()
        soundfile.write(tmp_path / role / "a.wav", voice(2, 0), 16_000)
    (tmp_path / "out" / "a.wav").write_bytes(b"RIFF")
    calls = []

    def counting(path: Path) -> object:
        calls.append(path)
        return read_sound(path)

    monkeypatch.setattr("dccrn_cli.scoring.sound_cache.read_sound", counting)
    notes = []
    for _ in range(2):
        scores = score_folders(tmp_path / "clean", tmp_path / "out")
        notes.append(json.dumps(getattr(scores, "records", scores), default=str))
    assert notes[0] == notes[1]
    assert len(calls) == 2  # both files, in the first run


def test_names_that_distinguish_recordings(tmp_path: Path) -> None:
    for name in ("talk.m4a", "talk.mp4", "b.wav"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(OptionError, match=r"would be written here; use --name '\{stem\}\.\{oldext\}\{ext\}' for"):
        make_plan([str(tmp_path)], tmp_path / "out")
    plan = make_plan([str(tmp_path)], tmp_path / "out", PlanOptions(name="{stem}.{oldext}{ext}"))
    assert {job.target.name for job in plan.jobs} == {"talk.m4a.flac", "talk.mp4.flac", "b.wav.wav"}


def test_folders_are_also_searched_by_content(tmp_path: Path) -> None:
    for name, container in (("a", "WAV"), ("b.dat", "FLAC"), ("c.bin", "OGG"), ("d.tmp", "AIFF"), ("e.x", "CAF")):
        soundfile.write(tmp_path / name, speechlike(800), 16_000, format=container)
    (tmp_path / "f.webp").write_bytes(b"RIFF\0\0\0\0WEBP")
    (tmp_path / "g.txt").write_text("RIFF and WAVE")
    (tmp_path / ".hidden").write_bytes((tmp_path / "a").read_bytes())
    os.mkfifo(tmp_path / "fifo")
    plan = make_plan([str(tmp_path)], tmp_path / "out")
    assert sorted(job.source.name for job in plan.jobs) == ["a", "b.dat", "c.bin", "d.tmp", "e.x"]


def test_pipe_header_without_samples_is_reported() -> None:
    info = StreamReader(io.BytesIO(wav_header_of(0) + bytes(3200)))
    assert sum(map(len, info.blocks(1000))) == 1600
    assert info.note == "the header declares 0 bytes of samples; all 3,200 that follow are read"


def wav_header_of(size: int) -> bytes:
    from dccrn_cli.audio.formats import AudioInfo

    return wav_header(AudioInfo(16_000, 1, 0, "WAV", "PCM_16", "FILE"), size)


@pytest.mark.skipif(sys.platform != "linux" or joblib.cpu_count() < 2, reason="/proc, and two processes")
def test_workers_end_when_their_parent_is_killed_at_start(tmp_path: Path, tiny_model_file: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(40):
        soundfile.write(tmp_path / "in" / f"{number}.wav", np.tile(speechlike(16_000), (20, 1)), 16_000)
    command = [sys.executable, "-m", "dccrn_cli", "enhance", tmp_path / "in", "-o", tmp_path / "out", "-j", "2"]
    mark = f"DCCRN_TEST_{os.getpid()}"
    process = subprocess.Popen(
        [*map(str, command), "--model", str(tiny_model_file)], env={**os.environ, mark: "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(marked(mark)) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while marked(mark):
        assert time.monotonic() < deadline, "workers live on"
        time.sleep(0.1)


def marked(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and f"{mark}=1".encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found
