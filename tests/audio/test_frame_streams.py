"""Streams of frames or pages (MP3, Ogg, FLAC): without a length, concatenated, with something between or behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoded import FORMAT, FRAMES, RATE, chunk, encoded, pcm, read, riff, vbr, without_header

from dccrn_cli.audio.files import AudioReader


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 32_000, 44_100, 48_000])
def test_vbr_mp3_without_a_length(rate: int, channels: int, tmp_path: Path) -> None:
    data = vbr(10 * rate, rate, channels)
    (tmp_path / "a.mp3").write_bytes(data)
    whole, expected = read(tmp_path / "a.mp3")
    assert (len(expected), whole.note) == (10 * rate, "")
    (tmp_path / "b.mp3").write_bytes(without_header(data))
    reader, got = read(tmp_path / "b.mp3")
    assert reader.note == ""
    size = 1152 if rate >= 32_000 else 576
    assert len(got) % size == 0
    assert 0 < len(got) - len(expected) < 4 * size
    delay = 1105  # encoder and decoder delay, given in the header
    np.testing.assert_allclose(got[delay : delay + len(expected)][size:], expected[size:], atol=1e-3)


@pytest.mark.parametrize("container", ["OGG", "OPUS", "MP3", "FLAC"])
def test_concatenated_files(container: str, tmp_path: Path) -> None:
    one = encoded(*(("OGG", "OPUS") if container == "OPUS" else (container, None)))
    (tmp_path / "a").write_bytes(one)
    _, single = read(tmp_path / "a")
    (tmp_path / "b").write_bytes(3 * one)
    with AudioReader(tmp_path / "b") as reader:
        got = np.concatenate(list(reader.blocks(7001)))
    np.testing.assert_allclose(got, np.concatenate([single] * 3), atol=1e-3)
    assert reader.note == "3 recordings concatenated in one file; all are read"
    if container != "FLAC":
        assert reader.info.frames == len(got)


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("FLAC", None)])
def test_concatenated_files_at_different_rates(container: str, subtype: str | None, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encoded(container, subtype) + encoded(container, subtype, 3 * FRAMES, 48_000))
    with AudioReader(tmp_path / "a") as reader:
        frames = sum(map(len, reader.blocks(7001)))
        assert reader.info.sample_rate == RATE
    assert frames == pytest.approx(2 * FRAMES, abs=2)
    assert "resampled" in reader.note


def test_junk_and_tags_between_mp3_frames(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = vbr(10 * RATE, RATE)
    (tmp_path / "a.mp3").write_bytes(data)
    _, expected = read(tmp_path / "a.mp3")
    (tmp_path / "b.mp3").write_bytes(b"ID3\4\0\0\0\0\0\x64" + bytes(100) + bytes(700) + data + b"TAG" + bytes(125))
    _, got = read(tmp_path / "b.mp3")
    np.testing.assert_array_equal(got, expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "behind", [riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm())), bytes(9000), b"TAG" + bytes(125)]
)
def test_what_follows_the_frames_of_an_mp3(behind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded("MP3") + behind)
    with AudioReader(path) as reader:
        for _ in reader.blocks(10_000):
            pass
    assert ("are not read" in reader.note) == behind.startswith(b"RIFF")
