"""The ring buffer between two threads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from dccrn_cli.audio.ring import SampleRing


def test_order_is_preserved_for_any_block_sizes() -> None:
    rng = np.random.default_rng(0)
    signal = np.arange(5000, dtype=np.float32)[:, None].repeat(2, axis=1)
    out: list[np.ndarray] = []
    ring, at = SampleRing(97, 2), 0
    while sum(map(len, out)) < len(signal):
        at += ring.write(signal[at : at + rng.integers(0, 60)])
        out.append(ring.read(int(rng.integers(0, 60))))
    np.testing.assert_array_equal(np.concatenate(out), signal)


def test_full_and_empty_buffers() -> None:
    ring = SampleRing(10, 1)
    assert ring.write(np.ones((14, 1), np.float32)) == 10
    assert (ring.available, ring.free) == (10, 0)
    assert ring.skip(4) == 4
    out = np.full((8, 1), 7, np.float32)
    assert ring.read_into(out) == 6
    assert out[:, 0].tolist() == [1] * 6 + [7] * 2
    assert ring.skip(1) == 0


@pytest.mark.parametrize("capacity", [64, 1000])
def test_two_threads(capacity: int) -> None:
    ring, total = SampleRing(capacity, 1), 100 * capacity
    signal = np.arange(total, dtype=np.float32)[:, None]

    def write() -> None:
        at = 0
        while at < total:
            at += ring.write(signal[at : at + 37])
            time.sleep(0)

    writer = threading.Thread(target=write)
    writer.start()
    got, parts = 0, []
    while got < total:
        parts.append(ring.read(53))
        time.sleep(0)
        got += len(parts[-1])
    writer.join()
    np.testing.assert_array_equal(np.concatenate(parts), signal)
