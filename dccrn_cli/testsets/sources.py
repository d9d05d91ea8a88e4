"""Recordings that test sets are made of, told apart by name and content."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dccrn_cli.data.clips import SILENCE, Clip, digest
from dccrn_cli.data.speech_level import active_rms
from dccrn_cli.errors import DataError, OptionError


class Recording(NamedTuple):
    """A decoded recording, float32 `(samples,)`, and where it comes from."""

    clip: Clip
    samples: np.ndarray
    digest: str


class Sources:
    """Recordings to take from.

    Args:
        clips: where they lie.

    Attributes:
        unusable: those that were wanted and could not be used, by their number. Others take their
            place, and only theirs.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.clips = list(clips)
        self.unusable: dict[int, DataError] = {}
        self.groups: dict[str, list[int]] = {}
        self._named: dict[str, list[Clip]] = {}
        for index, clip in enumerate(self.clips):
            self.groups.setdefault(clip.group, []).append(index)
            self._named.setdefault(clip.name, []).append(clip)

    def first(self, order: Iterable[int], sample_rate: int, silence: float = SILENCE) -> Recording:
        """The first recording, in an order of their numbers, that can be used.

        Raises:
            OptionError: none can.
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
                return Recording(clip, samples, digest(content))
            except DataError as error:
                self.unusable[index] = error
        reasons = "; ".join(map(str, itertools.islice(self.unusable.values(), 3)))
        raise OptionError("no recording is left that can be used" + (f" ({reasons})" if reasons else ""))

    def recall(self, name: str, content_digest: str, sample_rate: int) -> np.ndarray:
        """A recording by its name, float32 `(samples,)`.

        Raises:
            DataError: there is none of this name and content.
        """
        if name not in self._named:
            raise DataError("no such recording in the folders given", name)
        for clip in self._named[name]:
            content = clip.content()
            if digest(content) == content_digest:
                return clip.decode(content, sample_rate)
        raise DataError("is not the recording that the metadata were made with", name)
