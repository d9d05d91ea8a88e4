"""Recordings that test sets are made of, identified by name and content."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dccrn_cli.data.clips import SILENCE, Clip, digest
from dccrn_cli.data.speech_level import active_rms
from dccrn_cli.errors import DataError, OptionError


class SourceRecording(NamedTuple):
    """A decoded recording, float32 `(samples,)`, and its origin."""

    clip: Clip
    samples: np.ndarray
    digest: str


class Sources:
    """Recordings to choose from.

    Args:
        clips: locations of the recordings.

    Attributes:
        unusable: recordings that were chosen but could not be used, by index. Each is replaced by another
            recording; the rest of the choice stays the same.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.clips = list(clips)
        self.unusable: dict[int, DataError] = {}
        self.groups: dict[str, list[int]] = {}
        self._named: dict[str, list[Clip]] = {}
        for index, clip in enumerate(self.clips):
            self.groups.setdefault(clip.group, []).append(index)
            self._named.setdefault(clip.name, []).append(clip)

    def first(self, order: Iterable[int], sample_rate: int, silence: float = SILENCE) -> SourceRecording:
        """The first usable recording in a given order of indices.

        Raises:
            OptionError: none is usable.
        """
        for index in order:
            if index in self.unusable:
                continue
            clip = self.clips[index]
            try:
                content = clip.content()
                samples = clip.decode(content, sample_rate)
                if active_rms(samples, sample_rate) <= silence:
                    raise DataError("contains only silence", clip.name)
                return SourceRecording(clip, samples, digest(content))
            except DataError as error:
                self.unusable[index] = error
        reasons = "; ".join(map(str, itertools.islice(self.unusable.values(), 3)))
        raise OptionError("no usable recording is left" + (f" ({reasons})" if reasons else ""))

    def recall(self, name: str, content_digest: str, sample_rate: int) -> np.ndarray:
        """Find a recording by name, float32 `(samples,)`.

        Raises:
            DataError: there is none with this name and content.
        """
        if name not in self._named:
            raise DataError("no such recording in the given folders", name)
        for clip in self._named[name]:
            content = clip.content()
            if digest(content) == content_digest:
                return clip.decode(content, sample_rate)
        raise DataError("is not the recording that the metadata refer to", name)
