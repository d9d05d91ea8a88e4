"""Writes videos with enhanced audio tracks: the picture is copied and the audio re-encoded."""

from __future__ import annotations

import contextlib
import heapq
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dccrn_cli.audio.ffmpeg import import_av, open_media
from dccrn_cli.audio.files import AudioReader, reason
from dccrn_cli.audio.media import AV_CLOCK_HZ, LONGEST_GAP_S, MediaReader, silence
from dccrn_cli.audio.resample import Resampler
from dccrn_cli.errors import AudioError, UnsupportedFormat
from dccrn_cli.utils.atomic import open_no_link
from dccrn_cli.utils.paths import exists

_MUXERS = {
    ".mp4": ("mp4", "aac"), ".m4v": ("mp4", "aac"), ".mov": ("mov", "aac"), ".3gp": ("3gp", "aac"),
    ".3g2": ("3g2", "aac"), ".mkv": ("matroska", "flac"), ".webm": ("webm", "libopus"), ".avi": ("avi", "pcm_s16le"),
    ".ts": ("mpegts", "aac"), ".mts": ("mpegts", "aac"), ".m2ts": ("mpegts", "aac"), ".flv": ("flv", "aac"),
    ".mpg": ("mpeg", "mp2"), ".mpeg": ("mpeg", "mp2"), ".wmv": ("asf", "wmav2"), ".asf": ("asf", "wmav2"),
}  # fmt: skip
"""FFmpeg's names of the container and of its audio encoder, unless the source is PCM."""

_PCM_MUXERS = frozenset({"mov", "matroska", "avi"})
_RATES = {("webm", "libopus"): [48_000], ("flv", "aac"): [44_100, 22_050, 11_025]}


class CleanTrack(NamedTuple):
    """An enhanced audio track.

    Attributes:
        audio: the enhanced audio of the track at any sample rate, in a file that libsndfile reads.
        gaps: gaps of the reader, at its end.
        rate: sample rate of the reader in Hz.
    """

    audio: Path
    gaps: Sequence[tuple[int, float]] = ()
    rate: int = 1


class _Sound(NamedTuple):
    """Audio to encode for a track: samples, channel layout, and start relative to the container."""

    reader: AudioReader
    layout: str
    start_s: float
    jumps: Sequence[tuple[float, float]]


def can_remux(path: Path) -> bool:
    """Whether `remux` can write this kind of video, by its suffix."""
    return path.suffix.lower() in _MUXERS


def remux(video: Path, tracks: Mapping[int, CleanTrack], target: Path) -> str:
    """Write a copy of a video with some of its audio tracks replaced.

    Pictures, subtitles, other audio tracks, attachments, chapters and tags are copied unchanged. PCM stays PCM
    in MOV, MKV and AVI; other audio is encoded as AAC (MP4, MOV, 3GP, FLV, MPEG-TS), FLAC (MKV), Opus (WebM),
    PCM (AVI), MP2 (MPEG) or WMA (WMV), in sync with the picture.

    Args:
        video: the video; its suffix sets the container to write.
        tracks: the new audio by track number, from 1.
        target: the file to write, whatever its suffix. An existing file is overwritten, and an error leaves
            a partial file.

    Returns:
        A note on what could not be carried over, or "".

    Raises:
        MissingDependency: the package `av` is not installed.
        UnreadableAudio: the video or the audio cannot be read.
        UnsupportedFormat: the container cannot be written, or not with these streams.
        AudioError: the target cannot be written.
    """
    if not can_remux(video):
        raise UnsupportedFormat(f"audio cannot be replaced in {video.suffix or 'a file without a suffix'}", video)
    if exists(target) and target.samefile(video):
        raise AudioError("the result would overwrite the video", target)
    av = import_av()
    muxer, codec = _MUXERS[video.suffix.lower()]
    try:
        with (
            contextlib.ExitStack() as stack,
            open(video, "rb") as video_file,
            open_media(av, video_file) as source,
            open(target, "wb", opener=open_no_link) as target_file,
            av.open(target_file, "w", format=muxer) as out,
        ):
            sounds = {source.streams.audio[n - 1]: _open(stack, video, n, track) for n, track in tracks.items()}
            try:
                copies, left_out = _copy_streams(av, source, out, sounds, codec)
                out.start_encoding()
            except (av.error.FFmpegError, ValueError) as error:
                raise UnsupportedFormat(f"cannot be written with new audio ({reason(error)})", video) from None
            start = (source.start_time or 0) / AV_CLOCK_HZ
            packets = [_encoded(av, copies.pop(stream), sound, start) for stream, sound in sounds.items()]
            if copies:
                packets.append(_copied(source.demux(list(copies)), copies))
            for packet in heapq.merge(*packets, key=_decoding_time):
                out.mux(packet)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"cannot be written ({reason(error)})", target) from None
    return "; ".join(left_out)


