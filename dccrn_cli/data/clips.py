"""Clips to train on: audio files in folders, .tar archives or lists, decoded when first asked for."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import os
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
import soxr

from dccrn_cli.audio.files import SequentialFile, reason
from dccrn_cli.audio.folders import walk
from dccrn_cli.audio.formats import is_audio
from dccrn_cli.data.clip_cache import ClipCache
from dccrn_cli.data.levels import active_rms
from dccrn_cli.data.lists import LIST_SUFFIXES, read_list
from dccrn_cli.errors import DataError, OptionError
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.utils.paths import is_file, path_kind

INT16_FULL_SCALE = 32768.0

SILENCE = 1e-4
"""RMS of the active parts below which a recording, or a piece of one, is of no use."""

HELD_OUT = 0.2
"""Share of a user's recordings of each kind that fine-tuning never trains on."""

NO_SAMPLES = "holds no samples"

MAX_UNREADABLE = 10
"""Clips in a row that may be unreadable before that is an error."""

_BLOCK = 1 << 16

_COMPRESSED = frozenset({".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip"})


@dataclass(frozen=True)
class Clip:
    """Where one clip lies.

    Attributes:
        name: path below the folder or inside the archive.
        source: the file, or the archive that holds it.
        offset, size: position in the archive in bytes; size -1 for a plain file.
    """

    name: str
    source: Path
    offset: int = 0
    size: int = -1

    @property
    def group(self) -> str:
        """Folder of the clip: a speaker, a class of noise."""
        return str(PurePosixPath(self.name).parent)

    def read(self) -> np.ndarray:
        """Mono samples at 16 kHz, int16 `(samples,)`, scaled down if they go beyond full scale.

        Raises:
            DataError: not readable as audio, or empty.
        """
        mono = self.decode(self.content(), SAMPLE_RATE)
        # A file of floating-point numbers may go beyond full scale: fainter, but not clipped.
        scale = INT16_FULL_SCALE / max(1.0, float(np.abs(mono).max()))
        samples: np.ndarray = np.clip(np.rint(mono * scale), -32768, 32767).astype(np.int16)
        return samples

    def is_usable(self) -> bool:
        """Whether it can be read and holds more than silence."""
        try:
            return active_rms(self.read() / np.float32(INT16_FULL_SCALE)) > SILENCE
        except DataError:
            return False

    def content(self) -> bytes:
        """The file as it is.

        Raises:
            DataError: it cannot be read.
        """
        try:
            if self.size < 0:
                return self.source.read_bytes()
            with open(self.source, "rb") as archive:
                archive.seek(self.offset)
                return archive.read(self.size)
        except OSError as error:
            raise DataError(f"cannot be read as audio ({error})", self.name) from None

    def decode(self, content: bytes, sample_rate: int) -> np.ndarray:
        """Mono samples of its `content()`, float32 `(samples,)`, at any rate.

        Raises:
            DataError: not readable as audio, or empty.
        """
        blocks = []
        try:
            with SequentialFile(io.BytesIO(content)) as file:
                rate = file.samplerate
                # In blocks, since some files do not tell their length, or a wrong one.
                while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                    blocks.append(block.mean(axis=1))
        except (OSError, ValueError, soundfile.SoundFileError) as error:
            raise DataError(f"cannot be read as audio ({reason(error)})", self.name) from None
        mono: np.ndarray = np.concatenate(blocks or [np.zeros(0, np.float32)])
        if rate != sample_rate:
            mono = soxr.resample(mono, rate, sample_rate)
        if len(mono) == 0:
            raise DataError(NO_SAMPLES, self.name)
        if not np.isfinite(mono).all():
            raise DataError("holds samples that are no numbers", self.name)
        return mono


def digest(*contents: bytes) -> str:
    """Short digest that tells contents apart."""
    state = hashlib.blake2b(digest_size=8)
    for content in contents:
        state.update(content)
    return state.hexdigest()


def find_clips(paths: Iterable[str | Path]) -> list[Clip]:
    """All clips in files, folders (recursive), .tar archives and `lists`, in a fixed order.

    Raises:
        DataError: a path that does not exist, also in a list, a folder that cannot be read, or no audio in any.
    """
    clips: list[Clip] = []
    for path in map(Path, paths):
        kind, why = path_kind(path)
        if kind == "folder":
            clips += [Clip(file.relative_to(path).as_posix(), file) for file in _files_below(path)]
        elif kind != "file":
            raise DataError(why, path)
        elif path.suffix.lower() in _COMPRESSED:
            raise DataError("compressed archives cannot be read piece by piece; a plain .tar can", path)
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
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"cannot be read as an archive ({error})", path) from None


