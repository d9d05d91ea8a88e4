"""Videos with a cleaned sound track: the picture is copied, the sound encoded anew."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dccrn_cli.audio.files import AudioReader, reason
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.media import AV_CLOCK_HZ, MediaReader, import_av, open_media, silence
from dccrn_cli.audio.resample import Resampler
from dccrn_cli.errors import AudioError, UnsupportedFormat
from dccrn_cli.utils.atomic import open_no_link

_MUXERS = {
    ".mp4": ("mp4", "aac"), ".m4v": ("mp4", "aac"), ".mov": ("mov", "aac"), ".3gp": ("3gp", "aac"),
    ".mkv": ("matroska", "flac"), ".webm": ("webm", "libopus"), ".avi": ("avi", "pcm_s16le"),
}  # fmt: skip
"""FFmpeg's names of the container and of the encoder of its sound."""


def can_remux(path: Path) -> bool:
    """Whether `remux` can write this kind of video, by its suffix."""
    return path.suffix.lower() in _MUXERS


def remux(video: Path, audio: Path, target: Path) -> str:
    """Write a copy of a video with another sound in place of its first sound track.

    Pictures, subtitles, further sound tracks, attachments, chapters and tags are copied as they are. The
    sound is encoded as AAC (MP4, MOV, 3GP), FLAC (MKV), Opus (WebM) or PCM (AVI), in step with the picture.

    Args:
        video: the video; its suffix says which container is written.
        audio: what `MediaReader` gave of it, at any rate, in a file that libsndfile reads.
        target: the file to write, whatever its suffix. What is there is overwritten, and an error leaves
            a part of the new file.

    Returns:
        What could not be carried over, in plain words, or "".

    Raises:
        MissingDependency: no package `av`.
        UnreadableAudio: the video or the sound cannot be read.
        UnsupportedFormat: the container cannot be written, or not with these streams.
        AudioError: the target cannot be written.
    """
    if not can_remux(video):
        raise UnsupportedFormat(f"sound cannot be put into {video.suffix or 'a file without suffix'}", video)
    if target.exists() and target.samefile(video):
        raise AudioError("the result would overwrite the video", target)
    av = import_av()
    muxer, codec = _MUXERS[video.suffix.lower()]
    with MediaReader(video) as track:
        layout, start_s = track.layout, track.start_s
    try:
        with (
            AudioReader(audio) as sound,
            open(video, "rb") as video_file,
            open_media(av, video_file) as source,
            open(target, "wb", opener=open_no_link) as target_file,
            av.open(target_file, "w", format=muxer) as out,
        ):
            try:
                copies, left_out = _copy_streams(source, out, lambda: _add_encoder(av, out, codec, sound.info, layout))
                out.start_encoding()
            except (av.error.FFmpegError, ValueError) as error:
                raise UnsupportedFormat(f"cannot be written with another sound ({reason(error)})", video) from None
            start = (source.start_time or 0) / AV_CLOCK_HZ
            encoder = copies.pop(source.streams.audio[0])
            copied = _copied(source.demux(list(copies)), copies)
            for packet in heapq.merge(copied, _encoded(av, encoder, sound, start, start_s), key=_decoding_time):
                out.mux(packet)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"cannot be written ({reason(error)})", target) from None
    return f"left out: {', '.join(sorted(left_out))}" if left_out else ""


def _copy_streams(source: Any, out: Any, add_encoder: Callable[[], Any]) -> tuple[dict[Any, Any], set[str]]:
    """Add a stream for each one of the source; gives new ones by old ones, and kinds that do not fit."""
    copies: dict[Any, Any] = {}
    left_out = set()
    out.metadata.update(source.metadata)
    out.set_chapters(source.chapters())
    for stream in source.streams:
        if stream.type == "data":
            if not source.chapters():  # which are data in MP4
                left_out.add("data")
            continue
        try:
            new = add_encoder() if stream == source.streams.audio[0] else _add_copy(out, stream)
        except ValueError:
            if stream.type in ("video", "audio"):
                raise
            left_out.add(stream.type)
            continue
        new.metadata.update({key: value for key, value in stream.metadata.items() if key != "DURATION"})
        new.disposition = stream.disposition.value
        copies[stream] = new
    return copies, left_out


def _add_copy(out: Any, stream: Any) -> Any:
    new = out.add_stream_from_template(stream, opaque=True)
    if stream.type == "video" and stream.codec_context.name == "hevc" and stream.codec_context.codec_tag == "hvc1":
        new.codec_context.codec_tag = "hvc1"  # Apple plays no hev1, which is the default
    return new


def _add_encoder(av: Any, out: Any, codec: str, info: AudioInfo, layout: str) -> Any:
    rates = [48_000] if codec == "libopus" else av.Codec(codec, "w").audio_rates
    rate = info.sample_rate if not rates or info.sample_rate in rates else 48_000
    if av.AudioLayout(layout).nb_channels != info.channels or re.match("[0-9]+ channels", layout):
        layout = {1: "mono", 2: "stereo"}.get(info.channels, f"{info.channels} channels")
    return out.add_stream(codec, rate=rate, layout=layout, bit_rate=64_000 * (info.channels + 1))


def _encoded(av: Any, encoder: Any, sound: AudioReader, start: float, silence_s: float) -> Iterator[Any]:
    """Packets of the sound, its clock at `start` seconds before a silence."""
    rate, channels, step = sound.info.sample_rate, sound.info.channels, sound.info.sample_rate
    resampler = Resampler(rate, encoder.rate, channels)
    pts = round(start * encoder.rate)
    blocks = chain(silence(round(silence_s * rate), channels, step), sound.blocks(step), [None])
    for block in blocks:
        ready = resampler.flush() if block is None else resampler.process(block)
        if len(ready):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(ready).reshape(1, -1), "flt", encoder.layout.name)
            frame.sample_rate, frame.time_base, frame.pts = encoder.rate, Fraction(1, encoder.rate), pts
            pts += len(ready)
            yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _copied(packets: Iterable[Any], copies: dict[Any, Any]) -> Iterator[Any]:
    for packet in packets:
        if packet.size or packet.dts is not None:  # else it ends a stream
            packet.stream = copies[packet.stream]
            yield packet


def _decoding_time(packet: Any) -> float:
    return -math.inf if packet.dts is None else float(packet.dts * packet.time_base)
