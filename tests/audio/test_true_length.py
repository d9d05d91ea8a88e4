"""All audio is read, whatever length a header declares, or the difference is reported."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import speechlike
from encoded import FORMAT, FRAMES, LIST, RATE, chunk, encoded, pcm, read, riff

from dccrn_cli.audio.container_size import find_container_end
from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.stdio import StreamReader
from dccrn_cli.errors import UnreadableAudio


def with_ds64(data_bytes: int) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", 0, data_bytes, 0, 0))


NO_SIZE = {
    "plain": riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 0)),
    "one byte": riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 1)),
    "filler": riff(chunk(b"fmt ", FORMAT), chunk(b"FLLR", bytes(4000)), chunk(b"JUNK", b""), chunk(b"data", pcm(), 0)),
    "list": riff(chunk(b"fmt ", FORMAT), LIST, chunk(b"data", pcm(), 0)),
    "right outside": riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 0), size=36 + 2 * FRAMES),
    "big-endian": b"RIFX\0\0\0\0WAVEfmt \0\0\0\x10" + struct.pack(">HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    + b"data\0\0\0\0" + np.frombuffer(pcm(), "<i2").astype(">i2").tobytes(),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_SIZE)
def test_wav_with_an_open_size(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(NO_SIZE[kind])
    reader, got = read(path)
    np.testing.assert_allclose(got, speechlike(FRAMES), atol=1e-4)
    assert reader.note.startswith("the header declares ")
    assert reader.info.format == "WAV"
    assert reader.tags.get("title", "hello") == "hello"
    piped = StreamReader(io.BytesIO(NO_SIZE[kind]))
    np.testing.assert_array_equal(np.concatenate(list(piped.blocks(7001))), got)
    assert piped.note.startswith("the header declares ")


@pytest.mark.parametrize("data_bytes", [0, 2 * FRAMES])
def test_rf64_from_a_pipe(data_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(
        riff(with_ds64(data_bytes), chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 0xFFFFFFFF), kind=b"RF64")
    )
    reader, got = read(path)
    assert (len(got), reader.info.format) == (FRAMES, "RF64")
    assert reader.note == ""


@pytest.mark.parametrize("kind", [b"RIFF", b"RF64"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 3 * FRAMES])
@pytest.mark.parametrize("after", [LIST, chunk(b"bext", bytes(602)) + chunk(b"iXML", b"<x/>.") + b"\0" + LIST])
def test_chunks_after_samples_of_unknown_length(kind: bytes, size: int, after: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    start = [with_ds64(0)] if kind == b"RF64" else []
    path.write_bytes(riff(*start, chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), size), after, kind=kind))
    _, got = read(path)
    np.testing.assert_allclose(got, speechlike(FRAMES), atol=1e-4)
    with AudioReader(path) as reader:
        assert reader.metadata().blocks[-1] == (b"LIST", LIST[8:])
    if size != 3 * FRAMES:
        with open(path, "rb", buffering=0) as file:
            piped = StreamReader(file)
            np.testing.assert_array_equal(np.concatenate(list(piped.blocks(7001))), got)
            assert "chunk " in piped.note


@pytest.mark.parametrize("after", [LIST[:-2], LIST + b"\1", b"ABCD" + LIST[4:]])
def test_samples_that_resemble_chunks(after: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 0), after))
    assert len(read(path)[1]) == FRAMES + len(after) // 2


@pytest.mark.parametrize("after", [b"", LIST, chunk(b"bext", bytes(602))])
def test_empty_wav(after: bytes, tmp_path: Path) -> None:
    data = riff(chunk(b"fmt ", FORMAT), chunk(b"data", b""), after)
    (tmp_path / "a.wav").write_bytes(data)
    reader, got = read(tmp_path / "a.wav")
    assert (len(got), reader.note) == (0, "")
    piped = StreamReader(io.BytesIO(data))
    assert (list(piped.blocks(999)), piped.note) == ([], "")


def zeroed(container: str) -> bytes:
    """A file whose writer never filled in the sizes."""
    data = bytearray(encoded(container, "PCM_16"))
    if container == "AIFF":
        data[data.index(b"COMM") + 10 :][:4] = bytes(4)
        at = data.index(b"COMM") + 10
        data[at : at + 4] = bytes(4)
        at = data.index(b"SSND") + 4
        data[at : at + 4] = struct.pack(">I", 8)
    elif container == "AU":
        data[8:12] = bytes(4)
    elif container == "W64":
        at = data.index(b"data\xf3") + 16
        data[at : at + 8] = bytes(8)
    elif container == "CAF":
        at = data.index(b"data\0") + 4
        data[at : at + 8] = b"\xff" * 8
    elif container == "RF64":
        data[12 + 16 : 12 + 24] = bytes(8)
    return bytes(data)


@pytest.mark.parametrize("container", ["AIFF", "AU", "W64", "CAF", "RF64"])
def test_other_containers_with_an_open_size(container: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(zeroed(container))
    reader, got = read(tmp_path / "a")
    np.testing.assert_allclose(got, speechlike(FRAMES), atol=1e-4)
    assert reader.info.format == container
    assert ("declares 0 bytes" in reader.note) == (container in ("AIFF", "AU", "W64"))


@pytest.mark.parametrize("size", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_au_with_an_unknown_size(size: int, tmp_path: Path) -> None:
    data = encoded("AU", "PCM_16")
    (tmp_path / "a.au").write_bytes(data[:8] + struct.pack(">I", size) + data[12:])
    reader, got = read(tmp_path / "a.au")
    assert len(got) == FRAMES
    assert bool(reader.note) == (size != 0xFFFFFFFF)


@pytest.mark.parametrize("more", [0, 1 << 32])
def test_wav_above_4_gib(more: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with open(path, "wb") as file:
        file.write(riff(chunk(b"fmt ", FORMAT), chunk(b"data", b"", 2 * FRAMES)))
        file.truncate(44 + 2 * FRAMES + more)
    with AudioReader(path) as reader:
        assert (reader.info.frames, reader.info.format) == (FRAMES + more // 2, "WAV")
        assert len(next(reader.blocks(99))) == 99
        assert bool(reader.note) == bool(more)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "W64", "RF64", "CAF"])
def test_audio_after_the_declared_end(container: str, tmp_path: Path) -> None:
    """Half of it declared; and two files joined."""
    data = encoded(container, "PCM_16")
    (tmp_path / "a").write_bytes(data + data)
    reader, got = read(tmp_path / "a")
    assert len(got) == FRAMES
    assert reader.note.endswith("bytes after the declared end of the audio are not read")
    half = riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), FRAMES))
    (tmp_path / "b").write_bytes(half)
    reader, got = read(tmp_path / "b")
    assert (len(got), reader.note.split()[0]) == (FRAMES // 2, f"{FRAMES:,}")
    piped = StreamReader(io.BytesIO(half))
    assert sum(map(len, piped.blocks(999))) == FRAMES // 2
    assert "is not read" in piped.note


@pytest.mark.parametrize("size", [1 << 63, (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 40])
@pytest.mark.parametrize("container", ["W64", "CAF", "RF64", "AIFF"])
def test_impossible_sizes(container: str, size: int, tmp_path: Path) -> None:
    data = bytearray(encoded(container))
    places = {"W64": [56, 80], "CAF": [12, 56], "RF64": [20, 28], "AIFF": [4, 16]}[container]
    for place in places:
        field = size.to_bytes(8, "big" if container in ("CAF", "AIFF") else "little")
        changed = bytearray(data)
        changed[place : place + 8] = field
        (tmp_path / "a").write_bytes(changed)
        with contextlib.suppress(UnreadableAudio), AudioReader(tmp_path / "a") as reader:
            assert sum(map(len, reader.blocks(5000))) <= FRAMES
            reader.metadata()


@pytest.mark.parametrize(
    ("between", "more"),
    [(b"", chunk(b"data", pcm())), (LIST, riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm()))), (LIST, bytes(5000))],
)
def test_samples_behind_other_chunks(between: bytes, more: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm()), between, more))
    reader, _ = read(path)
    assert reader.note == f"{len(more):,} bytes after the declared end of the audio are not read"


def test_chunks_without_padding_are_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm()), chunk(b"iXML", b"<x/>."), LIST * 20))
    reader, _ = read(path)
    assert reader.note == ""
    with AudioReader(path) as again:
        assert [name for name, _ in again.metadata().blocks] == [b"iXML"] + [b"LIST"] * 20


def test_rf64_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sizes = chunk(b"ds64", struct.pack("<QQQI", 2**64 - 1, 2**64 - 1, 2**64 - 1, 0))
    data = chunk(b"data", pcm(), 0xFFFFFFFF)
    path.write_bytes(riff(sizes, chunk(b"fmt ", FORMAT), data, size=0xFFFFFFFF, kind=b"RF64"))
    reader, got = read(path)
    assert (len(got), reader.note) == (FRAMES, "")


def test_joined_and_shortened_mp4(tmp_path: Path) -> None:
    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + name + body

    whole = box(b"ftyp", bytes(8)) + box(b"moov", bytes(40)) + box(b"mdat", bytes(500))
    for data, note in [
        (whole, ""),
        (whole + whole, f"{len(whole):,} bytes after the declared end of the audio are not read"),
        (whole[:-100], "the recording is cut off: its end is missing"),
    ]:
        assert find_container_end(io.BytesIO(data), len(data)).note == note


def test_mp3_in_wav_is_not_called_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    frames = encoded("MP3")
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 144, 1, 0)
    path.write_bytes(
        riff(chunk(b"fmt ", form), chunk(b"fact", struct.pack("<I", FRAMES + 500)), chunk(b"data", frames))
    )
    with AudioReader(path) as reader:
        read_frames = sum(len(block) for block in reader.blocks(10_000))
    assert read_frames >= FRAMES - 2304
    assert reader.note == ""
