"""Containers and sample formats: format of a file, and formats that can be written."""

from __future__ import annotations

import functools
import io
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import soundfile

from dccrn_cli.errors import OptionError, UnsupportedFormat

SUFFIXES = frozenset(
    """
    .aif .aifc .aiff .au .avr .caf .flac .htk .ircam .mat .mp2 .mp3 .mpc2k .nist .oga .ogg .opus .paf .pvf
    .rf64 .sd2 .sds .sf .snd .sph .svx .voc .w64 .wav .wave .wve .xi
    """.split()  # noqa: SIM905
)
"""Suffixes (lower case) of files that libsndfile reads."""

FORMAT_OF_SUFFIX: Mapping[str, str] = {
    ".wav": "WAV", ".wave": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".mp3": "MP3",
    ".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF", ".au": "AU", ".snd": "AU", ".caf": "CAF", ".w64": "W64",
    ".rf64": "RF64",
}  # fmt: skip
"""Containers of results by suffix."""

TWO_FILES = frozenset({"SD2"})
"""Containers with their header in a second file, which can only be read."""

SAMPLE_FORMATS: Mapping[str, str] = {
    "u8": "PCM_U8", "s8": "PCM_S8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE",
}  # fmt: skip
"""Short names of sample formats; libsndfile's names are accepted as well."""

