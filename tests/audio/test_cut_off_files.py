"""Recordings that are cut off or damaged are read as far as possible, with one note."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from encoded import FRAMES, RATE, encoded, read, vbr

from dccrn_cli.audio import mpeg
from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.media import MediaReader
from dccrn_cli.audio.native_stderr import decoder_messages
from dccrn_cli.errors import UnreadableAudio


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "W64", "RF64", "CAF", "MP3", "OGG", "OPUS", "FLAC"])
def test_truncated_files(container: str, tmp_path: Path) -> None:
    data = encoded(
        "OGG" if container == "OPUS" else container, "OPUS" if container == "OPUS" else None, frames=10 * FRAMES
    )
    (tmp_path / "a").write_bytes(data[: len(data) // 2])
    reader, got = read(tmp_path / "a")
    assert 3 * FRAMES < len(got) < 7 * FRAMES
    assert reader.note.startswith("the recording is cut off")


def test_file_shrinking_while_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded("WAV", frames=10 * FRAMES))
    with AudioReader(path) as reader:
        blocks = reader.blocks(FRAMES)
        next(blocks)
        os.truncate(path, 44 + 6 * FRAMES)
        got = FRAMES + sum(map(len, blocks))
    assert got == 3 * FRAMES
    assert reader.note == "the recording is cut off: 30% of the data is present"


def test_truncated_video_without_an_index(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.avi"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start in range(0, 10 * RATE, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = RATE, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    data = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(data[: len(data) // 2])
    with MediaReader(tmp_path / "a.avi") as reader:
        list(reader.blocks(7001))
    assert reader.note.startswith("the recording is cut off")


def test_half_of_an_ogg_that_ffmpeg_reads(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.ogg"
    data = encoded("OGG", "OPUS")
    for count, is_cut in [(len(data), False), (len(data) // 2, True)]:
        path.write_bytes(data[:count])
        with MediaReader(path) as reader:
            assert sum(len(block) for block in reader.blocks(10_000))
        assert ("the end of the Ogg stream is missing" in reader.note) == is_cut


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_damaged_sample_dump_prints_nothing(subtype: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.sds"
    data = bytearray(encoded("SDS", subtype))
    data[21 + 127 * 3] = 0x12
    data[21 + 127 * 5 + 1] = 0x34
    data[21 + 127 * 7 + 60] ^= 0x10
    path.write_bytes(data)
    code = "import sys; from dccrn_cli.audio.files import AudioReader; list(AudioReader(sys.argv[1]).blocks(999))"
    subprocess.run([sys.executable, "-c", code, path], check=True)  # its output is complete only at the end
    assert capfd.readouterr() == ("", "")
    with AudioReader(path) as reader:
        assert sum(len(block) for block in reader.blocks(999)) >= FRAMES
    assert reader.note == "damaged in 3 places, with audible errors"


def test_decoders_do_not_write_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(vbr(10 * RATE, RATE))
    for start, frame, _ in list(mpeg._frames(io.BytesIO(data), len(data)))[20::9]:
        data[start + 4 : start + frame.size] = np.random.default_rng(start).bytes(frame.size - 4)
    (tmp_path / "a.mp3").write_bytes(data)
    (tmp_path / "b.mp3").write_bytes(data[: len(data) // 2])
    reader, _ = read(tmp_path / "a.mp3")
    assert "damaged in" in reader.note
    read(tmp_path / "b.mp3")
    assert capfd.readouterr() == ("", "")
    counted: list[int] = []
    with decoder_messages(counted):
        os.write(2, b"Note: a.wav: 3 frames\n[src/libmpg123/layer3.c:f():1] error: x\nWarning: Xing\nother")
    assert counted == [1]
    assert capfd.readouterr().err == "Note: a.wav: 3 frames\nother"


def test_ffmpeg_is_silent_about_unseekable_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    data = bytearray(encoded("CAF", "ALAC_16"))
    data[12 + 44 : 12 + 52] = ((1 << 64) - 5000).to_bytes(8, "big")
    for name in ("a.mkv", "a.mov", "a.wv"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadableAudio):
            MediaReader(tmp_path / name).close()
    assert capfd.readouterr().err == ""
