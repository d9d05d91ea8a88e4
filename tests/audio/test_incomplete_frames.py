"""Files that declare no length and end within a frame are said to be cut off; whole ones are not."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from conftest import speechlike
from encoded import encoded, without_header

from dccrn_cli.audio.frame_chain import INCOMPLETE_FRAME, ends_within_frame
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
        assert not ends_within_frame(io.BytesIO(data + behind), len(data + behind))
    for end in (len(data) // 2 + 5, len(data) * 4 // 5 + 3, len(data) - 1):
        path.write_bytes(data[:end])
        assert note_of(path) == INCOMPLETE_FRAME


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "AIFF", "CAF"])
def test_other_files_are_no_chains_of_frames(container: str) -> None:
    data = encoded(container)
    for end in range(len(data) // 2, len(data), 997):
        assert not ends_within_frame(io.BytesIO(data[:end]), end)
