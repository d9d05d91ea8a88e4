"""Runs exported models with onnxruntime, as a stage of the engine."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from dccrn_cli.audio.sample_queue import SampleQueue
from dccrn_cli.engine.onnx.model_metadata import LENGTH, SAMPLES, UNKNOWN_LENGTH, OnnxMetadata
from dccrn_cli.errors import CheckpointError, MissingDependency

State = dict[str, np.ndarray]
"""State of one channel of a signal, by input name."""


class OnnxNetwork:
    """An exported model, for any number of signals, each with its own state.

    Args:
        path: a file written by `dccrn export`.
        threads: CPU threads.

    Raises:
        CheckpointError: the file is damaged or missing.
        MissingDependency: `onnxruntime` is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingDependency("onnxruntime", "onnx") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        try:
            self._session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen exception types, all derived from Exception
            raise CheckpointError(f"not a model file ({type(error).__name__})", path) from None
        try:
            self.metadata = OnnxMetadata.from_properties(self._session.get_modelmeta().custom_metadata_map)
        except CheckpointError as error:
            raise CheckpointError(error.message, path) from None
        if not self._fits():
            raise CheckpointError("the graph does not match its metadata", path)

    def _fits(self) -> bool:
        metadata, inputs = self.metadata, self._session.get_inputs()
        shapes = [[1, metadata.block], [1], *(list(state.shape) for state in metadata.states)]
        types = {"tensor(float)": "float32", "tensor(int64)": "int64"}
        return (
            [end.name for end in inputs] == metadata.inputs
            and [end.name for end in self._session.get_outputs()] == metadata.outputs
            and [end.shape for end in inputs] == shapes
            and [types.get(end.type) for end in inputs[2:]] == [state.dtype for state in metadata.states]
        )

    def fresh_state(self) -> State:
        """The state at the start of a signal."""
        return {state.name: np.zeros(state.shape, state.dtype) for state in self.metadata.states}

    def run(self, samples: np.ndarray, length: int, state: State) -> tuple[np.ndarray, np.ndarray, State]:
        """Run the next block of one channel.

        Args:
            samples: float32 `(block,)`, zeros after the end of the signal.
            length: samples of the whole signal, or `UNKNOWN_LENGTH`.
            state: state after the previous block.

        Returns:
            Enhanced samples and gain, `(block,)`, and the state after this block.
        """
        feeds: dict[str, Any] = {SAMPLES: samples[None], LENGTH: np.array([length]), **state}
        enhanced, gain, *after = self._session.run(None, feeds)
        return enhanced[0], gain[0], dict(zip(state, after, strict=True))

    def open(self) -> OnnxEnhancer:
        """Open a stage at 16 kHz with this network."""
        return OnnxEnhancer(self)


class OnnxEnhancer:
    """An exported model as a stage at 16 kHz, with the interface of `SpectralEnhancer`.

    Args:
        network: may serve other signals as well.
    """

    def __init__(self, network: OnnxNetwork) -> None:
        self._network = network
        self.reset()

    @property
    def latency(self) -> int:
        """Largest delay of the output relative to the input, in samples."""
        return self._network.metadata.latency + self._network.metadata.block - 1

    def reset(self) -> None:
        """Start a new signal."""
        self._states: list[State] = []
        self._waiting = SampleQueue(1)
        self._received = 0
        self._run = 0

    def process(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Enhance a block.

        Args:
            block: float32 `(frames, channels)`.

        Returns:
            Enhanced samples `(frames', channels)`, and in the same shape the network's gain (0 to 1) from 4 to 8 kHz.
        """
        channels = block.shape[1]
        if not self._states:
            self._states = [self._network.fresh_state() for _ in range(channels)]
            self._waiting = SampleQueue(channels)
        self._waiting.push(np.asarray(block, np.float32))
        self._received += len(block)
        size = self._network.metadata.block
        parts = [
            self._advance(self._waiting.pop(size), UNKNOWN_LENGTH) for _ in range((self._received - self._run) // size)
        ]
        return _join(parts, channels)

    def flush(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rest of the output at the end of the signal; the next block starts a new one."""
        channels, length = max(len(self._states), 1), self._received
        parts = []
        while length and self._run < length + self._network.metadata.latency:
            rest = self._waiting.pop(self._network.metadata.block)
            missing = self._network.metadata.block - len(rest)
            parts.append(self._advance(np.pad(rest, ((0, missing), (0, 0))), length))
        self.reset()
        return _join(parts, channels)

    def _advance(self, samples: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Run `(block, channels)`; returns the part of the output that belongs to the signal."""
        enhanced, gain = np.empty_like(samples), np.empty_like(samples)
        for channel, state in enumerate(self._states):
            enhanced[:, channel], gain[:, channel], self._states[channel] = self._network.run(
                samples[:, channel], length, state
            )
        first = self._run - self._network.metadata.latency  # position of the first output sample in the signal
        self._run += len(samples)
        belongs = slice(max(-first, 0), max(length - first, 0))
        return enhanced[belongs], gain[belongs]


def _join(parts: list[tuple[np.ndarray, np.ndarray]], channels: int) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.zeros((0, channels), np.float32)
    enhanced, gains = zip((nothing, nothing), *parts, strict=True)
    return np.concatenate(enhanced), np.concatenate(gains)