def _open(stack: contextlib.ExitStack, video: Path, number: int, track: CleanTrack) -> _Sound:
    with MediaReader(video, number) as reader:
        layout, start_s = reader.layout, reader.start_s
    jumps = [(position / track.rate, seconds) for position, seconds in track.gaps]
    return _Sound(stack.enter_context(AudioReader(track.audio)), layout, start_s, jumps)


def _copy_streams(
    av: Any, source: Any, out: Any, sounds: Mapping[Any, _Sound], codec: str
) -> tuple[dict[Any, Any], list[str]]:
    """Add a stream for each one of the source; returns new streams by old ones, and notes on changes."""
    copies: dict[Any, Any] = {}
    left_out, notes = set(), []
    out.metadata.update(source.metadata)
    out.set_chapters(source.chapters())
    for stream in source.streams:
        if stream.type == "data":
            if not source.chapters():  # chapters are data streams in MP4
                left_out.add("data")
            continue
        try:
            if stream in sounds:
                new, note = _add_encoder(av, out, stream, codec, sounds[stream])
                notes.append(note)
            else:
                new = _add_copy(out, stream)
        except ValueError:
            if stream.type in ("video", "audio"):
                raise
            left_out.add(stream.type)
            continue
        new.metadata.update({key: value for key, value in stream.metadata.items() if key != "DURATION"})
        new.disposition = stream.disposition.value
        copies[stream] = new
    return copies, [*filter(None, notes), *([f"omitted: {', '.join(sorted(left_out))}"] if left_out else [])]


def _add_copy(out: Any, stream: Any) -> Any:
    new = out.add_stream_from_template(stream, opaque=True)
    if stream.type == "video" and stream.codec_context.name == "hevc" and stream.codec_context.codec_tag == "hvc1":
        new.codec_context.codec_tag = "hvc1"  # Apple does not play the default, hev1
    return new


def _add_encoder(av: Any, out: Any, stream: Any, codec: str, sound: _Sound) -> tuple[Any, str]:
    """Add a stream to replace an audio track, with a note on it, or ""."""
    before = stream.codec_context.codec.canonical_name
    if before.startswith("pcm_") and out.format.name in _PCM_MUXERS and before in av.codec.codecs_available:
        codec = before
    info, layout = sound.reader.info, sound.layout
    rates = _RATES.get((out.format.name, codec)) or av.Codec(codec, "w").audio_rates
    rate = info.sample_rate if not rates or info.sample_rate in rates else 48_000 if 48_000 in rates else max(rates)
    if av.AudioLayout(layout).nb_channels != info.channels or re.match("[0-9]+ channels", layout):
        layout = {1: "mono", 2: "stereo"}.get(info.channels, f"{info.channels} channels")
    new = out.add_stream(codec, rate=rate, layout=layout, bit_rate=64_000 * (info.channels + 1))
    after = new.codec_context.codec.canonical_name
    return new, "" if after == before else f"{before.upper()} audio re-encoded as {after.upper()}"


def _encoded(av: Any, encoder: Any, sound: _Sound, start: float) -> Iterator[Any]:
    """Encode the audio to packets; the clock of the container starts at `start` seconds."""
    reader, silence_s = sound.reader, sound.start_s
    rate, channels, step = reader.info.sample_rate, reader.info.channels, reader.info.sample_rate
    if silence_s > LONGEST_GAP_S:
        start, silence_s = start + silence_s, 0.0
    resampler = Resampler(rate, encoder.rate, channels)
    pts = first = round(start * encoder.rate)
    jumps = [(first + round((silence_s + at_s) * encoder.rate), late_s) for at_s, late_s in sound.jumps]

    def jumped(packets: Iterable[Any]) -> Iterator[Any]:
        # Encoders do not accept jumps of the clock, so it is set on their output.
        for packet in packets:
            late_s = sum(seconds for at, seconds in jumps if packet.pts * packet.time_base * encoder.rate >= at)
            if late_s:
                packet.pts, packet.dts = (round(t + late_s / packet.time_base) for t in (packet.pts, packet.dts))
            yield packet

    blocks = chain(silence(round(silence_s * rate), channels, step), reader.blocks(step), [None])
    for block in blocks:
        ready = resampler.flush() if block is None else resampler.process(block)
        if len(ready):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(ready).reshape(1, -1), "flt", encoder.layout.name)
            frame.sample_rate, frame.time_base, frame.pts = encoder.rate, Fraction(1, encoder.rate), pts
            pts += len(ready)
            yield from jumped(encoder.encode(frame))
    yield from jumped(encoder.encode(None))


def _copied(packets: Iterable[Any], copies: dict[Any, Any]) -> Iterator[Any]:
    for packet in packets:
        if packet.size or packet.dts is not None:  # an empty packet ends a stream
            packet.stream = copies[packet.stream]
            yield packet


def _decoding_time(packet: Any) -> float:
    return -math.inf if packet.dts is None else float(packet.dts * packet.time_base)
