"""Decodes the audio of videos and phone recordings in blocks through FFmpeg.

FFmpeg is part of the optional package `av`, which is imported when a file is opened.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from dccrn_cli.audio.container_size import find_container_end
from dccrn_cli.audio.extent import CUT_OFF, cut_off
from dccrn_cli.audio.ffmpeg import default_track, import_av, no_track, open_media, track_s
from dccrn_cli.audio.files import describe, reason
from dccrn_cli.audio.formats import AudioInfo, is_audio
from dccrn_cli.audio.frame_chain import INCOMPLETE_FRAME
from dccrn_cli.audio.metadata.model import Chapter, Common, Metadata, Picture
from dccrn_cli.audio.splice import Splice
from dccrn_cli.errors import UnreadableAudio

MEDIA_SUFFIXES = frozenset(
    """
    .3g2 .3gp .aac .ac3 .amr .ape .asf .avi .eac3 .flv .m2ts .m4a .m4b .m4v .mka .mkv .mov .mp4 .mpeg .mpg .mts .ts
    .tta .webm .wma .wmv .wv
    """.split()  # noqa: SIM905
)
"""Suffixes (lower case) of files for `MediaReader`."""

_STRINGS = {
    **{key: key for key in ("title", "artist", "album", "comment", "date", "genre", "copyright", "license")},
    "track": "tracknumber",
}
_COMMENTS = {"track": "TRACKNUMBER", "disc": "DISCNUMBER", "album_artist": "ALBUMARTIST", "publisher": "ORGANIZATION"}
_TECHNICAL = frozenset(
    """
    major_brand minor_version compatible_brands encoder handler_name vendor_id language duration bps creation_time
    wm/encodingtime wmfsdkversion wmfsdkneeded isvbr devicemanufacturer encoding_time
    """.split()  # noqa: SIM905
)
"""Entries that FFmpeg reports as tags but that describe the file."""

_ATTACHED = 0x400
_PCM = {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}

_TIMED = frozenset({"MOV", "MATROSKA", "MPEGTS", "ASF", "FLV"})
_EXACT_LENGTH = frozenset({"MOV", "MATROSKA"})
_KNOWN_LENGTH = frozenset({"ASF", "FLV", "WV", "APE", "TTA", "FLAC"})
_GAP_S = 0.04  # audio ahead of the picture is noticeable from 45 ms (ITU-R BT.1359)
_NOTED_GAP_S = 0.1  # shorter ones also come from muxers
_JUMP_S = 1.0  # a jump further back means that the clock was reset
_CUT_S = 0.5
_FEW_PACKETS = 2
_WITH_CHECKSUMS = frozenset({"wavpack", "tta"})
"""Codecs whose checksums FFmpeg disregards unless told otherwise."""
_UNREAD_S = 2.0  # more than lies between a packet of audio and the next one
_LONGEST_PACKET_BYTES = 1 << 20
LONGEST_GAP_S = 60.0
"""A longer jump of the timestamps is not filled with silence, hours of which would go through the network."""
AV_CLOCK_HZ = 1_000_000


def is_sound(path: Path) -> bool:
    """Whether a file is a readable recording by its name: audio, or media that needs `av`."""
    return is_audio(path) or (path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith("._"))


def silence(frames: int, channels: int, step: int) -> Iterator[np.ndarray]:
    """Blocks of zeros `(at most step, channels)`, `frames` in total."""
    for start in range(0, frames, step):
        yield np.zeros((min(step, frames - start), channels), np.float32)


class MediaReader:
    """An audio track of an open media file, read in blocks and kept in sync with the picture.

    Missing packets are replaced by up to a minute of silence; encoder delay is removed.

    Args:
        path: the file.
        track: number of the audio track, from 1; None for the default track.

    Attributes:
        info: format of the track; container and codec in FFmpeg's names, except PCM.
        frames_read: samples read so far.
        track: number of the track being read.
        gaps: timestamp jumps too long for silence: samples before each jump, and its seconds.
        tags: tags of the recording by libsndfile's names: title, artist, tracknumber...
        start_s: start of the audio in seconds after the start of the container.
        layout: channel layout in FFmpeg's notation.

    Raises:
        MissingDependency: the package `av` is not installed.
        UnreadableAudio: the file is missing, damaged, not media, or lacks audio or this track.
    """

    def __init__(self, path: str | os.PathLike[str], track: int | None = None) -> None:
        self.path = Path(path)
        self.frames_read = 0
        self.gaps: list[tuple[int, float]] = []
        self._wanted = track
        self._av = import_av()
        try:
            with contextlib.ExitStack() as stack:
                status = self.path.stat()
                if not stat.S_ISREG(status.st_mode):
                    raise UnreadableAudio("is not a file", self.path)
                if status.st_size == 0:
                    raise UnreadableAudio("the file is empty (0 bytes)", self.path)
                # Opened here, since FFmpeg treats names as URLs and cannot handle names that are not text.
                file = stack.enter_context(open(self.path, "rb"))
                self._size = status.st_size
                end = find_container_end(file, self._size)
                self._notes = [end.note]
                self._container = stack.enter_context(open_media(self._av, Splice(file, [(0, end.stop)])))
                self._start()
                self._open_files = stack.pop_all()
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise UnreadableAudio(describe(error), self.path) from None

    def _start(self) -> None:
        container = self._container
        stream = self._choose_track()
        self._stop = 0
        if stream.codec_context is not None and stream.codec_context.name in _WITH_CHECKSUMS:
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        for other in container.streams:
            if other is not stream:
                other.discard = self._av.stream.Discard.all
        frames = self._decode(self._packets(stream))
        first = next(frames, None)
        if first is None:
            raise UnreadableAudio("its audio cannot be decoded", self.path)
        self._frames = chain([first], frames)
        self.layout: str = first.layout.name

        self._total_s = total_s = (container.duration or 0) / AV_CLOCK_HZ
        start_s = (container.start_time or 0) / AV_CLOCK_HZ
        self._end_s = start_s + total_s if total_s else math.inf
        self._origin_s: float = start_s if first.time is None else first.time
        self._position = self._filled = 0
        self.start_s = max(self._origin_s - start_s, 0.0)
        self._track_s = track_s(stream, self._origin_s)

        codec = stream.codec_context.codec.canonical_name
        pcm = re.match("pcm_([sf][0-9]+)", codec)
        self.info = AudioInfo(
            first.sample_rate,
            first.layout.nb_channels,
            max(round((self._track_s or total_s - self.start_s) * first.sample_rate), 0),
            container.format.name.split(",")[0].upper(),
            _PCM.get(pcm[1], codec.upper()) if pcm else codec.upper(),
            "FILE",
        )
        self._all_tags = {key.lower(): value for key, value in [*stream.metadata.items(), *container.metadata.items()]}
        self.tags = {ours: self._all_tags[key] for key, ours in _STRINGS.items() if self._all_tags.get(key)}

    def _choose_track(self) -> Any:
        tracks = self._container.streams.audio
        if not tracks:
            raise UnreadableAudio("contains no audio", self.path)
        if self._wanted is not None and not 1 <= self._wanted <= len(tracks):
            raise UnreadableAudio(no_track(self._wanted, len(tracks)), self.path)
        self.track = self._wanted or default_track(self._container)
        stream = tracks[self.track - 1]
        if len(tracks) > 1:
            language = stream.metadata.get("language", "und")
            suffix = "" if language == "und" else f" ({language})"
            self._notes.append(f"audio track {self.track} of {len(tracks)}{suffix}")
        return stream

    @property
    def note(self) -> str:
        """Notes on the file, or ""; complete only at its end."""
        return "; ".join(filter(None, self._notes))

    def metadata(self) -> Metadata:
        """Tags, cover art and chapters, read from the file again."""
        comments = [
            (_COMMENTS.get(key, key.upper()), value)
            for key, value in self._all_tags.items()
            if key not in _TECHNICAL and not key.startswith("_") and not key.startswith("number_of_")
        ]
        chapters = [
            Chapter(float(each["start"] * each["time_base"]), float(each["end"] * each["time_base"]),
                    each["metadata"].get("title", ""))
            for each in self._container.chapters()
        ]  # fmt: skip
        common = Common(comments, self._pictures(), chapters)
        return Metadata(common=lambda: common).with_strings(self.tags)

    def _pictures(self) -> list[Picture]:
        pictures = []
        covers = [s.index for s in self._container.streams.video if s.disposition.value & _ATTACHED]
        with contextlib.suppress(self._av.error.FFmpegError, OSError, ValueError):
            if covers:
                with open(self.path, "rb") as file, open_media(self._av, file) as container:
                    for number in covers:
                        packet = next(iter(container.demux(container.streams[number])))
                        kind = container.streams[number].codec_context.name
                        mime = {"mjpeg": "image/jpeg"}.get(kind, f"image/{kind}")
                        pictures.append(Picture(3, mime, "", bytes(packet)))
        return pictures

    def check_alone(self) -> None:
        """Check that the file has no other audio tracks.

        Raises:
            UnreadableAudio: there are several tracks.
        """
        count = len(self._container.streams.audio)
        if count > 1:
            raise UnreadableAudio(f"has {count} audio tracks, too many for a single audio file", self.path)

    def _packets(self, stream: Any) -> Iterator[Any]:
        """Packets up to the end, or up to one that is incomplete since the recording is cut off."""
        try:
            for packet in self._container.demux(stream):
                self._stop = max(self._stop, (packet.pos or 0) + packet.size)
                yield packet
        except self._av.error.FFmpegError:
            if not self._is_cut or self._size - self._stop > _LONGEST_PACKET_BYTES:
                raise

    @property
    def _is_cut(self) -> bool:
        return self._notes[0].startswith(CUT_OFF)

    def _decode(self, packets: Iterable[Any]) -> Iterator[Any]:
        """Decode frames; packets may be truncated at either end of a recording, but not in between."""
        begun, error, since_corrupt = False, None, _FEW_PACKETS
        for packet in packets:
            is_last = not packet.size  # after it, the decoder returns what it has kept
            if not is_last:
                since_corrupt = 0 if packet.is_corrupt else since_corrupt + 1
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError as problem:
                if error and not is_last:
                    raise
                error = error or (problem if begun and not is_last else None)
                continue
            if frames and error and not is_last:
                raise error
            begun = begun or bool(frames)
            yield from frames
        if (error or since_corrupt < _FEW_PACKETS) and not self._notes[0]:
            self._notes[0] = INCOMPLETE_FRAME

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Blocks of at most `frames` samples, float32 `(frames, channels)`, full scale 1.0.

        Raises:
            UnreadableAudio: the data cannot be decoded, or end before the declared length.
        """
        block, filled = np.empty((frames, self.info.channels), np.float32), 0
        for piece in self._pieces():
            while len(piece):
                part = piece[: frames - filled]
                block[filled : filled + len(part)] = part
                piece, filled = piece[len(part) :], filled + len(part)
                if filled == frames:
                    self.frames_read += frames
                    yield block
                    block, filled = np.empty_like(block), 0
        if filled:
            self.frames_read += filled
            yield block[:filled]
        if self._filled:
            filled_s = self._filled / self.info.sample_rate
            self._notes.append(f"{filled_s:.2f} s missing in between are filled with silence")
        read_s = self._time_s() + sum(seconds for _, seconds in self.gaps)
        if self.info.format in _EXACT_LENGTH and not self._is_cut and read_s < self._track_s - _CUT_S:
            raise UnreadableAudio(f"cut off: it ends at {self._time_s():.2f} of {self._track_s:.2f} s", self.path)
        unread_s = self._time_s() * (self._size - self._stop) / max(self._stop, 1)
        if self.info.format == "MATROSKA" and self._is_cut and unread_s > _UNREAD_S:
            # After damage FFmpeg may find nothing more, and end as if this were all.
            raise UnreadableAudio(f"damaged at {self._time_s():.2f} s", self.path)
        if self.info.format in _KNOWN_LENGTH and self._notes[0] in ("", INCOMPLETE_FRAME):
            if read_s < self._track_s - _CUT_S:
                self._notes[0] = cut_off(self._position, self.info.frames)
            elif not self._track_s and read_s < self._total_s - self.start_s - _CUT_S:
                # Or only the picture goes on.
                self._notes.append(f"the audio ends at {self._time_s():.2f} of {self._total_s:.2f} s")

    def _pieces(self) -> Iterator[np.ndarray]:
        """The signal as decoded, with gaps filled."""
        try:
            for frame, samples in self._converted():
                for piece in chain(self._gap(frame), [samples]):
                    self._position += len(piece)
                    yield piece
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise UnreadableAudio(f"damaged at {self._time_s():.2f} s ({reason(error)})", self.path) from None

    def _converted(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Frames, and their samples converted to the sample rate and channels of the first one."""
        kind, resampler = None, self._av.AudioResampler()
        for frame in chain(self._frames, [None]):
            now = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
            if now != kind:
                for last in filter(None, resampler.resample(None)):
                    yield None, last.to_ndarray().reshape(-1, self.info.channels)
                kind, resampler = now, self._av.AudioResampler("flt", self.layout, self.info.sample_rate)
            if frame:
                for out in resampler.resample(frame):
                    yield frame, out.to_ndarray().reshape(-1, self.info.channels)

    def _gap(self, frame: Any) -> Iterator[np.ndarray]:
        """Silence before a frame that is later than the samples read so far."""
        if frame is None or frame.time is None or self.info.format not in _TIMED:
            return iter(())
        late_s = frame.time - self._origin_s - self._time_s()
        clock_reset = late_s < -_JUMP_S or frame.time > self._end_s + _JUMP_S
        if late_s > LONGEST_GAP_S:
            self._notes.append(f"timestamps jump by {late_s:,.0f} s at {self._time_s():.2f} s, not filled with silence")
            if not clock_reset:
                self.gaps.append((self._position, late_s))
            clock_reset = True
        if clock_reset:
            self._origin_s += late_s
            late_s = 0.0
        missing = round(late_s * self.info.sample_rate) if late_s > _GAP_S else 0
        self._filled += missing if late_s > _NOTED_GAP_S else 0
        return silence(missing, self.info.channels, self.info.sample_rate)

    def _time_s(self) -> float:
        return self._position / self.info.sample_rate

    def close(self) -> None:
        """Close the file."""
        self._open_files.close()

    def __enter__(self) -> MediaReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
