"""Training clips: audio files in folders, .tar archives or lists, decoded on first use."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import soxr

from dccrn_cli.audio.decode import MAX_RATE, MIN_RATE
from dccrn_cli.audio.discovery import walk
from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.formats import is_audio
from dccrn_cli.data.clip_cache import ClipCache
from dccrn_cli.data.lists import LIST_SUFFIXES, read_list
from dccrn_cli.data.speech_level import active_rms
from dccrn_cli.errors import DataError, OptionError, UnreadableAudio
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.utils.paths import is_file, path_kind

INT16_FULL_SCALE = 32768.0

SILENCE = 1e-4
"""RMS of the active parts below which a recording, or a piece of one, is unusable."""

HELD_OUT = 0.2
"""Share of a user's recordings of each kind that fine-tuning holds out from training."""

NO_SAMPLES = "contains no samples"

MAX_UNREADABLE = 10
"""Number of consecutive unreadable clips that is an error."""

MAX_CLIP_S, MAX_CLIP_BYTES = 2 * 3600, 2 << 30
"""Longest clip in seconds, which takes 0.5 GB decoded, and largest file."""

_BLOCK = 1 << 16
_MAX_BLOCK_SAMPLES = 1 << 20  # of all channels together

_COMPRESSED = frozenset({".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip"})


