"""A fixed set of noisy speech included in the package, on which a fine-tuned model must not get worse.

The speech is synthesised and the noise generated, so nothing depends on the data used for tuning. The
figures say little about how good a model is, but much about whether it has got worse.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from dccrn_cli.data.clips import Clip, find_clips
from dccrn_cli.data.pairs import Pair
from dccrn_cli.data.speech_level import TINY, active_rms, rms
from dccrn_cli.mixing.noises import synthetic_noise
from dccrn_cli.nn.config import SAMPLE_RATE

CLIP_S = 4.0

SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
"""SNR classes of the sets on which models are compared."""

BABBLE_EVERY = 6
"""One pair in this many has other voices as its noise."""

PAIRS = 48

_SEED = 20_200_708


def speech_folder() -> Path:
    """Folder of the clips."""
    return Path(str(resources.files("dccrn_cli"))) / "yardstick"


def speech_clips() -> list[Clip]:
    """The clips, each 4 s long."""
    return find_clips([speech_folder()])


def yardstick() -> dict[float, list[Pair]]:
    """Pairs by SNR in dB; those with infinite SNR are clean."""
    speech = [clip.read().astype(np.float32) / 32768 for clip in speech_clips()]
    pairs: dict[float, list[Pair]] = {snr_db: [] for snr_db in SNRS_DB}
    for number in range(PAIRS):
        rng = np.random.default_rng((_SEED, number))
        snr_db = SNRS_DB[number % len(SNRS_DB)]
        clean = speech[number % len(speech)]
        if number // len(SNRS_DB) % BABBLE_EVERY == 0:
            others = rng.choice([n for n in range(len(speech)) if n != number % len(speech)], 4, replace=False)
            noise = np.sum([np.roll(speech[other], int(rng.integers(SAMPLE_RATE))) for other in others], axis=0)
        else:
            noise = synthetic_noise(len(clean), rng)
        gain = active_rms(clean) / (rms(noise) + TINY) * 10 ** (-snr_db / 20)
        pairs[snr_db].append(Pair(f"{number:02}", (clean + gain * noise).astype(np.float32), clean))
    pairs[float("inf")] = [Pair(f"clean_{number:02}", clip, clip) for number, clip in enumerate(speech[::3])]
    return pairs
