"""The speech enhancer for arrays and streams at any sample rate."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import torch

from dccrn_cli.audio.arrays import as_frames
from dccrn_cli.audio.levels import EXCESS
from dccrn_cli.audio.resample import Resampler
from dccrn_cli.audio.sample_queue import SampleQueue
from dccrn_cli.engine.array_form import ArrayForm
from dccrn_cli.engine.channel_groups import ChannelGroups
from dccrn_cli.engine.dynamic_batching import DynamicBatching
from dccrn_cli.engine.enhance_options import HighBand, check_strength, dry_share
from dccrn_cli.engine.fold import Precision
from dccrn_cli.engine.onnx.runtime import OnnxEnhancer, OnnxNetwork
from dccrn_cli.engine.stream import StreamingNetwork
from dccrn_cli.errors import InvalidSamples, OptionError
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.nn.device import pick_device
from dccrn_cli.nn.models import find_model, is_onnx
from dccrn_cli.nn.network import SpectralNetwork

Model = SpectralNetwork | StreamingNetwork | DynamicBatching | OnnxNetwork

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 2_000, 768_000


def open_network(
    model: str | os.PathLike[str] | None, device: str | torch.device, precision: Precision
) -> StreamingNetwork | OnnxNetwork:
    """Open the network of a bundled model or a model file, including those written by `dccrn export`.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: the device is unavailable, or unsupported by an exported model.
        MissingDependency: the model needs `onnxruntime`, which is not installed.
    """
    path = find_model(model)
    if not is_onnx(path):
        return StreamingNetwork(load_checkpoint(path)[0], pick_device(device), precision)
    if str(device) not in ("auto", "cpu") or precision == "bf16":
        raise OptionError("exported models only run on the CPU in fp32", path)
    return OnnxNetwork(path, torch.get_num_threads())


class Enhancer:
    """Removes noise from speech.

    Whole signals: `enhancer(audio)`. Streams: `process` blocks as they arrive and `flush` at the end. The
    concatenated output has the length of the concatenated input, is aligned with it, and does not depend
    on how the input is cut into blocks.

    A signal belongs to the thread that started it: whole signals from several threads are enhanced one
    after another, and a block from another thread is an error. To work in parallel, each thread needs its
    own `Enhancer`.

    Args:
        model: name of a bundled model, path of a model file, or a network; None for the default.
            A `StreamingNetwork`, a `DynamicBatching` or an `OnnxNetwork` can serve many enhancers, on its
            own device.
        sample_rate: sample rate of the audio in Hz. The network works at 16 kHz; other rates are resampled.
        high_band: treatment of the band above 8 kHz at higher rates: "gate" applies the network's gain
            from 4 to 8 kHz, "keep" leaves it unchanged, "drop" removes it.
        device: "cpu", "cuda" or "mps"; "auto" for CUDA if available, otherwise the CPU.
        attenuation_limit_db: limits attenuation to this, by adding that much of the input to the output in
            phase. None for no limit.
        mix: share of the enhanced signal in the output; the rest is the input, in phase.
        precision: precision of the network's convolutions and matrix products: "fp32", "bf16", or "auto"
            for bfloat16 on CPUs that support it natively.
        low_latency: at 32, 48, 64 … kHz, resample with filters that hold back 12 ms instead of 75, at more CPU time.
        link_channels: apply one gain to all channels, up to eight, from the sum of their energies, so that panned
            sounds keep their position.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: an invalid argument.
        MissingDependency: an exported model needs `onnxruntime`, which is not installed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Model | None = None,
        sample_rate: int = SAMPLE_RATE,
        high_band: HighBand = "gate",
        device: str | torch.device = "auto",
        *,
        attenuation_limit_db: float | None = None,
        mix: float = 1.0,
        precision: Precision = "auto",
        low_latency: bool = False,
        link_channels: bool = False,
    ) -> None:
        check_strength(mix, attenuation_limit_db, high_band)
        if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
            raise OptionError(f"a sample rate of {sample_rate} Hz is not supported")
        if not isinstance(model, Model):
            model = open_network(model, device, precision)
        if isinstance(model, SpectralNetwork):
            model = StreamingNetwork(model, pick_device(device), precision)
        self.sample_rate = sample_rate
        self.high_band = high_band
        self._low_latency = low_latency
        self._dry = dry_share(mix, attenuation_limit_db)
        if isinstance(model, OnnxNetwork) and link_channels:
            raise OptionError("link_channels is not supported by exported models, which process channels separately")
        if isinstance(model, OnnxNetwork):
            self._core: ChannelGroups | OnnxEnhancer = model.open()
        else:
            self._core = ChannelGroups(model, link_channels=link_channels)
        self._pipe: _Pipe | None = None
        self._form = ArrayForm(True, 0, None)
        self._lock = threading.RLock()
        self._owner = 0

    @property
    def latency(self) -> int:
        """Largest delay of the output relative to the input, in samples at `sample_rate`."""
        core = -(-self._core.latency * self.sample_rate // SAMPLE_RATE)
        if self.sample_rate == SAMPLE_RATE:
            return core
        there = Resampler(self.sample_rate, SAMPLE_RATE, 1, low_latency=self._low_latency).latency
        back = Resampler(SAMPLE_RATE, self.sample_rate, 1, low_latency=self._low_latency).latency
        return core + there + -(-back * self.sample_rate // SAMPLE_RATE)

    def __call__(self, audio: Any, axis: int | None = None) -> Any:
        """Enhance a whole signal.

        Args:
            audio: `(frames,)` or `(frames, channels)`, numpy or torch: floating point with full scale
                1.0, or PCM as int16, int32 or uint8. Channels are enhanced independently.
            axis: time axis: 0, or -1 for `(channels, frames)`. None for the first axis; an array with
                more channels than frames is then rejected.

        Returns:
            float32 with full scale 1.0, of the same shape; a tensor, on the same device, for a tensor.

        Raises:
            InvalidSamples: NaN, infinite or absurdly large samples.
            OptionError: unsupported shape or dtype, or another thread's signal is unfinished.
        """
        with self._lock:
            self._check_owner()
            self.reset()
            try:
                frames = self._process(audio, axis)
                return self._form.shape(np.concatenate([frames, self._flush()]))
            finally:
                self.reset()

    def process(self, block: Any, axis: int | None = None) -> Any:
        """Enhance the next block of a signal.

        Args:
            block: `(frames,)` or `(frames, channels)` as for a whole signal. The first block sets the number
                of channels, so it is rejected if it has more channels than frames, unless `axis` is given.
            axis: time axis: 0, or -1 for `(channels, frames)`. None for the first axis.

        Returns:
            The final part of the output, in the layout of the block.

        Raises:
            InvalidSamples: NaN, infinite or absurdly large samples.
            OptionError: unsupported shape or dtype, or another number of channels or thread than before.
        """
        with self._lock:
            self._check_owner()
            frames = self._process(block, axis)
            return self._form.shape(frames)

    def flush(self) -> Any:
        """Return the rest of the output at the end of the signal; the next block starts a new one."""
        with self._lock:
            if self._pipe is None:
                return np.zeros(0, np.float32)
            rest = self._form.shape(self._pipe.flush())
            self.reset()
            return rest

    def reset(self) -> None:
        """Discard the current signal."""
        with self._lock:
            self._core.reset()
            self._pipe = None
            self._owner = 0

    def _check_owner(self) -> None:
        if self._pipe is not None and self._owner != threading.get_ident():
            raise OptionError("another thread's signal is in this Enhancer; use one Enhancer per thread")

    def _process(self, block: Any, axis: int | None) -> np.ndarray:
        if self._pipe is not None and axis is None and np.ndim(block) == 2:
            axis = 0  # the number of channels is known by now
        columns = as_frames(block, axis)
        if self._pipe is None:
            self._pipe = _Pipe(
                self._core, self.sample_rate, self.high_band, columns.shape[1],
                dry=self._dry, low_latency=self._low_latency,
            )  # fmt: skip
            self._owner = threading.get_ident()
        self._form = ArrayForm.of(block, axis)
        with np.errstate(over="ignore"):  # values beyond float32 are rejected as infinite
            columns = np.array(columns, np.float32, order="C")  # a copy: the caller may reuse the block
        return self._pipe.process(columns)

    def _flush(self) -> np.ndarray:
        return np.zeros((0, 1), np.float32) if self._pipe is None else self._pipe.flush()


class _Pipe:
    """Processes one signal: down to 16 kHz, through the network, and back up.

    At rates above 16 kHz, the high band is what the input loses by resampling down and up again; it is
    held back until the network's output for the same samples arrives. Plain signal and gain go through
    the same upsampler as the enhanced signal, so all three stay aligned.
    """

    def __init__(
        self,
        core: ChannelGroups | OnnxEnhancer,
        sample_rate: int,
        high_band: HighBand,
        channels: int,
        *,
        dry: float,
        low_latency: bool,
    ) -> None:
        self._core = core
        self._rate = sample_rate
        self._high_band = high_band
        self._channels = channels
        self._dry = dry
        self._full_band = sample_rate > SAMPLE_RATE and high_band != "drop"
        self._down = Resampler(sample_rate, SAMPLE_RATE, channels, low_latency=low_latency)
        raised = channels * (3 if self._full_band else 1)
        self._up = Resampler(SAMPLE_RATE, sample_rate, raised, low_latency=low_latency)
        self._plain = SampleQueue(channels)  # at 16 kHz, waiting for the network
        self._input = SampleQueue(channels)  # at the signal's rate, waiting for the upsampler
        self._received = 0
        self._emitted = 0

    def process(self, block: np.ndarray) -> np.ndarray:
        if block.shape[1] != self._channels:
            raise OptionError(f"a block has {block.shape[1]} channels, the previous one had {self._channels}")
        self._check_finite(block)
        self._received += len(block)
        if self._full_band or self._dry:
            self._input.push(block)
        low = self._down.process(block)
        return self._merge(self._up.process(self._stack(low, *self._core.process(low))))

    def flush(self) -> np.ndarray:
        low = self._down.flush()
        parts = [self._stack(low, *self._core.process(low)), self._stack(low[:0], *self._core.flush())]
        raised = [self._up.process(part) for part in parts] + [self._up.flush()]
        out = self._merge(np.concatenate(raised)[: self._received - self._emitted])
        # Resampling down and up can end a few samples early.
        lacking = self._received - self._emitted
        if lacking:
            out = np.concatenate([out, self._merge(np.zeros((lacking, self._up.channels), np.float32))])
        return out

    def _stack(self, low: np.ndarray, enhanced: np.ndarray, gain: np.ndarray) -> np.ndarray:
        if not self._full_band:
            return enhanced.reshape(-1, self._channels)
        self._plain.push(low)
        if len(enhanced) == 0:
            return np.zeros((0, self._up.channels), np.float32)
        return np.concatenate([enhanced, self._plain.pop(len(enhanced)), gain], axis=1)

    def _merge(self, raised: np.ndarray) -> np.ndarray:
        self._emitted += len(raised)
        if not (self._full_band or self._dry):
            return raised
        given = self._input.pop(len(raised))
        merged = raised
        if self._full_band:
            enhanced, plain, gain = np.split(raised, 3, axis=1)
            high = given - plain
            if self._high_band == "gate":
                high = high * np.clip(gain, 0.0, 1.0)
            merged = enhanced + high
        return self._dry * given + (1.0 - self._dry) * merged if self._dry else merged

    def _check_finite(self, block: np.ndarray) -> None:
        good = (np.abs(block) <= EXCESS).all(axis=1)
        if not good.all():
            first = int(np.argmin(good))
            peak = np.abs(block[first]).max()  # NaN if one is
            kind = "NaN" if np.isnan(peak) else "infinite" if np.isinf(peak) else f"absurdly large ({peak:.0e})"
            raise InvalidSamples(f"{kind} sample at {(self._received + first) / self._rate:.3f} s")
