"""Callers' arrays: any declared layout, any real dtype, numpy or torch."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, lively, speechlike

from dccrn_cli import Enhancer, score_pair
from dccrn_cli.audio.arrays import as_floats, as_frames
from dccrn_cli.errors import DccrnError, InvalidSamples, MetricError, OptionError
from dccrn_cli.metrics import si_snr


def enhancer(**options: Any) -> Enhancer:
    return Enhancer(lively(TINY), precision="fp32", **options)


def test_channels_first_needs_an_explicit_axis() -> None:
    clean = speechlike(800, channels=2)
    noisy = clean + 0.01 * speechlike(800, channels=2, seed=1)
    expected = score_pair(clean, noisy, 16_000, ["snr"])
    with pytest.raises(MetricError, match="axis"):
        score_pair(clean.T, noisy.T, 16_000, ["snr"])
    assert score_pair(clean.T, noisy.T, 16_000, ["snr"], axis=-1) == expected
    assert score_pair(clean.T, noisy.T, 16_000, ["snr"], noisy.T, axis=1) == expected
    with pytest.raises(OptionError, match="axis"):
        enhancer()(noisy.T)
    with pytest.raises(OptionError, match="axis"):
        enhancer().process(noisy.T)
    result = enhancer()(noisy.T, axis=-1)
    assert result.shape == (2, 800)
    np.testing.assert_array_equal(result.T, enhancer()(noisy))


def test_a_stream_of_channels_first_blocks_of_any_length() -> None:
    x = speechlike(900, channels=2)
    one = enhancer()
    parts = [one.process(x[:1].T, axis=-1), one.process(x[1:3].T, axis=1), one.process(x[3:].T, axis=1), one.flush()]
    np.testing.assert_allclose(np.concatenate(parts, axis=1).T, enhancer()(x), atol=1e-3)
    one.process(x)
    with pytest.raises(OptionError, match="channels"):
        one.process(x.T)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.int32, np.uint8])
def test_real_dtypes(dtype: Any) -> None:
    x = np.clip(speechlike(2000)[:, 0], -0.9, 0.9)
    scale = {np.int16: 2**15, np.int32: 2.0**31, np.uint8: 128}.get(dtype)
    given = x.astype(dtype) if scale is None else (np.round(x * scale) + 128 * (dtype is np.uint8)).astype(dtype)
    np.testing.assert_allclose(as_floats(given), x, atol=0.005)
    assert si_snr(x, given) > 20
    assert enhancer()(given).dtype == np.float32
    value = score_pair(given, given, 16_000, ["si_snr"])["si_snr"]
    assert value is not None
    assert value > 100


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int16])
def test_tensors(dtype: torch.dtype) -> None:
    x = torch.from_numpy(speechlike(2000)[:, 0])
    given = (x * 2**15).to(dtype) if dtype == torch.int16 else x.to(dtype).requires_grad_()
    result = enhancer()(given)
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.float32
    assert not result.requires_grad
    np.testing.assert_allclose(result.numpy(), enhancer()(as_floats(given)), atol=1e-6)
    score = score_pair(x, given, 16_000, ["si_snr"])["si_snr"]  # type: ignore[arg-type]
    assert score is not None
    assert score > 20


@pytest.mark.parametrize("x", [np.ones(9, complex), np.ones(9, bool), np.ones(9, np.int64), np.array(["a"] * 9)])
def test_other_dtypes_are_refused(x: np.ndarray) -> None:
    for use in (lambda: enhancer()(x), lambda: score_pair(x, x, 16_000, ["snr"]), lambda: si_snr(x, x)):
        with pytest.raises(DccrnError, match="samples; must be floating point"):
            use()


def test_invalid_axes_and_shapes() -> None:
    for x, axis in ((np.zeros(9), 1), (np.zeros((9, 2)), 2), (np.zeros((9, 2)), -3), (np.zeros((9, 0)), None)):
        with pytest.raises(OptionError):
            as_frames(x, axis)
    assert as_frames(np.zeros((0, 2))).shape == (0, 2)
    assert as_frames(np.zeros((2, 3)), 0).shape == (2, 3)


def test_non_finite_and_overflowing_samples() -> None:
    x = speechlike(9000)[:, 0]
    x[4000] = 3e38
    with pytest.raises(InvalidSamples, match=r"absurdly large \(3e\+38\) sample at 0\.250 s"):
        enhancer()(x)


def test_threads_keep_separate_signals() -> None:
    one, x = enhancer(), speechlike(24_000)[:, 0]
    expected, results, errors = one(x), [], []

    def work() -> None:
        results.append(one(x))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)

    def intrude() -> None:
        for use in (one, one.process):
            try:
                use(x)
            except OptionError as error:
                errors.append(error.message)

    first = one.process(x[:9000])
    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert len(errors) == 2
    assert "another thread" in errors[0]
    rest = [one.process(x[9000:]), one.flush()]
    np.testing.assert_allclose(np.concatenate([first, *rest]), expected, atol=1e-3)
