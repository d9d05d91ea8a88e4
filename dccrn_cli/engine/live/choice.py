"""Chooses a model that is fast enough for real-time enhancement."""

from __future__ import annotations

import math
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
"""Largest processing time per second of audio; the rest is left for other work of the machine."""

_WARM_UP_S, _MEASURED_S = 0.3, 0.7


@dataclass(frozen=True)
class Choice:
    """A model that keeps up.

    Attributes:
        model: its name or path.
        enhancer: an enhancer with this model, at the start of a signal.
        load: measured seconds of processing per second of audio.
    """

    model: str
    enhancer: Enhancer
    load: float


def choose_model(model: str | None, build: Callable[[str], Enhancer], channels: int, block: int) -> Choice:
    """Choose the requested model, or the bundled one with the lowest latency among those that keep up.

    Args:
        model: name or path; None for a bundled model.
        build: makes an enhancer.
        channels: number of channels.
        block: frames per block.

    Raises:
        OptionError: the model cannot keep up on this machine, or no model can.
        CheckpointError: the model cannot be loaded.
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
    """Measure the seconds of processing per second of audio in blocks.

    Args:
        enhancer: left at the start of a signal.
        channels: number of channels.
        block: frames per block.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.03, (block, channels)).astype(np.float32)
    seconds = block / enhancer.sample_rate
    for _ in range(math.ceil(_WARM_UP_S / seconds)):
        enhancer.process(noise, axis=0)
    blocks = math.ceil(_MEASURED_S / seconds)
    started = time.perf_counter()
    for _ in range(blocks):
        enhancer.process(noise, axis=0)
    elapsed = time.perf_counter() - started
    enhancer.reset()
    return elapsed / (blocks * seconds)


def _too_slow(model: str, load: float, block: int, sample_rate: int) -> str:
    return f"{model} takes {load:.2f} s per second of audio here, in blocks of {1000 * block / sample_rate:.0f} ms"


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
        from dccrn_cli.engine.onnx.runtime import OnnxNetwork

        return OnnxNetwork(path).metadata.config
    return read_metadata(path)[0]
