"""Encoded sound, and how all of it is read."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speechlike

from dccrn_cli.audio import mpeg
from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.reader import probe

RATE, FRAMES = 16_000, 40_000
FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
LIST = b"LIST" + struct.pack("<I", 18) + b"INFOINAM" + struct.pack("<I", 6) + b"hello\0"


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body


def riff(*chunks: bytes, size: int = 0, kind: bytes = b"RIFF") -> bytes:
    return kind + struct.pack("<I", size) + b"WAVE" + b"".join(chunks)


def pcm(frames: int = FRAMES) -> bytes:
    return (speechlike(frames)[:, 0] * 32_767).astype("<i2").tobytes()


def encoded(container: str, subtype: str | None = None, frames: int = FRAMES, rate: int = RATE, **more: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, speechlike(frames, rate), rate, subtype, format=container, **more)
    return data.getvalue()


def read(path: Path) -> tuple[AudioReader, np.ndarray]:
    """The audio, with a length known in advance."""
    with AudioReader(path) as reader:
        frames = reader.info.frames
        blocks = [np.zeros((0, reader.info.channels), np.float32), *reader.blocks(7001)]
    got = np.concatenate(blocks)
    assert reader.frames_read == len(got)
    assert frames == len(got)
    assert probe([path])[0].seconds == pytest.approx(len(got) / reader.info.sample_rate)
    return reader, got


def vbr(frames: int, rate: int, channels: int = 1) -> bytes:
    data = io.BytesIO()
    x = speechlike(frames, rate, channels) * np.linspace(0, 1, frames, dtype=np.float32)[:, None] ** 4
    with soundfile.SoundFile(data, "w", rate, channels, format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(x)
    return data.getvalue()


def without_header(data: bytes) -> bytes:
    start = next(mpeg._frames(io.BytesIO(data), len(data)))[0]
    frame = mpeg.parse_frame(data[start : start + 4])
    assert frame is not None
    return data[start + frame.size :]
