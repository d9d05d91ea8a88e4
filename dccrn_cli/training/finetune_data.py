"""A user's own recordings for fine-tuning, split into training and comparison data."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dccrn_cli.data.clip_cache import ClipCache
from dccrn_cli.data.clips import HELD_OUT, SILENCE, Clip, ClipPool, digest, find_clips, set_aside
from dccrn_cli.data.pairs import Pair, find_couples, read_pair
from dccrn_cli.data.speech_level import rms
from dccrn_cli.errors import OptionError
from dccrn_cli.metrics.align import CLEAR_CORRELATION, find_shift
from dccrn_cli.mixing.mixer import Mixer
from dccrn_cli.mixing.mixing_options import AS_THEY_ARE, MixingOptions
from dccrn_cli.mixing.source import Blend, ExampleSource, RecordedPairs, mixed_pairs
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.training.retention_set import CLIP_S, SNRS_DB

PAIRS_PER_SNR = 6

_PLAIN = MixingOptions.from_table({**AS_THEY_ARE, "seconds": CLIP_S, "level_db": (-26.0, -26.0)})


@dataclass(frozen=True)
class OwnData:
    """A user's recordings, split for fine-tuning.

    Attributes:
        source: examples to train on, including general ones.
        held_out: pairs to compare models on, by SNR in dB; NaN for recorded pairs.
        summary: one-line description for display.
        speech, noise: all clips of clean speech, and of noise if it is recorded separately.
    """

    source: ExampleSource
    held_out: dict[float, list[Pair]]
    summary: str
    speech: list[Clip]
    noise: list[Clip]

    @property
    def fingerprint(self) -> str:
        """Digest of the paths of the recordings."""
        clips = [*self.speech, *self.noise]
        return digest(*(os.fsencode(f"{os.path.abspath(clip.source)}\0{clip.name}\0") for clip in clips))

    def some_held_out(self) -> list[Pair]:
        """A few held-out pairs of each SNR."""
        return [pair for pairs in self.held_out.values() for pair in pairs[:2]]


def own_data(
    clean: Iterable[Path],
    noise: Iterable[Path],
    rooms: Iterable[Path] | None,
    recorded: Sequence[tuple[Path, Path]],
    mixing: MixingOptions,
    general: float,
    seed: int,
) -> OwnData:
    """Split a user's recordings by file and make examples of them.

    Args:
        clean, noise: speech and noise to mix; both or none.
        rooms: impulse responses.
        recorded: folders of noisy and of clean speech with the same file names.
        mixing: how examples of speech and noise are made.
        general: share of examples with noise unrelated to the user's own.
        seed: seed of all examples.

    Raises:
        DataError: a path does not exist or contains no audio, or pairs do not match.
        OptionError: there is nothing to train on, or only one recording of a kind.
    """
    held_out: dict[float, list[Pair]] = {}
    sources: list[tuple[ExampleSource, float]] = []
    foreign: list[ExampleSource] = []
    counts: list[str] = []
    all_speech: list[Clip] = []
    all_noise: list[Clip] = []
    clean, noise = list(clean), list(noise)
    if bool(clean) != bool(noise) or not (clean or recorded):
        raise OptionError("give --clean and --noise, or --pairs, or all three")
    if rooms and not clean:
        raise OptionError("--rooms applies only to mixed speech: give --clean and --noise too")
    if clean:
        cache = ClipCache()
        room_pool = ClipPool(find_clips(rooms), cache=cache) if rooms else None
        all_speech, all_noise = find_clips(clean), find_clips(noise)
        speech, held_speech = set_aside(all_speech, HELD_OUT, "speech")
        noises, held_noise = set_aside(all_noise, HELD_OUT, "noise")
        pools = ClipPool(speech, cache=cache), ClipPool(noises, cache=cache)
        held_out.update(plain_mixtures(held_speech, held_noise, seed + 1))
        sources.append((Mixer(*pools, room_pool, mixing, seed), 1 - general))
        foreign.append(_foreign(pools[0], mixing, seed + 2))
        counts.append(f"{len(speech):,} + {len(held_speech):,} speech files")
        counts.append(f"{len(noises):,} + {len(held_noise):,} noise files")
    if recorded:
        clean_of = dict(couple for folders in recorded for couple in find_couples(*folders))
        all_speech = all_speech + list(clean_of.values())
        kept, held = set_aside(list(clean_of), HELD_OUT, "paired speech")
        pairs = [_aligned(read_pair(clip, clean_of[clip])) for clip in kept]
        held_out[math.nan] = _pieces([_aligned(read_pair(clip, clean_of[clip])) for clip in held])
        sources.append((RecordedPairs(pairs, mixing, seed + 3), 1 - general))
        if not clean:
            foreign.append(_foreign(ClipPool([clean_of[clip] for clip in kept]), mixing, seed + 2))
        counts.append(f"{len(kept):,} + {len(held):,} recorded pairs")
    sources += [(one, general * len(sources)) for one in foreign]
    summary = ", ".join(counts) + " (training + held out)"
    return OwnData(Blend(sources, seed + 4), held_out, summary, all_speech, all_noise)


def plain_mixtures(speech: list[Clip], noise: list[Clip], seed: int) -> dict[float, list[Pair]]:
    """Mixtures of a few seconds at each of `SNRS_DB`, without any processing of speech or noise."""
    pools = ClipPool(speech), ClipPool(noise)
    made = {}
    for index, snr_db in enumerate(SNRS_DB):
        options = dataclasses.replace(_PLAIN, snr_db=(snr_db, snr_db))
        made[snr_db] = mixed_pairs(Mixer(*pools, None, options, seed + 1000 * index), PAIRS_PER_SNR)
    return made


def _foreign(speech: ClipPool, mixing: MixingOptions, seed: int) -> Mixer:
    """Speech in generated noise, or in other voices if there are any."""
    babble = 1 / 4 if len(speech.groups) > 1 else 0.0
    return Mixer(speech, speech, None, dataclasses.replace(mixing, babble=babble, synthetic=1.0), seed)


def _aligned(pair: Pair) -> Pair:
    """Remove the delay between the signals of a pair, if it is clear."""
    shift = find_shift(pair.clean[:, None], pair.noisy[:, None], SAMPLE_RATE)
    if shift is None or shift.correlation < CLEAR_CORRELATION or shift.delay_samples == 0:
        return pair
    lag = shift.delay_samples
    noisy, clean = (pair.noisy[lag:], pair.clean[:-lag]) if lag > 0 else (pair.noisy[:lag], pair.clean[-lag:])
    return Pair(pair.name, noisy, clean)


def _pieces(pairs: Sequence[Pair]) -> list[Pair]:
    """Split pairs into pieces of a few seconds, equally many per pair and limited in total."""
    size = round(CLIP_S * SAMPLE_RATE)
    each = max(PAIRS_PER_SNR * len(SNRS_DB) // len(pairs), 1)
    pieces = []
    for pair in pairs:
        starts = range(0, max(len(pair.clean) - size, 0) + 1, size)
        chosen = starts[:: max(len(starts) // each, 1)][:each]
        pieces += [Pair(pair.name, pair.noisy[s : s + size], pair.clean[s : s + size]) for s in chosen]
    return [piece for piece in pieces if rms(piece.clean) > SILENCE] or pieces
