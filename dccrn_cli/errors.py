"""The exceptions of dccrn, organised by what a caller can do about them.

DccrnError
├── AudioError              one file could not be processed; the batch continues
│   ├── UnreadableAudio     missing, damaged, truncated or not audio
│   ├── UnsupportedFormat   audio that cannot be written in the required format
│   └── InvalidSamples      NaN or infinite samples in the signal
├── MetricError             a metric is undefined for a pair; the table says so and continues
├── CheckpointError         a model file that is missing, damaged or of another network
├── OptionError             invalid options or paths
├── DataError               unusable training or validation data
├── StorageError            a file that cannot be written
├── SoundDeviceError        an unusable microphone, loudspeaker or sound system
└── MissingDependency       an optional package that a feature needs
"""

from __future__ import annotations

from os import PathLike


class DccrnError(Exception):
    """Root of all errors that dccrn raises deliberately.

    Args:
        message: description of the problem.
        path: the file or folder concerned, shown before the message.
    """

    def __init__(self, message: str, path: str | PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.path}: {self.message}"

    def __reduce__(self) -> tuple[type[DccrnError], tuple[object, ...]]:
        return type(self), (self.message, self.path)


class AudioError(DccrnError):
    """One recording could not be processed."""


class UnreadableAudio(AudioError):
    """The file is not audio, is damaged or cannot be opened."""


class UnsupportedFormat(AudioError):
    """The recording cannot be written in the required format."""


class InvalidSamples(AudioError):
    """The signal contains NaN or infinite samples."""


class MetricError(DccrnError):
    """A metric is undefined for this pair."""


class CheckpointError(DccrnError):
    """A model file cannot be used."""


class OptionError(DccrnError):
    """An option, or a combination of options or paths, is invalid."""


class DataError(DccrnError):
    """Training or validation data cannot be used."""


class StorageError(DccrnError):
    """A file cannot be written, for example because the disk is full."""


class SoundDeviceError(DccrnError):
    """A microphone, loudspeaker or sound system cannot be used."""


class MissingDependency(DccrnError):
    """An optional package is needed.

    Args:
        package: name of the missing package.
        extra: the extra of this project that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is needed for this: pip install 'dccrn-cli[{extra}]'")
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[type[DccrnError], tuple[object, ...]]:
        return type(self), (self.package, self.extra)