def set_aside(clips: Sequence[Clip], share: float, what: str) -> tuple[list[Clip], list[Clip]]:
    """Split by file into (training, held out), at least one clip each.

    A clip's place is set by its name, so that most stay on their side when others come or go. What is
    held out can be read and is not silent. A file that is given twice stays on one side.

    Raises:
        OptionError: only one clip, or none that can be held out.
    """
    alike: dict[tuple[str, int], list[Clip]] = {}
    for clip in clips:
        alike.setdefault((os.path.realpath(clip.source), clip.offset), []).append(clip)
    files = sorted(alike.values(), key=lambda same: (zlib.crc32(os.fsencode(same[0].name)), same[0].name))
    if len(files) < 2:
        raise OptionError(f"a single recording of {what} cannot be both trained and tested on; give two or more")
    wanted = min(max(1, math.ceil(share * len(files))), len(files) - 1)
    held = list(itertools.islice((same[0] for same in files if same[0].is_usable()), wanted))
    if not held:
        raise OptionError(f"no recording of {what} can be read and holds more than silence")
    apart = {clip for same in files if same[0] in held for clip in same}
    return [clip for clip in clips if clip not in apart], [clip for clip in clips if clip in held]


def draw_start(available: int, length: int, rng: np.random.Generator) -> int:
    """Where a `stretch` of `length` samples begins in a clip of `available`."""
    return int(rng.integers(available - length + 1 if available >= length else available))


def stretch(clip: np.ndarray, start: int, length: int) -> np.ndarray:
    """`length` samples of a clip from `start` on; after its end it begins anew."""
    if start + length <= len(clip):
        return clip[start : start + length]
    return np.tile(clip, -(-(start + length) // len(clip)))[start : start + length]


class ClipPool:
    """Clips, drawn at random and kept in memory once decoded, within the budget of a cache.

    Args:
        clips: what to draw from.
        balance: exponent on the size of a group when one is drawn: 1 draws all clips alike, 0 all
            groups alike.
        cache: where decoded clips are kept, which pools may share; one of its own by default.

    Attributes:
        unreadable: clips that were drawn and could not be read, with the reason. Others are
            drawn in their place.
    """

    def __init__(self, clips: Sequence[Clip], balance: float = 0.5, cache: ClipCache | None = None) -> None:
        if not clips:
            raise DataError("no clips to draw from")
        self.clips = list(clips)
        self.unreadable: dict[str, str] = {}
        self._cache = cache or ClipCache()
        self._token = object()  # of its clips in the cache
        self._active_rms: dict[int, float] = {}
        groups: dict[str, list[int]] = {}
        for index, clip in enumerate(self.clips):
            groups.setdefault(clip.group, []).append(index)
        self.groups = list(groups.values())
        sizes = np.array([len(group) for group in self.groups], dtype=float) ** balance
        self._cumulative = np.cumsum(sizes / sizes.sum())

    def draw_group(self, rng: np.random.Generator) -> int:
        """A random group, as its number."""
        return min(int(np.searchsorted(self._cumulative, rng.random())), len(self.groups) - 1)

    def pick(self, rng: np.random.Generator, group: int | None = None) -> int:
        """The number of a random clip that can be read, of the given group or of any.

        Raises:
            DataError: many clips in a row cannot be read.
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
        """A random clip, float32 `(samples,)`, of the given group or of any.

        Raises:
            DataError: many clips in a row cannot be read.
        """
        return self.load(self.pick(rng, group))

    def load(self, index: int) -> np.ndarray:
        """Clip number `index`, float32 `(samples,)`."""
        return self.cut(index, 0, self.length(index))

    def length(self, index: int) -> int:
        """Samples of clip number `index`."""
        return len(self._decoded(index))

    def cut(self, index: int, start: int, length: int) -> np.ndarray:
        """A `stretch` of clip number `index`, float32 `(length,)`."""
        return stretch(self._decoded(index), start, length) * np.float32(1 / INT16_FULL_SCALE)

    def active_rms(self, index: int) -> float:
        """Level of the active parts of clip number `index`."""
        if index not in self._active_rms:
            self._active_rms[index] = active_rms(self.load(index))
        return self._active_rms[index]

    def _decoded(self, index: int) -> np.ndarray:
        return self._cache.get((self._token, index), self.clips[index].read)
