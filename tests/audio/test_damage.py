"""Damage in the middle of a file is reported even where decoders pass over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import speechlike
from encoded import encoded

from dccrn_cli.audio.reader import open_sound
from dccrn_cli.errors import UnreadableAudio


def note_of(path: Path) -> str:
    with open_sound(path) as reader:
        assert sum(map(len, reader.blocks(5000)))
        return reader.note


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


def missing(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + data[at + len(data) // 6 :]


@pytest.mark.parametrize("spoil", [flipped, missing])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_damaged_ogg(subtype: str, spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path, data = tmp_path / "a.ogg", encoded("OGG", subtype, frames=400_000)
    for whole in (data, data + b"TAG" + bytes(125), data + b"junk" + data):
        path.write_bytes(whole)
        assert "damaged" not in note_of(path)
    path.write_bytes(spoil(data))
    assert note_of(path) == "damaged in 1 place, with audible errors"
    path.write_bytes(spoil(data)[:-2000])
    assert note_of(path).startswith("damaged in 1 place, with audible errors; the recording is cut off")


def test_damaged_flac_in_ogg(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from films import film

    path = film(tmp_path / "a.oga", speechlike(400_000, 48_000), 48_000, "flac")
    assert note_of(path) == ""
    path.write_bytes(flipped(path.read_bytes()))
    assert note_of(path) == "damaged in 1 place, with audible errors"


@pytest.mark.parametrize(("name", "codec"), [("a.wv", "wavpack"), ("a.tta", "tta")])
def test_checksums_of_lossless_codecs_are_checked(name: str, codec: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from films import film

    path = film(tmp_path / name, speechlike(400_000, 48_000), 48_000, codec)
    assert note_of(path) == ""
    path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(UnreadableAudio, match="damaged at"):
        note_of(path)


def test_matroska_both_damaged_and_cut_off(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from films import film

    path = film(tmp_path / "a.mkv", speechlike(480_000, 48_000), 48_000, "aac", "mpeg4")
    data = path.read_bytes()
    cut = data[: len(data) * 9 // 10]
    path.write_bytes(cut)
    assert note_of(path).startswith("the recording is cut off")
    at = len(data) // 2
    path.write_bytes(cut[:at] + bytes(20_000) + cut[at + 20_000 :])
    with pytest.raises(UnreadableAudio, match="damaged at"):
        note_of(path)


def test_matroska_with_audio_missing_in_between(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from films import film

    path = film(tmp_path / "a.mkv", speechlike(96_000, 48_000), 48_000, "flac", "mpeg4", gap_s=0.5)
    assert note_of(path) == "0.50 s missing in between are filled with silence"