_RATES: Mapping[str, Sequence[int]] = {
    "OPUS": (8000, 12_000, 16_000, 24_000, 48_000),
    "MPEG_LAYER_III": (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "VORBIS": range(1, 192_001),  # its encoder crashes above 200 kHz
}
"""Sample rates of formats that only support some."""

_GARBLED = frozenset({"ALAC_20"})
"""Sample formats that libsndfile writes incorrectly with several channels."""

_SIZE_OF_32_BITS = frozenset({"WAV", "WAVEX", "AIFF", "AU", "SVX", "VOC", "NIST", "AVR", "PAF"})
MAX_BYTES = (1 << 32) - (1 << 20)
"""Most bytes of samples in a container with 32-bit sizes, leaving room for metadata."""

SAMPLE_BYTES: Mapping[str, int] = {
    "PCM_U8": 1, "PCM_S8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
"""Bytes per sample of uncompressed sample formats, by libsndfile's names."""

_USUAL_MASKS = {1: 0x4, 2: 0x3, 4: 0x33, 6: 0x3F, 8: 0x63F}
"""Speakers that programs assume if none are given."""

_FLOATING = frozenset({"FLOAT", "DOUBLE"})
_DEEP = frozenset(
    """
    FLOAT DOUBLE PCM_32 PCM_24 ALAC_20 ALAC_24 ALAC_32 ALAC FLAC TTA WAVPACK WMALOSSLESS
    PCM_S24LE PCM_S24BE PCM_S32LE PCM_S32BE PCM_F32LE PCM_F32BE PCM_F64LE PCM_F64BE
    """.split()  # noqa: SIM905
)
"""Sample formats, and codecs of media files, that may hold more than 16 bits."""


def is_audio(path: Path) -> bool:
    """Whether libsndfile is expected to read a file, by its name."""
    # "._name" files are companions that macOS leaves on foreign disks.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def container_suffix(name: str) -> str:
    """Find the suffix for a container given as `flac` or `.flac`.

    Raises:
        OptionError: the container is unknown or cannot be written.
    """
    suffix = f".{name.lower().lstrip('.')}"
    if suffix not in FORMAT_OF_SUFFIX:
        names = ", ".join(sorted(known.lstrip(".") for known in FORMAT_OF_SUFFIX))
        raise OptionError(f"{name!r} cannot be written; choose from {names}")
    return suffix


def contradicts(path: str | PurePath, container: str) -> bool:
    """Whether the suffix of a file name contradicts `container`, itself a suffix or empty."""
    suffix, container = PurePath(path).suffix.lower(), container.lower()
    if not container or suffix not in FORMAT_OF_SUFFIX:
        return False
    # Opus is a codec in the Ogg container with its own suffix.
    return FORMAT_OF_SUFFIX[suffix] != FORMAT_OF_SUFFIX[container] or (suffix == ".opus") != (container == ".opus")


def sample_format(name: str, suffix: str = "") -> str:
    """Find libsndfile's name of a sample format, given as that or a short name in any case.

    Args:
        name: name given by the user.
        suffix: suffix of the container that must support it; empty for any.

    Raises:
        OptionError: the sample format is unknown or not supported by the container.
    """
    wanted = SAMPLE_FORMATS.get(name.lower(), name.upper().replace("-", "_"))
    if wanted not in soundfile.available_subtypes():
        raise OptionError(f"no sample format {name!r}; choose from {', '.join(SAMPLE_FORMATS)}, vorbis, opus, ulaw …")
    if suffix and not soundfile.check_format(FORMAT_OF_SUFFIX[suffix], wanted):
        raise OptionError(f"{suffix} does not support {wanted} samples")
    return wanted


@dataclass(frozen=True)
class AudioInfo:
    """Format of an audio file.

    Attributes:
        sample_rate: sample rate in Hz.
        channels: number of channels.
        frames: length in samples; an estimate for some compressed formats, 0 if unknown.
        format, subtype, endian: container, sample format and byte order, in libsndfile's names.
        channel_mask: speakers of the channels, as in WAV; None if not given, 0 for channels that are not for speakers.
        valid_bits: significant bits of each sample if fewer than stored; otherwise 0.
    """

    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    endian: str
    channel_mask: int | None = None
    valid_bits: int = 0

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate

    @property
    def holds_channel_mask(self) -> bool:
        """Whether the container can store a channel mask."""
        return self.format in ("WAVEX", "RF64")

    @property
    def has_unusual_mask(self) -> bool:
        """Whether the channels are not for the speakers that players assume."""
        if not self.channel_mask and self.channels < 3:  # many programs leave it at 0
            return False
        return self.channel_mask is not None and self.channel_mask != _USUAL_MASKS.get(self.channels)

    @property
    def is_float(self) -> bool:
        """Whether samples beyond full scale survive in this sample format."""
        return self.subtype in _FLOATING

    def adapted(self, suffix: str = "", subtype: str | None = None, sample_rate: int | None = None) -> AudioInfo:
        """Change the format; properties not given are kept where possible.

        Args:
            suffix: suffix of the file to write, which sets the container; empty for the same one.
            subtype: sample format in libsndfile's names.
            sample_rate: sample rate in Hz.

        Raises:
            UnsupportedFormat: the container does not support such samples.
        """
        wanted = FORMAT_OF_SUFFIX.get(suffix.lower(), self.format)
        if wanted not in soundfile.available_formats():
            wanted = "FLAC"
        same_family = {"WAV", "WAVEX", "RF64"} if wanted == "WAV" else {wanted}
        opus = suffix.lower() == ".opus" and self.subtype != "OPUS"
        info = self
        if not soundfile.check_format(self.format, self.subtype, self.endian):
            same_family = set()  # formats read by FFmpeg have its names
        if self.format not in same_family or (opus and subtype is None):
            fitting = subtype or self._fitting_subtype(wanted, opus=opus)
            info = replace(self, format=wanted, subtype=fitting, endian="FILE", valid_bits=0)
        elif subtype is not None and subtype != self.subtype:
            info = replace(self, subtype=subtype, endian="FILE", valid_bits=0)
        if info is not self and not soundfile.check_format(info.format, info.subtype, info.endian):
            raise UnsupportedFormat(f"{info.format} does not support {info.subtype} samples")
        rate = sample_rate or self.sample_rate
        rates = _RATES.get(info.subtype, (rate,))
        rate = rates[min(bisect_left(rates, rate), len(rates) - 1)]
        return info if rate == self.sample_rate else replace(info, sample_rate=rate, frames=0)

    def nearest_writable(self) -> AudioInfo:
        """The same container with a writable sample format, if there is one; otherwise unchanged."""
        if self.is_writable:
            return self
        info = replace(self, subtype=self._fitting_subtype(self.format), endian="FILE", valid_bits=0)
        return info if info.is_writable else self

    def exceeds(self, frames: int) -> bool:
        """Whether this many samples exceed the size limit of the container."""
        size = frames * self.channels * SAMPLE_BYTES.get(self.subtype, 1)
        return self.format in _SIZE_OF_32_BITS and size > MAX_BYTES

    def with_room_for(self, frames: int) -> AudioInfo:
        """The same in a container for this many samples: RF64 instead of WAV beyond 4 GiB.

        Raises:
            UnsupportedFormat: the samples do not fit, and there is no larger variant of the container.
        """
        if not self.exceeds(frames):
            return self
        larger = replace(self, format="RF64", endian="FILE")
        if self.format not in ("WAV", "WAVEX") or not larger.is_writable:
            raise UnsupportedFormat(self.too_long())
        return larger

    def too_long(self) -> str:
        """Reason why the file cannot exceed 4 GiB."""
        return f"the result exceeds the 4 GiB limit of {self.format}; use --format w64 (or rf64, caf)"

    @property
    def is_writable(self) -> bool:
        """Whether libsndfile can write such a file."""
        return _is_writable(self.sample_rate, self.channels, self.format, self.subtype, self.endian)

    def _fitting_subtype(self, container: str, *, opus: bool = False) -> str:
        finest = "PCM_24" if self.subtype in _DEEP else "PCM_16"
        for subtype in ("OPUS" if opus else self.subtype, finest):
            # At a rate that all support, since the supported rates depend on the sample format.
            if replace(self, sample_rate=16_000, format=container, subtype=subtype, endian="FILE").is_writable:
                return subtype
        return soundfile.default_subtype(container) or subtype

    def obstacle(self) -> str:
        """Reason why it is not writable."""
        if self.format in TWO_FILES:
            return f"{self.format} can be read but not written; choose another container, such as --format wav"
        if not soundfile.check_format(self.format, self.subtype, self.endian):
            return f"{self.format} does not support {self.subtype} samples"
        kind = f"{self.format} with {self.subtype} samples"
        if replace(self, channels=1).is_writable:
            return f"{kind} does not support {self.channels} channels"
        if replace(self, sample_rate=16_000).is_writable:
            return f"{kind} does not support {self.sample_rate} Hz"
        return f"{kind} cannot be written"

    def changes_to(self, other: AudioInfo) -> list[str]:
        """Notes on changing to another format."""
        changes = []
        if self.subtype != other.subtype:
            changes.append(f"{self.subtype} samples converted to {other.subtype}")
        if other.format == "RF64" and self.format in ("WAV", "WAVEX"):
            changes.append("exceeds the 4 GiB limit of WAV: written as RF64 (or use --format w64)")
        if not other.holds_channel_mask and self.has_unusual_mask:
            changes.append(f"{other.format} cannot store the channel mask {self.channel_mask:#x}")
        if self.sample_rate != other.sample_rate:
            changes.append(f"{self.sample_rate} Hz resampled to {other.sample_rate} Hz")
        return changes


@functools.lru_cache(1 << 10)
def _is_writable(sample_rate: int, channels: int, format: str, subtype: str, endian: str) -> bool:
    rates = _RATES.get(subtype, (sample_rate,))
    if format in TWO_FILES or sample_rate not in rates or (subtype in _GARBLED and channels > 1):
        return False
    try:
        soundfile.SoundFile(io.BytesIO(), "w", sample_rate, channels, subtype, endian, format).close()
    except (soundfile.SoundFileError, ValueError):
        return False
    return True
