"""Files that declare no length and end within a frame are said to be cut off; whole ones are not."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from conftest import speechlike
from encoded import encoded, without_header

from dccrn_cli.audio.container_size import find_container_end
from dccrn_cli.audio.frame_chain import INCOMPLETE_FRAME, find_chain_end
from dccrn_cli.audio.reader import open_sound

pytest.importorskip("av")
from films import film

CODECS = {
    "a.aac": "aac", "a.ac3": "ac3", "a.eac3": "eac3", "a.mp2": "mp2", "a.ts": "aac", "a.mts": "ac3", "a.m2ts": "mp2",
    "a.mpg": "mp2",
}  # fmt: skip
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0x8000_0000) + bytes(8)
ID3_1 = b"TAG" + b"x" * 125


def note_of(path: Path) -> str:
    with open_sound(path) as reader:
        assert sum(map(len, reader.blocks(5000))) > 40_000
        return reader.note


@pytest.mark.parametrize("name", [*CODECS, "a.mp3"])
def test_only_incomplete_last_frames_are_noted(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.mp3":
        path.write_bytes(without_header(encoded("MP3", frames=144_000, rate=48_000)))
    else:
        film(path, speechlike(144_000, 48_000), 48_000, CODECS[name])
    data = path.read_bytes()
    assert note_of(path) == ""
    for behind in (ID3_1, APE, APE + ID3_1, bytes(3), b"\n"):
        assert not find_chain_end(io.BytesIO(data + behind), len(data + behind)).is_cut
    for end in (len(data) // 2 + 5, len(data) * 4 // 5 + 3, len(data) - 1):
        path.write_bytes(data[:end])
        assert note_of(path) == INCOMPLETE_FRAME


@pytest.mark.parametrize("behind", [ID3_1, APE + ID3_1, bytes(5000), b"\n", b"some text" * 500])
@pytest.mark.parametrize("name", ["a.aac", "a.ac3", "a.eac3", "a.mp2", "a.ts"])
def test_what_follows_the_last_frame_is_not_decoded(name: str, behind: bytes, tmp_path: Path) -> None:
    path = film(tmp_path / name, speechlike(144_000, 48_000), 48_000, CODECS[name])
    with open_sound(path) as reader:
        frames = sum(map(len, reader.blocks(5000)))
    path.write_bytes(path.read_bytes() + behind)
    with open_sound(path) as reader:
        assert sum(map(len, reader.blocks(5000))) == frames
        expected = "4,500 bytes after the declared end of the audio are not read" if len(behind) == 4500 else ""
        assert reader.note == expected


@pytest.mark.parametrize("name", ["a.aac", "a.ac3", "a.mp2", "a.ts"])
def test_frames_behind_damage_are_not_left_out(name: str, tmp_path: Path) -> None:
    data = film(tmp_path / name, speechlike(144_000, 48_000), 48_000, CODECS[name]).read_bytes()
    for at in (len(data) // 2, len(data) - 4000):
        spoiled = data[:at] + bytes(700) + data[at + 700 :]
        assert find_chain_end(io.BytesIO(spoiled), len(spoiled)).stop == len(spoiled)


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "200000"}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mka", "flac", {}), ("a.mkv", "aac", {}), ("a.webm", "libopus", {}), ("a.wma", "wmav2", {}),
        ("a.wv", "wavpack", {}), ("a.tta", "tta", {}), ("a.m4a", "aac", {"movflags": "faststart"}),
        ("a.mp4", "aac", FRAGMENTS),
    ],
)  # fmt: skip
def test_truncated_media_are_read_up_to_the_cut(name: str, codec: str, options: dict[str, str], tmp_path: Path) -> None:
    path = film(tmp_path / name, speechlike(240_000, 48_000), 48_000, codec, options=options)
    data = path.read_bytes()
    assert note_of(path) == ""
    for share in (0.5, 0.62, 0.8):
        path.write_bytes(data[: int(share * len(data))])
        with open_sound(path) as reader:
            got = sum(map(len, reader.blocks(5000)))
        assert got == pytest.approx(share * 240_000, abs=52_000 if name == "a.tta" else 26_000)
        assert reader.note.startswith("the recording is cut off: ")


def test_truncated_matroska_of_unknown_size(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mka", speechlike(240_000, 48_000), 48_000, "flac")
    data = path.read_bytes()
    at = data.index(b"\x18\x53\x80\x67") + 4
    assert data[at] == 1
    data = data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 :]
    assert find_container_end(io.BytesIO(data), len(data)).note == ""
    for end in range(len(data) // 3, len(data), 3001):
        assert find_container_end(io.BytesIO(data[:end]), end).note == "the recording is cut off: its end is missing"


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "AIFF", "CAF"])
def test_other_files_are_no_chains_of_frames(container: str) -> None:
    data = encoded(container)
    for end in range(len(data) // 2, len(data), 997):
        assert not find_chain_end(io.BytesIO(data[:end]), end).is_cut
