"""Turns the paths given by a user into training and validation data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dccrn_cli.data.clip_cache import ClipCache, cache_budget
from dccrn_cli.data.clips import ClipPool, find_clips, set_aside
from dccrn_cli.data.pairs import Pair, read_pairs
from dccrn_cli.mixing.mixer import Mixer, MixingOptions
from dccrn_cli.mixing.source import mixed_pairs

HELD_OUT_SPEECH, HELD_OUT_NOISE = 0.02, 0.03
HELD_OUT_PAIRS = 64


@dataclass(frozen=True)
class TrainingData:
    """Mixer for training and fixed pairs for validation."""

    mixer: Mixer
    pairs: list[Pair]

    def names(self) -> list[list[str]]:
        """Names of all clips and pairs, by role."""
        rooms = [] if self.mixer.rooms is None else self.mixer.rooms.clips
        roles = (self.mixer.speech.clips, self.mixer.noise.clips, rooms, self.pairs)
        return [[each.name for each in role] for role in roles]


def find_data(
    clean: Iterable[Path],
    noise: Iterable[Path],
    rooms: Iterable[Path] | None,
    validation: Path | None,
    mixing: MixingOptions,
    seed: int,
    processes: int = 1,
) -> TrainingData:
    """Find clips of speech, noise and rooms; without `validation`, validate on mixtures of held-out clips.

    Args:
        clean, noise, rooms: files, folders, archives or lists of recordings.
        validation: folder of noisy and clean pairs.
        mixing, seed: options and seed of the mixer.
        processes: number of mixing processes on this machine, which share the memory for decoded clips.

    Raises:
        DataError: a path does not exist or contains no audio.
        OptionError: there are too few clips to hold some out.
    """
    speech_clips, noise_clips = find_clips(clean), find_clips(noise)
    cache = ClipCache(cache_budget(processes))
    room_pool = ClipPool(find_clips(rooms), cache=cache) if rooms else None
    if validation is not None:
        pairs = read_pairs(validation)
    else:
        speech_clips, held_speech = set_aside(speech_clips, HELD_OUT_SPEECH, "speech")
        noise_clips, held_noise = set_aside(noise_clips, HELD_OUT_NOISE, "noise")
        with_speech = dataclasses.replace(mixing, noise_only=0.0)  # metrics need speech
        held = Mixer(ClipPool(held_speech), ClipPool(held_noise), room_pool, with_speech, seed + 1)
        pairs = mixed_pairs(held, HELD_OUT_PAIRS)
    speech_pool, noise_pool = (ClipPool(clips, cache=cache) for clips in (speech_clips, noise_clips))
    return TrainingData(Mixer(speech_pool, noise_pool, room_pool, mixing, seed), pairs)
