"""Small media files, for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dccrn_cli.audio.media import MediaReader

av: Any = pytest.importorskip("av")

TAGS = {"title": "On Rivers", "artist": "Someone", "track": "3"}
VIDEOS = {
    "a.mp4": ("aac", "libx264"), "a.mov": ("aac", "libx264"), "a.m4v": ("aac", "mpeg4"), "a.3gp": ("aac", "mpeg4"),
    "a.mkv": ("flac", "libx264"), "a.webm": ("libopus", "libvpx"), "a.avi": ("pcm_s16le", "mpeg4"),
    "a.ts": ("aac", "libx264"), "a.mts": ("aac", "libx264"), "a.m2ts": ("aac", "libx264"), "a.flv": ("aac", "libx264"),
    "a.mpg": ("mp2", "mpeg2video"), "a.mpeg": ("mp2", "mpeg1video"), "a.wmv": ("wmav2", "wmv2"),
    "a.asf": ("wmav2", "wmv2"), "a.3g2": ("aac", "mpeg4"), "pcm.mov": ("pcm_s24le", "libx264"),
    "pcm.mkv": ("pcm_s16le", "libx264"), "a24.avi": ("pcm_s24le", "mpeg4"),
}  # fmt: skip
LAYOUTS = {1: "mono", 2: "stereo"}


def film(
    path: Path,
    signal: np.ndarray,
    rate: int,
    codec: str,
    picture: str = "",
    start_s: float = 0,
    gap_s: float = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Audio from `start_s` on, with a gap in its middle, and a dark grey picture from 0 to the end."""
    with av.open(str(path), "w", options=options) as out:
        out.metadata.update(TAGS)
        if picture:
            video = out.add_stream(picture, rate=25, width=64, height=48)
        audio = out.add_stream(codec, rate=rate, layout=LAYOUTS[signal.shape[1]], bit_rate=128_000)
        packets = []
        for number in range(round(25 * (start_s + gap_s + len(signal) / rate))) if picture else ():
            image = av.VideoFrame.from_ndarray(np.full((72, 64), 3 * number % 200, np.uint8), format="yuv420p")
            image.pts, image.time_base = number, Fraction(1, 25)
            packets += video.encode(image)
        packets += video.encode(None) if picture else []
        for start in range(0, len(signal), 1024):
            block = np.ascontiguousarray(signal[start : start + 1024])
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "flt", LAYOUTS[signal.shape[1]])
            late_s = start_s + (gap_s if start >= len(signal) / 2 else 0)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = start + round(late_s * rate)
            packets += audio.encode(frame)
        for packet in packets + audio.encode(None):
            out.mux(packet)
    return path


def read(path: Path, frames: int = 5000) -> tuple[MediaReader, np.ndarray]:
    with MediaReader(path) as reader:
        blocks = list(reader.blocks(frames))
    assert all(len(block) == frames for block in blocks[:-1])
    signal = np.concatenate(blocks)
    assert signal.dtype == np.float32
    assert reader.frames_read == len(signal)
    return reader, signal


def lag(later: np.ndarray, signal: np.ndarray) -> int:
    """Delay of the first signal in samples."""
    n = 2 * max(len(later), len(signal))
    spectrum = np.fft.rfft(later[:, 0], n) * np.conj(np.fft.rfft(signal[:, 0], n))
    peak = int(np.argmax(np.fft.irfft(spectrum)))
    return peak if peak < n // 2 else peak - n


def packets_of(path: Path) -> list[tuple[Any, ...]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [
            (p.pts and p.pts * p.time_base, p.dts and p.dts * p.time_base, bytes(p)) for p in container.demux(stream)
        ]
        return [(stream.codec_context.extradata, stream.average_rate), *times]
