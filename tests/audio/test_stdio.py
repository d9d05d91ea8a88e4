"""Pipes give the same output as files, as soon as it is available."""

from __future__ import annotations

import io
import os
import struct
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from conftest import TINY, lively, speechlike

from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.raw import RAW_SAMPLE_FORMATS, RawFormat
from dccrn_cli.audio.stdio import StreamReader, StreamWriter
from dccrn_cli.audio.stream_tail import StreamTail
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.engine.enhancer import Enhancer
from dccrn_cli.errors import AudioError, OptionError, UnreadableAudio

SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]


class OneWay(io.RawIOBase):
    """A pipe that is read in pieces of odd sizes, or written."""

    def __init__(self, data: bytes = b"") -> None:
        self._source = io.BytesIO(data)
        self.data = b""
        self._turn = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        self._turn += 1
        piece = self._source.read(min(len(buffer), 1 + 997 * self._turn % 4001))
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += bytes(data)
        return len(data)


def read(data: bytes, raw: RawFormat | None = None, frames: int = 700) -> tuple[StreamReader, np.ndarray]:
    with StreamReader(OneWay(data), raw) as reader:  # type: ignore[arg-type]
        blocks = list(reader.blocks(frames))
    assert all(0 < len(block) <= frames and block.dtype == np.float32 for block in blocks)
    joined = np.concatenate([np.zeros((0, reader.info.channels), np.float32), *blocks])
    assert reader.frames_read == len(joined)
    return reader, joined


def write(x: np.ndarray, info: AudioInfo, raw: RawFormat | None = None, stream: BinaryIO | None = None) -> bytes:
    pipe = stream or OneWay()
    with StreamWriter(pipe, info, raw) as writer:  # type: ignore[arg-type]
        for start in range(0, len(x), 777):
            writer.write(x[start : start + 777])
    return pipe.data if isinstance(pipe, OneWay) else b""


def wild(frames: int, channels: int) -> np.ndarray:
    """Noise partly beyond full scale, with exact extremes."""
    x = np.random.default_rng(5).standard_normal((frames, channels)).astype(np.float32) * 0.6
    x[:6, 0] = [1, -1, 0, 1 - 2**-24, -1 + 2**-24, 2**-16]
    return x


def wav(subtype: str = "PCM_16", frames: int = 5001, channels: int = 1, container: str = "WAV", **more: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, wild(frames, channels).clip(-1, 1), 16_000, subtype, format=container, **more)
    return data.getvalue()


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize(
    ("container", "endian"), [("WAV", "FILE"), ("WAV", "BIG"), ("WAVEX", "FILE"), ("RF64", "FILE")]
)
def test_streamed_reading_equals_file_reading(container: str, endian: str, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(subtype, channels=3, container=container, endian=endian))
    reader, got = read(path.read_bytes())
    with AudioReader(path) as file:
        np.testing.assert_array_equal(got, np.concatenate(list(file.blocks(1000))))
        assert reader.info == file.info
    assert reader.note == ""


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("known", [True, False])
def test_streamed_writing_equals_file_writing(
    known: bool, channels: int, container: str, subtype: str, tmp_path: Path
) -> None:
    x = wild(5001, channels)
    info = AudioInfo(16_000, channels, len(x) if known else 0, container, subtype, "FILE")
    with AudioWriter(tmp_path / "file.wav", info) as writer:
        writer.write(x)
    data = write(x, info)
    (tmp_path / "pipe.wav").write_bytes(data)
    expected, got = (soundfile.read(tmp_path / name, dtype="float64") for name in ("file.wav", "pipe.wav"))
    np.testing.assert_array_equal(got[0], expected[0])
    with AudioReader(tmp_path / "pipe.wav") as file:
        assert file.note == ""
        assert file.info.format == ("WAVEX" if channels > 2 else container)
    assert read(data)[0].info.frames == info.frames
    if known:
        assert struct.unpack_from("<I", data, 4)[0] + 8 == len(data)
        assert len(data) % 2 == 0


@pytest.mark.parametrize("sample_format", RAW_SAMPLE_FORMATS)
def test_raw_samples(sample_format: str, tmp_path: Path) -> None:
    raw = RawFormat(sample_format, 44_100, 2)
    x = wild(3000, 2)
    data = write(x, AudioInfo(44_100, 2, 0, "FLAC", "PCM_16", "FILE"), raw)
    reader, got = read(data + b"\1", raw)
    assert "incomplete" in reader.note
    with AudioWriter(tmp_path / "a.raw", raw.info) as writer:
        writer.write(x)
    assert data == (tmp_path / "a.raw").read_bytes()
    limit = np.inf if sample_format.startswith("f") else 1.0
    np.testing.assert_allclose(got, x.clip(-limit, limit), atol=0.02)