@dataclass(frozen=True)
class Clip:
    """Location of one clip.

    Attributes:
        name: path relative to the folder or inside the archive.
        source: the file, or the archive that holds it.
        offset, size: position in the archive in bytes; size -1 for a plain file.
    """

    name: str
    source: Path
    offset: int = 0
    size: int = -1

    @property
    def group(self) -> str:
        """Folder of the clip: a speaker or a class of noise."""
        return str(PurePosixPath(self.name).parent)

    def read(self) -> np.ndarray:
        """Mono samples at 16 kHz, int16 `(samples,)`, scaled down if they exceed full scale.

        Raises:
            DataError: not readable as audio, or empty.
        """
        mono = self.decode(self.content(), SAMPLE_RATE)
        # A floating-point file may exceed full scale: attenuate instead of clipping.
        scale = INT16_FULL_SCALE / max(1.0, float(np.abs(mono).max()))
        samples: np.ndarray = np.clip(np.rint(mono * scale), -32768, 32767).astype(np.int16)
        return samples

    def is_usable(self) -> bool:
        """Whether the clip can be read and contains more than silence."""
        try:
            return active_rms(self.read() / np.float32(INT16_FULL_SCALE)) > SILENCE
        except DataError:
            return False

    def content(self) -> bytes:
        """The raw bytes of the file.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            with open(self.source, "rb") as file:
                held = os.fstat(file.fileno()).st_size
                size = held if self.size < 0 else self.size
                if self.offset + size > held:
                    raise DataError(f"cannot be read as audio (its {size:,} bytes extend past the archive)", self.name)
                if size > MAX_CLIP_BYTES:
                    raise DataError(f"is larger than {MAX_CLIP_BYTES >> 30} GiB; split it", self.name)
                file.seek(self.offset)
                return file.read(size)
        except (OSError, OverflowError) as error:
            raise DataError(f"cannot be read as audio ({error})", self.name) from None

    def open(self, content: bytes) -> AudioReader:
        """Open its `content()`.

        Raises:
            DataError: not readable as audio.
        """
        try:
            reader = AudioReader(self.name, content)
        except UnreadableAudio as error:
            raise DataError(error.message, self.name) from None
        if not MIN_RATE <= reader.info.sample_rate <= MAX_RATE:
            raise DataError(f"a sample rate of {reader.info.sample_rate} Hz is not supported", self.name)
        return reader

    def decode(self, content: bytes, sample_rate: int) -> np.ndarray:
        """Decode its `content()` to mono, float32 `(samples,)`, at the given sample rate in Hz.

        Raises:
            DataError: not readable as audio, or empty.
        """
        blocks = []
        with self.open(content) as reader:
            rate = reader.info.sample_rate
            resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
            try:
                # In blocks, since a file may declare no length, a wrong one, or many hours.
                for block in reader.blocks(max(min(_BLOCK, _MAX_BLOCK_SAMPLES // reader.info.channels), 1)):
                    if reader.frames_read > MAX_CLIP_S * rate:
                        raise DataError(f"is longer than {MAX_CLIP_S // 3600} h; split it", self.name)
                    mono = block.mean(axis=1)
                    blocks.append(mono if rate == sample_rate else resampler.resample_chunk(mono))
            except UnreadableAudio as error:
                raise DataError(error.message, self.name) from None
        if rate != sample_rate:
            blocks.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        whole: np.ndarray = np.concatenate(blocks or [np.zeros(0, np.float32)])
        if len(whole) == 0:
            raise DataError(NO_SAMPLES, self.name)
        if not np.isfinite(whole).all():
            raise DataError("contains NaN or infinite samples", self.name)
        return whole


def digest(*contents: bytes) -> str:
    """Short digest of the given contents."""
    state = hashlib.blake2b(digest_size=8)
    for content in contents:
        state.update(content)
    return state.hexdigest()


def find_clips(paths: Iterable[str | Path]) -> list[Clip]:
    """Find all clips in files, folders (recursive), .tar archives and `lists`, in a fixed order.

    Raises:
        DataError: a path (or an entry of a list) does not exist, a folder cannot be read, or there is no audio.
    """
    clips: list[Clip] = []
    for path in map(Path, paths):
        kind, why = path_kind(path)
        if kind == "folder":
            clips += [Clip(file.relative_to(path).as_posix(), file) for file in _files_below(path)]
        elif kind != "file":
            raise DataError(why, path)
        elif path.suffix.lower() in _COMPRESSED:
            raise DataError("compressed archives are not supported; use an uncompressed .tar", path)
        elif path.suffix.lower() == ".tar":
            clips += sorted(_archived(path), key=lambda clip: clip.name)
        elif path.suffix.lower() in LIST_SUFFIXES:
            clips += [Clip(name, file) for name, file in read_list(path)]
        else:
            clips.append(Clip(path.name, path))
    if not clips:
        raise DataError(f"no audio found in {', '.join(map(str, paths)) or 'an empty list of paths'}")
    return clips


def _files_below(folder: Path) -> list[Path]:
    def refuse(unreadable: Path, why: str) -> None:
        raise DataError(why, unreadable)

    return sorted(file for file in walk(folder, refuse) if is_audio(file) and is_file(file))


def _archived(path: Path) -> list[Clip]:
    try:
        with tarfile.open(path, "r:") as archive:
            return [
                Clip(member.name, path, member.offset_data, member.size)
                for member in archive
                if member.isfile() and is_audio(Path(member.name))
            ]
    except (tarfile.TarError, OSError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        raise DataError(f"cannot be read as an archive ({str(error) or 'a damaged header'})", path) from None


def set_aside(clips: Sequence[Clip], share: float, what: str) -> tuple[list[Clip], list[Clip]]:
    """Split by file into (training, held out), at least one clip each.

    The split depends on clip names, so most clips stay on their side when others are added or removed.
    Held-out clips are readable and not silent. A file given twice stays on one side.

    Raises:
        OptionError: there is only one clip, or none that can be held out.
    """
    alike: dict[tuple[str, int], list[Clip]] = {}
    for clip in clips:
        alike.setdefault((os.path.realpath(clip.source), clip.offset), []).append(clip)
    files = sorted(alike.values(), key=lambda same: (zlib.crc32(os.fsencode(same[0].name)), same[0].name))
    if len(files) < 2:
        raise OptionError(f"a single {what} recording cannot be used for both training and testing; give at least two")
    wanted = min(max(1, math.ceil(share * len(files))), len(files) - 1)
    held = list(itertools.islice((same[0] for same in files if same[0].is_usable()), wanted))
    if not held:
        raise OptionError(f"no {what} recording is readable and contains more than silence")
    apart = {clip for same in files if same[0] in held for clip in same}
    return [clip for clip in clips if clip not in apart], [clip for clip in clips if clip in held]


def draw_start(available: int, length: int, rng: np.random.Generator) -> int:
    """Draw the start of a `stretch` of `length` samples in a clip of `available` samples."""
    return int(rng.integers(available - length + 1 if available >= length else available))


def stretch(clip: np.ndarray, start: int, length: int) -> np.ndarray:
    """Take `length` samples of a clip from `start` on, wrapping around at its end."""
    if start + length <= len(clip):
        return clip[start : start + length]
    return np.tile(clip, -(-(start + length) // len(clip)))[start : start + length]


class ClipPool:
    """Clips to draw at random, decoded on first use and kept in a bounded cache.

    Args:
        clips: what to draw from.
        balance: exponent on the size of a group when one is drawn: 1 makes all clips equally likely, 0
            all groups.
        cache: cache for decoded clips, which pools may share; a new one by default.

    Attributes:
        unreadable: clips that were drawn but could not be read, with the reason. Other clips are
            drawn instead.
    """

    def __init__(self, clips: Sequence[Clip], balance: float = 0.5, cache: ClipCache | None = None) -> None:
        if not clips:
            raise DataError("no clips to draw from")
        self.clips = list(clips)
        self.unreadable: dict[str, str] = {}
        self._cache = cache or ClipCache()
        self._token = object()  # identifies this pool's clips in the cache
        self._active_rms: dict[int, float] = {}
        groups: dict[str, list[int]] = {}
        for index, clip in enumerate(self.clips):
            groups.setdefault(clip.group, []).append(index)
        self.groups = list(groups.values())
        sizes = np.array([len(group) for group in self.groups], dtype=float) ** balance
        self._cumulative = np.cumsum(sizes / sizes.sum())

    def draw_group(self, rng: np.random.Generator) -> int:
        """The index of a random group."""
        return min(int(np.searchsorted(self._cumulative, rng.random())), len(self.groups) - 1)

    def pick(self, rng: np.random.Generator, group: int | None = None) -> int:
        """The index of a random readable clip, from the given group or from any.

        Raises:
            DataError: `MAX_UNREADABLE` clips in a row cannot be read.
        """
        for _ in range(MAX_UNREADABLE):
            members = self.groups[self.draw_group(rng) if group is None else group]
            index = members[int(rng.integers(len(members)))]
            try:
                self._decoded(index)
            except DataError as error:
                self.unreadable[str(error.path)] = error.message
                failure, group = error, None
            else:
                return index
        raise failure

    def draw(self, rng: np.random.Generator, group: int | None = None) -> np.ndarray:
        """A random clip, float32 `(samples,)`, from the given group or from any.

        Raises:
            DataError: `MAX_UNREADABLE` clips in a row cannot be read.
        """
        return self.load(self.pick(rng, group))

    def load(self, index: int) -> np.ndarray:
        """The clip at `index`, float32 `(samples,)`."""
        return self.cut(index, 0, self.length(index))

    def length(self, index: int) -> int:
        """Length in samples of the clip at `index`."""
        return len(self._decoded(index))

    def cut(self, index: int, start: int, length: int) -> np.ndarray:
        """A `stretch` of the clip at `index`, float32 `(length,)`."""
        return stretch(self._decoded(index), start, length) * np.float32(1 / INT16_FULL_SCALE)

    def active_rms(self, index: int) -> float:
        """Active RMS level of the clip at `index`."""
        if index not in self._active_rms:
            self._active_rms[index] = active_rms(self.load(index))
        return self._active_rms[index]

    def _decoded(self, index: int) -> np.ndarray:
        return self._cache.get((self._token, index), self.clips[index].read)
