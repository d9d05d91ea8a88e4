"""Which model is fast enough to enhance sound as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dccrn_cli.engine.enhancer import Enhancer
from dccrn_cli.errors import OptionError
from dccrn_cli.nn.base import NetworkConfig
from dccrn_cli.nn.cost import macs_per_second
from dccrn_cli.nn.models import bundled_models, find_model, is_onnx

MAX_LOAD = 0.8
"""Seconds of work for a second of sound at most; the rest is for what else the machine does."""

_WARM_UP_S, _MEASURED_S = 0.3, 0.7


@dataclass(frozen=True)
class Choice:
    """A model that keeps up.

    Attributes:
        model: its name, or path.
        enhancer: with it, at the start of a signal.
        load: seconds of work for a second of sound, as measured.
    """

    model: str
    enhancer: Enhancer
    load: float


def choose_model(model: str | None, build: Callable[[str], Enhancer], channels: int, block: int) -> Choice:
    """The model that is wanted, or of the bundled ones that keep up the one with the lowest latency.

    Args:
        model: name or path; None for a bundled one.
        build: makes an enhancer.
        channels: of the sound.
        block: frames that come at once.

    Raises:
        OptionError: it cannot keep up here, or none can.
        CheckpointError: it cannot be loaded.
    """
    if model is not None:
        enhancer = build(model)
        load = measure_load(enhancer, channels, block)
        if load > MAX_LOAD:
            raise OptionError(f"{_too_slow(model, load, block, enhancer.sample_rate)}; {_remedy(model)}")
        return Choice(model, enhancer, load)
    slow = []
    for candidate in sorted(bundled_models(), key=lambda bundled: bundled.config.latency_samples):
        enhancer = build(candidate.name)
        load = measure_load(enhancer, channels, block)
        if load <= MAX_LOAD:
            return Choice(candidate.name, enhancer, load)
        slow.append(_too_slow(candidate.name, load, block, enhancer.sample_rate))
    raise OptionError(f"{'; '.join(slow)}; longer blocks take less time (--block)")


def measure_load(enhancer: Enhancer, channels: int, block: int) -> float:
    """Seconds of work for a second of sound that comes in blocks.

    Args:
        enhancer: left at the start of a signal.
        channels: of the sound.
        block: frames that come at once.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.03, (block, channels)).astype(np.float32)
    seconds = block / enhancer.sample_rate
    elapsed = heard = 0.0
    started = time.perf_counter()
    while elapsed <= 0.0 or heard < _WARM_UP_S + _MEASURED_S:
        if heard < _WARM_UP_S:
            started = time.perf_counter()
        enhancer.process(noise, axis=0)
        heard += seconds
        elapsed = time.perf_counter() - started
    enhancer.reset()
    return elapsed / max(heard - _WARM_UP_S, seconds)


def _too_slow(model: str, load: float, block: int, sample_rate: int) -> str:
    return f"{model} takes {load:.2f} s for a second of sound here, in blocks of {1000 * block / sample_rate:.0f} ms"


def _remedy(model: str) -> str:
    cost = macs_per_second(_config(model))
    smaller = [
        (bundled_cost, bundled.name)
        for bundled in bundled_models()
        if (bundled_cost := macs_per_second(bundled.config)) < cost
    ]
    if not smaller:
        return "no bundled model is smaller; longer blocks take less time (--block)"
    return f"the next smaller one is --model {max(smaller)[1]}, and longer blocks take less time (--block)"


def _config(model: str) -> NetworkConfig:
    from dccrn_cli.nn.checkpoint import read_metadata

    path = find_model(model)
    if is_onnx(path):
        from dccrn_cli.engine.onnx.network import OnnxNetwork

        return OnnxNetwork(path).metadata.config
    return read_metadata(path)[0]
