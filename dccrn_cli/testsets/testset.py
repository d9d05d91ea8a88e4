"""Test sets: mixtures determined by a recipe and a number, each described by a row from which it can be remade."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dccrn_cli.data.clips import HELD_OUT, SILENCE, Clip, digest, draw_start, set_aside, stretch
from dccrn_cli.data.speech_level import active_rms, rms
from dccrn_cli.errors import AudioError, DataError, OptionError
from dccrn_cli.mixing.mixing_options import T60_S
from dccrn_cli.mixing.rooms import draw_t60_s
from dccrn_cli.testsets.mixture import Mixture, Room, blend, in_room, join, measured_room, simulated_room
from dccrn_cli.testsets.mixture_recipe import MixtureRecipe
from dccrn_cli.testsets.rows import SIMULATED, VERSION, Row, joined_names, mixture_name
from dccrn_cli.testsets.sources import SourceRecording, Sources

SNR_TOLERANCE_DB = 0.05
"""Largest deviation from the requested SNR; a mixture whose sample format is too coarse for that is rejected."""

_CORRECTION_DB = 0.5
_PEAK = 0.94  # leaves room for the correction
_PAUSE = 0.05
_FAINT = 0.01
_ATTEMPTS = 8
_SPEECH, _NOISE, _ROOM, _LEVEL, _SPEECH_ORDER, _NOISE_ORDER = range(6)
_NO_ROOM: dict[str, Any] = {"room": "", "room_hash": "", "t60_s": 0.0, "room_seed": 0}


def noise_sets(
    noise: Sequence[Clip], unseen: Sequence[Clip], unseen_share: float | None, split: str | None
) -> dict[str, Sources]:
    """Noise by the name of its set: a single set, or `seen` and `unseen`.

    Args:
        noise: recordings of noise.
        unseen: further recordings that no training has seen.
        unseen_share: share of `noise` that no training has seen: the files that `set_aside` holds out. None means
            `HELD_OUT`, the share held out by fine-tuning on the same recordings, if both sets are wanted and
            `unseen` is empty, otherwise 0.
        split: the sets wanted; None for all, or for a single unnamed set if nothing separates them.

    Raises:
        OptionError: a set would be empty.
    """
    seen = list(noise)
    if unseen_share is None:
        unseen_share = HELD_OUT if split == "both" and not unseen else 0.0
    if unseen_share:
        seen, aside = set_aside(seen, unseen_share, "noise")
        unseen = [*unseen, *aside]
    if not unseen:
        if split == "both":
            raise OptionError("no noise is marked as unseen; give --unseen-noise or --unseen-share")
        return {split or "": Sources(seen)}
    sets = {"seen": seen, "unseen": list(unseen)}
    if split in sets:
        sets = {split: sets[split]}
    return {name: Sources(clips) for name, clips in sets.items()}


class MixtureSet:
    """Makes the mixtures of a test set.

    Args:
        recipe: how mixtures are made.
        clean: recordings of speech.
        noise: recordings of noise by the name of their set, such as seen and unseen.
        rooms: measured impulse responses; None for simulated ones.
    """

    def __init__(
        self, recipe: MixtureRecipe, clean: Sources, noise: Mapping[str, Sources], rooms: Sources | None
    ) -> None:
        self.recipe = recipe
        self.clean = clean
        self.noise = noise
        self.rooms = rooms
        pools = {"clean": clean, **noise, "rooms": rooms}
        names = {key: [clip.name for clip in pool.clips] if pool else [] for key, pool in pools.items()}
        self.fingerprint = digest(os.fsencode(repr((VERSION, recipe, names))))

    def make(self, number: int) -> tuple[Row, Mixture]:
        """Make mixture `number`, always the same as long as the same recordings are usable.

        Raises:
            OptionError: no recording is usable.
            AudioError: the sample format is too coarse for its level and SNR.
        """
        recipe, rate = self.recipe, self.recipe.sample_rate
        turn, in_class = divmod(number, recipe.snr_classes)
        turn, in_set = divmod(turn, len(self.noise))
        reverb = math.floor((turn + 1) * recipe.reverb) > math.floor(turn * recipe.reverb)
        noise_set = list(self.noise)[in_set]
        rng = self._rng(number, _LEVEL)
        snr_db, level_db = recipe.snr_of(number, rng), recipe.level_db.draw(rng, recipe.step_db)
        spoken, clean_offset, speech = self._speech(number)
        noise_turn = turn * recipe.snr_classes + in_class
        source, noise_offset, noise = self._noise(noise_set, in_set, noise_turn, number, len(speech))
        columns, room = self._room(number) if reverb else (_NO_ROOM, None)
        heard, target = in_room(speech, room, recipe.target, rate)

        active = active_rms(heard, rate)
        clean_scale = 10 ** (level_db / 20) / active
        reference = active if recipe.snr_on == "active" else rms(heard)
        noise_scale = clean_scale * reference / rms(noise) * 10 ** (-snr_db / 20)
        signals = (heard * clean_scale, target * clean_scale, noise * noise_scale)
        peak = max(float(np.abs(x).max()) for x in (*signals, signals[0] + signals[2]))
        gain = min(1.0, _PEAK / peak)
        row = Row(
            name="", snr_db=snr_db, snr_on=recipe.snr_on, noise_set=noise_set, speaker=spoken[0].clip.group,
            noise_class=source.clip.group, reverb=int(reverb), target=recipe.target, level_db=level_db,
            gain_db=20 * math.log10(gain), clean=joined_names(one.clip.name for one in spoken),
            clean_hash="|".join(one.digest for one in spoken), clean_offset=clean_offset, samples=len(speech),
            noise=joined_names([source.clip.name]), noise_hash=source.digest, noise_offset=noise_offset, **columns,
            clean_scale=clean_scale * gain, noise_scale=noise_scale * gain, sample_rate=rate,
            sample_format=recipe.sample_format, seed=recipe.seed, number=number, recipe=self.fingerprint, digest="",
            version=VERSION,
        )  # fmt: skip
        row = dataclasses.replace(row, name=mixture_name(row, recipe.naming))
        mixture = blend(row, heard, target, noise)
        if abs(mixture.snr_error_db) < _CORRECTION_DB:
            # Rounding moves frames of speech across the activity threshold.
            row = dataclasses.replace(row, noise_scale=row.noise_scale * 10 ** (mixture.snr_error_db / 20))
            mixture = blend(row, heard, target, noise)
        if abs(mixture.snr_error_db) > SNR_TOLERANCE_DB:
            raise AudioError(
                f"{recipe.sample_format} samples are too coarse for speech at {level_db + row.gain_db:.1f} dBFS and "
                f"{snr_db:g} dB SNR",
                row.name,
            )
        return dataclasses.replace(row, digest=mixture.digest), mixture

    def _rng(self, number: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.recipe.seed, number, purpose))

    def _speech(self, number: int) -> tuple[list[SourceRecording], int, np.ndarray]:
        """Recordings, offset in their concatenation, and the excerpt from there on."""
        rate, rng = self.recipe.sample_rate, self._rng(number, _SPEECH)
        spoken = [self.clean.first(self._order(self.clean, number, _SPEECH_ORDER, rng), rate)]
        joined = spoken[0].samples
        length = len(joined) if self.recipe.seconds is None else round(self.recipe.seconds * rate)
        while len(joined) < length:
            others = self.clean.groups[spoken[0].clip.group]
            spoken.append(self.clean.first(map(int, rng.permutation(others)), rate))
            joined = join([one.samples for one in spoken], rate)
        threshold = _PAUSE * active_rms(joined, rate)
        for _ in range(_ATTEMPTS):
            offset = draw_start(len(joined), length, rng)
            if active_rms(joined[offset : offset + length], rate) > threshold:
                break
        else:  # hardly any speech: take the loudest part
            offset = min(max(int(np.abs(joined).argmax()) - length // 2, 0), len(joined) - length)
        return spoken, offset, joined[offset : offset + length]

    def _noise(
        self, noise_set: str, in_set: int, turn: int, number: int, length: int
    ) -> tuple[SourceRecording, int, np.ndarray]:
        """SourceRecording, offset, and the excerpt from there on, avoiding nearly silent parts."""
        sources, rng = self.noise[noise_set], self._rng(number, _NOISE)
        order = self._order(sources, turn, _NOISE_ORDER + in_set, rng)
        source = sources.first(order, self.recipe.sample_rate)
        faintest = max(SILENCE, _FAINT * active_rms(source.samples, self.recipe.sample_rate))
        for _ in range(_ATTEMPTS):
            offset = draw_start(len(source.samples), length, rng)
            noise = stretch(source.samples, offset, length)
            if rms(noise) > faintest:
                break
        else:  # mostly pauses: take the loudest part
            offset = max(int(np.abs(source.samples).argmax()) - length // 2, 0)
            noise = stretch(source.samples, offset, length)
        return source, offset, noise

    def _room(self, number: int) -> tuple[dict[str, Any], Room]:
        """Columns of the metadata row, and the room."""
        rate, rng = self.recipe.sample_rate, self._rng(number, _ROOM)
        if self.rooms is None:
            t60_s, seed = draw_t60_s(rng, T60_S), int(rng.integers(2**31))
            simulated = {"room": SIMULATED, "t60_s": t60_s, "room_seed": seed}
            return _NO_ROOM | simulated, simulated_room(t60_s, seed, rate)
        recording = self.rooms.first(map(int, rng.permutation(len(self.rooms.clips))), rate, silence=0.0)
        measured = {"room": joined_names([recording.clip.name]), "room_hash": recording.digest}
        return _NO_ROOM | measured, measured_room(recording.samples, rate)

    def _order(self, sources: Sources, turn: int, purpose: int, rng: np.random.Generator) -> Iterator[int]:
        """The recording whose turn it is (each is used once before any repeats), then all in random order."""
        cycle, place = divmod(turn, len(sources.clips))
        yield int(_shuffled(len(sources.clips), self.recipe.seed, cycle, purpose)[place])
        yield from map(int, rng.permutation(len(sources.clips)))


def remake(row: Row, clean: Sources, noise: Sources, rooms: Sources | None) -> Mixture:
    """Remake the mixture that a row describes, bit for bit.

    Raises:
        DataError: a recording is missing or different, or the result differs.
    """
    rate, names, digests = row.sample_rate, row.clean_names, row.clean_hash.split("|")
    if len(names) != len(digests):
        raise DataError("does not have one digest per recording", row.name)
    spoken = [clean.recall(name, known, rate) for name, known in zip(names, digests, strict=True)]
    speech = join(spoken, rate)[row.clean_offset : row.clean_offset + row.samples]
    if len(speech) != row.samples:
        raise DataError("is longer than its recordings", row.name)
    source = noise.recall(row.noise_name, row.noise_hash, rate)
    if row.noise_offset > len(source):
        raise DataError("starts after the end of its noise", row.name)
    room: Room | None = None
    if row.room == SIMULATED:
        room = simulated_room(row.t60_s, row.room_seed, rate)
    elif row.room:
        if rooms is None:
            raise DataError("is the room of a mixture; give the folder of impulse responses", row.room_name)
        room = measured_room(rooms.recall(row.room_name, row.room_hash, rate), rate)
    heard, target = in_room(speech, room, row.target, rate)
    mixture = blend(row, heard, target, stretch(source, row.noise_offset, row.samples))
    if mixture.digest != row.digest or abs(mixture.snr_error_db) > SNR_TOLERANCE_DB:
        if row.version != VERSION:
            raise DataError(
                f"cannot be reproduced: this dccrn makes version {VERSION} of this mixture, the metadata are of "
                f"version {row.version}",
                row.name,
            )
        raise DataError("cannot be reproduced: the metadata, the decoder or the resampler has changed", row.name)
    return mixture


@lru_cache(maxsize=8)
def _shuffled(count: int, seed: int, cycle: int, purpose: int) -> np.ndarray:
    return np.random.default_rng((seed, cycle, purpose)).permutation(count)
