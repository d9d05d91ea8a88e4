"""The speech enhancer for arrays and streams at any sample rate."""

from __future__ import annotations

import os

import numpy as np
import torch

from dccrn_cli.audio.resample import Resampler
from dccrn_cli.audio.sample_queue import SampleQueue
from dccrn_cli.engine.dynamic_batching import DynamicBatching
from dccrn_cli.engine.fold import Precision
from dccrn_cli.engine.models import find_model, is_onnx
from dccrn_cli.engine.onnx_network import OnnxEnhancer, OnnxNetwork
from dccrn_cli.engine.options import HighBand
from dccrn_cli.engine.overlap_add import SpectralEnhancer
from dccrn_cli.engine.stream import StreamingNetwork
from dccrn_cli.errors import InvalidSamples, OptionError
from dccrn_cli.nn.checkpoint import load_model
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.nn.network import SpectralNetwork

Model = SpectralNetwork | StreamingNetwork | DynamicBatching | OnnxNetwork

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 2_000, 768_000


def pick_device(name: str | torch.device) -> torch.device:
    """`auto`, `cpu`, `cuda` or `mps` as a device; `auto` takes the fastest there is.

    Raises:
        OptionError: unknown or not present.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(name.split(":")[0], False):
        raise OptionError(f"device {name!r} is not available here")
    return torch.device(name)


def open_network(
    model: str | os.PathLike[str] | None, device: str | torch.device, precision: Precision
) -> StreamingNetwork | OnnxNetwork:
    """The network of a bundled model or a model file, also one that `dccrn export` wrote.

    Raises:
        CheckpointError: it cannot be loaded.
        OptionError: the device is not there, or an exported model cannot use it.
        MissingDependency: it takes `onnxruntime`, which is not installed.
    """
    path = find_model(model)
    if not is_onnx(path):
        return StreamingNetwork(load_model(path)[0], pick_device(device), precision)
    if str(device) not in ("auto", "cpu") or precision == "bf16":
        raise OptionError("an exported model runs on the CPU, in fp32", path)
    return OnnxNetwork(path, torch.get_num_threads())


class Enhancer:
    """Removes noise from speech.

    Whole signals: `enhancer(audio)`. Streams: `process` blocks as they come and `flush` at the
    end. All outputs joined are as long as all inputs joined, aligned with them, and the same for
    any way of cutting the input into blocks.

    Args:
        model: name of a bundled model, path of a model file, or a network; None for the default.
            A `StreamingNetwork`, a `DynamicBatching` or an `OnnxNetwork` may serve many enhancers, on its
            own device.
        sample_rate: of the audio in Hz. The network works at 16 kHz; other rates are resampled.
        high_band: what happens above 8 kHz at higher rates: "gate" scales it by the gain that
            the network gives to 4 to 8 kHz, "keep" leaves it, "drop" removes it.
        device: "auto", "cpu", "cuda" or "mps".
        attenuation_limit_db: nothing is made fainter by more than this: so much of the input is
            added to the output, in phase. None for no limit.
        mix: share of the result in what comes out; the rest is the input as it was, in phase.
        precision: of the network's convolutions and matrix products: "fp32", "bf16", or "auto" for
            bfloat16 on CPUs that multiply it faster.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: an argument that cannot be meant.
        MissingDependency: an exported model takes `onnxruntime`, which is not installed.
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
    ) -> None:
        if attenuation_limit_db is not None and not attenuation_limit_db >= 0:
            raise OptionError(f"attenuation_limit_db must be 0 or more, not {attenuation_limit_db}")
        if not 0 <= mix <= 1:
            raise OptionError(f"mix must be 0 to 1, not {mix}")
        if high_band not in ("gate", "keep", "drop"):
            raise OptionError(f"high_band must be gate, keep or drop, not {high_band!r}")
        if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
            raise OptionError(f"a sample rate of {sample_rate} Hz is not supported")
        if not isinstance(model, Model):
            model = open_network(model, device, precision)
        if isinstance(model, SpectralNetwork):
            model = StreamingNetwork(model, pick_device(device), precision)
        self.sample_rate = sample_rate
        self.high_band = high_band
        floor = 0.0 if attenuation_limit_db is None else 10 ** (-attenuation_limit_db / 20)
        self._dry = 1.0 - mix * (1.0 - floor)
        self._core = model.open() if isinstance(model, OnnxNetwork) else SpectralEnhancer(model)
        self._pipe: _Pipe | None = None

    @property
    def latency(self) -> int:
        """Samples at `sample_rate` by which the output lags behind the input at most."""
        core = -(-self._core.latency * self.sample_rate // SAMPLE_RATE)
        if self.sample_rate == SAMPLE_RATE:
            return core
        there = Resampler(self.sample_rate, SAMPLE_RATE, 1).latency
        back = Resampler(SAMPLE_RATE, self.sample_rate, 1).latency
        return core + there + -(-back * self.sample_rate // SAMPLE_RATE)

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Enhance a whole signal.

        Args:
            audio: float `(frames,)` or `(frames, channels)`, full scale 1.0. Channels are
                enhanced each by itself.

        Returns:
            float32 of the same shape.

        Raises:
            InvalidSamples: NaN or infinite samples.
        """
        self.reset()
        try:
            return np.concatenate([self.process(audio), self.flush()])
        finally:
            self.reset()

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take the next block, `(frames,)` or `(frames, channels)`; give what is final of the output.

        Raises:
            InvalidSamples: NaN or infinite samples.
        """
        block = np.asarray(block)
        if block.ndim not in (1, 2) or (block.ndim == 2 and block.shape[1] == 0):
            raise OptionError(f"audio must be (frames,) or (frames, channels), not {block.shape}")
        if not np.issubdtype(block.dtype, np.floating):
            raise OptionError(f"audio must be floating point with full scale 1.0, not {block.dtype}")
        columns = block[:, None] if block.ndim == 1 else block
        if self._pipe is None:
            self._pipe = _Pipe(
                self._core, self.sample_rate, self.high_band, columns.shape[1], dry=self._dry, mono=block.ndim == 1
            )
        return self._pipe.process(columns.astype(np.float32))  # a copy: the caller may reuse the block

    def flush(self) -> np.ndarray:
        """The rest of the output, at the end of the signal; the next block starts a new one."""
        if self._pipe is None:
            return np.zeros(0, np.float32)
        rest = self._pipe.flush()
        self.reset()
        return rest

    def reset(self) -> None:
        """Forget the current signal."""
        self._core.reset()
        self._pipe = None


class _Pipe:
    """One signal on its way: down to 16 kHz, through the network, and back up.

    Above 16 kHz, what resampling down and up again takes from the input is the high band; it is
    held back until the network's output for the same samples is there. Plain signal and gain go
    through the same upsampler as the enhanced signal, so all three stay aligned.
    """

    def __init__(
        self,
        core: SpectralEnhancer | OnnxEnhancer,
        sample_rate: int,
        high_band: HighBand,
        channels: int,
        *,
        dry: float,
        mono: bool,
    ) -> None:
        self._core = core
        self._rate = sample_rate
        self._high_band = high_band
        self._channels = channels
        self._dry = dry
        self._mono = mono
        self._full_band = sample_rate > SAMPLE_RATE and high_band != "drop"
        self._down = Resampler(sample_rate, SAMPLE_RATE, channels)
        self._up = Resampler(SAMPLE_RATE, sample_rate, channels * (3 if self._full_band else 1))
        self._plain = SampleQueue(channels)  # at 16 kHz, waiting for the network
        self._input = SampleQueue(channels)  # at the signal's rate, waiting for the upsampler
        self._received = 0
        self._emitted = 0

    def process(self, block: np.ndarray) -> np.ndarray:
        if block.shape[1] != self._channels:
            raise OptionError(f"a block has {block.shape[1]} channels, the one before had {self._channels}")
        self._check_finite(block)
        self._received += len(block)
        if self._full_band or self._dry:
            self._input.push(block)
        low = self._down.process(block)
        return self._shape(self._merge(self._up.process(self._stack(low, *self._core.process(low)))))

    def flush(self) -> np.ndarray:
        low = self._down.flush()
        parts = [self._stack(low, *self._core.process(low)), self._stack(low[:0], *self._core.flush())]
        raised = [self._up.process(part) for part in parts] + [self._up.flush()]
        out = self._merge(np.concatenate(raised)[: self._received - self._emitted])
        # Resampling there and back can end a few samples early.
        lacking = self._received - self._emitted
        if lacking:
            out = np.concatenate([out, self._merge(np.zeros((lacking, self._up.channels), np.float32))])
        return self._shape(out)

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

    def _shape(self, block: np.ndarray) -> np.ndarray:
        return block[:, 0] if self._mono else block

    def _check_finite(self, block: np.ndarray) -> None:
        good = np.isfinite(block).all(axis=1)
        if not good.all():
            first = int(np.argmin(good))
            kind = "NaN" if np.isnan(block[first]).any() else "infinite"
            raise InvalidSamples(f"{kind} sample at {(self._received + first) / self._rate:.3f} s")
