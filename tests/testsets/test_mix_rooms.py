"""Test sets with rooms, and the reverberation in their targets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from testset_data import mixtures, recordings

from dccrn_cli.data.clips import find_clips
from dccrn_cli.data.speech_level import rms
from dccrn_cli.mixing.impulse_responses import ROOM_S
from dccrn_cli.mixing.mixing_options import Target
from dccrn_cli.mixing.rooms import LEAD, simulate_room
from dccrn_cli.testsets.mixture import simulated_room
from dccrn_cli.testsets.mixture_recipe import MixtureRecipe
from dccrn_cli.testsets.sources import Sources
from dccrn_cli.testsets.testset import MixtureSet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("data"))


def test_simulated_rooms_use_the_image_method_at_the_rate_of_the_set(data: Path) -> None:
    """The image method: direct sound and reflections as separate pulses, then a tail of the time in the metadata."""
    for sample_rate in (16_000, 48_000):
        row, _ = mixtures(data, reverb=1.0, sample_rate=sample_rate).make(3)
        room = simulated_room(row.t60_s, row.room_seed, sample_rate)
        rng = np.random.default_rng(row.room_seed)
        (expected,) = simulate_room(rng, (row.t60_s, row.t60_s), 1, sample_rate, dtype=np.float64)
        np.testing.assert_array_equal(room.response, expected.astype(np.float32))
        assert room.direct == LEAD
        assert len(room.response) == pytest.approx(min(row.t60_s, ROOM_S) * sample_rate, rel=0.01)


def test_simulated_rooms_do_not_depend_on_the_processor() -> None:
    """The metadata reproduce them elsewhere, where NumPy's sines may differ in the last bit."""
    script = (
        "import hashlib; from dccrn_cli.testsets.mixture import simulated_room\n"
        "print(hashlib.sha256(simulated_room(0.7, 5, 16_000).response.tobytes()).hexdigest())"
    )
    fewer = "AVX512_SPR AVX512_ICL AVX512_CNL AVX512_CLX AVX512_SKX AVX512CD AVX512F AVX2 FMA3 X86_V4 X86_V3"
    digests = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env=os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for disabled in ("", fewer)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("measured", [False, True])
def test_targets_keep_their_part_of_the_reverberation(data: Path, measured: bool) -> None:
    speech, noise = Sources(find_clips([data / "speech"])), {"": Sources(find_clips([data / "noise"]))}
    rooms = Sources(find_clips([data / "rooms"])) if measured else None
    reverberant, early, dry = (
        MixtureSet(MixtureRecipe(reverb=1.0, target=target, sample_format="f32"), speech, noise, rooms).make(2)[1]
        for target in get_args(Target)
    )
    np.testing.assert_array_equal(reverberant.noisy, early.noisy)
    np.testing.assert_array_equal(reverberant.noisy, dry.noisy)
    removed = [rms(reverberant.clean - kept.clean) for kept in (reverberant, early, dry)]
    assert 0 == removed[0] < removed[1] < removed[2] < rms(reverberant.clean)


def test_dry_target_is_the_direct_sound(data: Path) -> None:
    dry, wet = (mixtures(data, reverb=1.0, target=target).make(0)[1] for target in ("dry", "reverberant"))
    np.testing.assert_array_equal(dry.noisy, wet.noisy)
    delays = np.arange(-40, 41)
    inner = slice(100, len(dry.clean) - 100)
    match = [np.dot(np.roll(dry.clean, int(delay))[inner], wet.clean[inner]) for delay in delays]
    assert delays[int(np.argmax(match))] == 0
    assert rms(dry.clean) < rms(wet.clean)