def test_raw_samples_have_known_values() -> None:
    for sample_format, data in [("s16le", "0040"), ("s16be", "4000"), ("s24be", "400000"), ("f32be", "3f000000")]:
        np.testing.assert_array_equal(read(bytes.fromhex(data), RawFormat(sample_format, 8000, 1))[1], [[0.5]])


@pytest.mark.parametrize("arguments", [("s17le", 8000, 1), ("u8le", 8000, 1), ("s16le", 0, 1), ("s16le", 8000, 0)])
def test_invalid_raw_formats(arguments: tuple[str, int, int]) -> None:
    with pytest.raises(OptionError):
        RawFormat(*arguments)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFF0000, 0x80000000, 0xFFFFFFFF - 36])
def test_declared_sizes_that_mean_until_the_end(size: int) -> None:
    data = wav()
    reader, got = read(data[:40] + struct.pack("<I", size) + data[44:])
    note = "the header declares 0 bytes of samples; all 10,002 that follow are read" if size == 0 else ""
    assert (len(got), reader.info.frames, reader.note) == (5001, 0, note)


def test_chunks_before_and_after_the_samples() -> None:
    data = wav()
    before = b"JUNK" + struct.pack("<I", 100_001) + bytes(100_002) + b"LIST" + struct.pack("<I", 3) + b"data"
    reader, got = read(data[:36] + before + data[36:] + b"LIST" + struct.pack("<I", 4) + b"abcd")
    np.testing.assert_array_equal(got, read(data)[1])
    assert reader.info.frames == 5001


def test_truncated_recording() -> None:
    data = wav()
    reader, got = read(data[: 44 + 5001])
    assert reader.note == "the recording is cut off: 50% of the data is present"
    assert len(got) == 2500


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"RIF", "--raw"),
        (b"fLaC" + bytes(99), "--raw"),
        (wav()[:30], "ends within the header"),
        (wav()[:12] + wav()[36:], "before their format"),
        (wav("IMA_ADPCM"), "format 0x11"),
        (wav()[:22] + bytes(2) + wav()[24:], "cannot be read"),
        (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0\1\0data" + bytes(9), "damaged"),
    ],
)
def test_unreadable_input(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableAudio, match=f"standard input: .*{reason}"):
        StreamReader(OneWay(data))  # type: ignore[arg-type]
    if not data:
        with pytest.raises(UnreadableAudio, match="empty"):
            StreamReader(OneWay(data), RawFormat("u8", 8000, 1))  # type: ignore[arg-type]


def test_available_samples_are_delivered_immediately() -> None:
    source, sink = os.pipe()
    with open(source, "rb") as stream, open(sink, "wb", buffering=0) as feed:
        os.set_blocking(source, False)
        feed.write(wav()[:44] + bytes(2 * 160 + 1))
        reader = StreamReader(stream)
        blocks = reader.blocks(16_000)
        assert len(next(blocks)) == 160
        feed.write(bytes(1))
        assert len(next(blocks)) == 1
        later = threading.Timer(0.05, feed.write, [bytes(8)])
        later.start()
        assert len(next(blocks)) == 4
        later.join()
        feed.close()
        assert list(blocks) == []
    assert "cut off" in reader.note


def test_header_sizes_are_set_at_the_end(tmp_path: Path) -> None:
    x = wild(5001, 1)
    info = AudioInfo(16_000, 1, 0, "WAV", "PCM_U8", "FILE")
    with open(tmp_path / "a", "wb") as stream:
        stream.write(b"before")
        write(x, info, stream=stream)
        stream.write(b"after")
    data = (tmp_path / "a").read_bytes()
    assert (data[:6], data[-5:]) == (b"before", b"after")
    assert data[6:-5] == write(x, AudioInfo(16_000, 1, 5001, "WAV", "PCM_U8", "FILE"))
    with open(tmp_path / "b", "ab") as stream:
        write(x, info, stream=stream)
    assert (tmp_path / "b").read_bytes() == write(x, info)
    with open(tmp_path / "c", "wb") as stream:
        write(x[:0], info, stream=stream)
    assert soundfile.info(tmp_path / "c").frames == 0


def test_each_block_is_sent_immediately() -> None:
    pipe = OneWay()
    info = AudioInfo(16_000, 1, 0, "MP3", "MPEG_LAYER_III", "FILE")
    buffered = io.BufferedWriter(pipe)  # type: ignore[type-var]
    writer = StreamWriter(buffered, info)
    assert pipe.data[:4] == b"RIFF"
    assert writer.info.subtype == "PCM_16"
    header = len(pipe.data)
    writer.write(np.array([[2.0], [-1.5], [0.5]], np.float32))
    assert len(pipe.data) == header + 6
    assert writer.clipped == 2
    with pytest.raises(AudioError, match="NaN or infinite"):
        writer.write(np.full((1, 1), np.nan, np.float32))
    with pytest.raises(OptionError, match="channels"):
        StreamWriter(pipe, info, RawFormat("u8", 16_000, 2))  # type: ignore[arg-type]


