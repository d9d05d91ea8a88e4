"""The exceptions of dccrn, by what a caller can do about them.

DccrnError
├── AudioError              one file could not be enhanced; the batch goes on
│   ├── UnreadableAudio     not audio, damaged, cut off, vanished
│   ├── UnsupportedFormat   audio that cannot be written back in its own form
│   └── InvalidSamples      NaN or infinite samples in the signal
├── MetricError             a measure is not defined for a pair; the table says so and goes on
├── CheckpointError         a model file that is missing, damaged or of another network
├── OptionError             options or paths that cannot be meant
├── DataError               training or validation data that cannot be used
├── StorageError            a model or a state of training that cannot be written
├── SoundDeviceError        a microphone, loudspeaker or sound system that cannot be used
└── MissingDependency       an optional package that this feature needs
"""

from __future__ import annotations

from os import PathLike


class DccrnError(Exception):
    """Root of all errors that dccrn raises on purpose.

    Args:
        message: what is wrong, in plain words.
        path: the file or folder that it is about, shown before the message.
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
    """The recording cannot be written in the form asked for."""


class InvalidSamples(AudioError):
    """The signal holds NaN or infinite samples."""


class MetricError(DccrnError):
    """A measure is not defined for this pair."""


class CheckpointError(DccrnError):
    """A model file cannot be used."""


class OptionError(DccrnError):
    """An option or a combination of paths cannot be meant."""


class DataError(DccrnError):
    """Training or validation data cannot be used."""


class StorageError(DccrnError):
    """A file cannot be written: the disk is full, say."""


class SoundDeviceError(DccrnError):
    """A microphone, a loudspeaker or the sound system cannot be used."""


class MissingDependency(DccrnError):
    """An optional package is needed.

    Args:
        package: name of the missing package.
        extra: the extra of this project that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is needed for this: pip install 'dccrn-cli[{extra}]'")
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[type[DccrnError], tuple[object, ...]]:
        return type(self), (self.package, self.extra)