def test_unwritable_output() -> None:
    info = AudioInfo(16_000, 1, 0, "WAV", "PCM_16", "FILE")
    source, sink = os.pipe()
    with open(sink, "wb", buffering=0) as stream:
        writer = StreamWriter(stream, info)
        os.close(source)
        with pytest.raises(BrokenPipeError):
            writer.write(np.zeros((9, 1), np.float32))
    closed = io.BytesIO()
    writer = StreamWriter(closed, info)
    closed.close()
    with pytest.raises(AudioError, match="standard output: cannot be written"):
        writer.write(np.zeros((9, 1), np.float32))


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100, 48_000])
def test_output_starts_early(rate: int) -> None:
    enhancer = Enhancer(lively(TINY), rate)
    raw = RawFormat("s16le", rate, 1)
    data = write(speechlike(rate // 2, rate), AudioInfo(rate, 1, 0, "WAV", "PCM_16", "FILE"), raw)
    reader = StreamReader(io.BytesIO(data), raw)
    pipe = OneWay()
    writer = StreamWriter(pipe, reader.info, raw)  # type: ignore[arg-type]
    for block in reader.blocks(rate // 100):
        writer.write(enhancer.process(block))
        if pipe.data:
            break
    assert reader.frames_read < 0.3 * rate
    assert enhancer.latency < 0.3 * rate


@pytest.mark.parametrize(("name", "is_lost"), [(b"LIST", True), (b"bext", True), (b"JUNK", False)])
def test_chunks_after_the_samples_are_named(name: bytes, is_lost: bool) -> None:
    samples = np.zeros((101, 1), np.uint8).tobytes()  # an odd number of bytes, so padding follows
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 16_000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples + b"\0"
    behind = name + struct.pack("<I", 8) + bytes(8)
    reader = StreamReader(io.BytesIO(b"RIFF" + struct.pack("<I", len(body + behind)) + body + behind))
    assert sum(len(block) for block in reader.blocks(1000)) == 101
    expected = f"chunk {name.decode()} after the samples is not kept, nor any that follows it"
    assert reader.note == (expected if is_lost else "")


LIST = b"LIST" + struct.pack("<I", 18) + b"INFOINAM" + struct.pack("<I", 6) + b"hello\0"
BEXT = b"bext" + struct.pack("<I", 603) + bytes(604)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_chunks_after_samples_of_undeclared_length(channels: int, subtype: str, size: int) -> None:
    data = wav(subtype, 5000 + channels, channels)
    at = data.index(b"data") + 4
    frame_bytes = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "FLOAT": 4}[subtype] * channels
    samples = frame_bytes * (5000 + channels)
    data = data[:at] + struct.pack("<I", size) + data[at + 4 : at + 4 + samples] + bytes(samples % 2)
    count = 5000 + channels + (samples % 2 if subtype == "PCM_U8" else 0)  # padding may be a sample there
    for behind, name in [(LIST, "LIST"), (BEXT + LIST, "bext"), (BEXT[:-1], "bext"), (LIST * 40, "LIST")]:
        reader, got = read(data + behind)
        assert len(got) == count
        np.testing.assert_array_equal(got, read(data)[1][:count])
        assert reader.note.endswith(f"chunk {name} after the samples is not kept, nor any that follows it")
    for behind in (LIST[:-2], LIST + bytes(8), b"ABCD" + LIST[4:], LIST[:4], LIST[:7], LIST + LIST[:9]):
        reader, got = read(data + behind)
        assert len(got) == (len(data + behind) - at - 4) // frame_bytes
        assert "not kept" not in reader.note


def test_samples_that_resemble_chunks_are_passed_on(rng: np.random.Generator) -> None:
    names = [b"LIST\x08\0\0\0", b"bext\x20\0\0\0", b"id3 \0\0\0\x7f", b"LIST", b"LI", b"fact\4\0\0\0", rng.bytes(30)]
    for _ in range(200):
        data = b"".join(names[number] for number in rng.integers(0, len(names), 30)) + b"\1" * 100
        tail, got, at = StreamTail("<", int(rng.integers(1, 7))), b"", 0
        while at < len(data):
            count = int(rng.integers(1, 40))
            got += tail.process(data[at : at + count])
            at += count
        assert got + tail.flush() == data
        assert tail.name == b""
