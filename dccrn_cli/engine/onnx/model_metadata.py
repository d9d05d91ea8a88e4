"""Metadata of an exported model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dccrn_cli.errors import CheckpointError
from dccrn_cli.nn.base import SAMPLE_RATE, NetworkConfig
from dccrn_cli.nn.config import config_from_dict

FORMAT = "dccrn-onnx-1"

SAMPLES, LENGTH = "samples", "length"
"""Names of the inputs besides the states."""

ENHANCED, GAIN = "enhanced", "gain"
"""Names of the outputs besides the states."""

MAX_BLOCK, MAX_STATE = 1 << 22, 1 << 27
"""Bounds on samples at once and numbers kept between blocks."""

UNKNOWN_LENGTH = 1 << 62
"""Length of a signal whose end has not arrived yet."""


@dataclass(frozen=True)
class GraphState:
    """A state tensor passed from one block to the next; all zeros before the first.

    Attributes:
        name: name of the input.
        shape: fixed shape.
        dtype: `float32` or `int64`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def output(self) -> str:
        """Name of the output that becomes the next block's input."""
        return f"next_{self.name}"


@dataclass(frozen=True)
class OnnxMetadata:
    """The metadata of an exported model.

    Attributes:
        config: configuration of the network.
        block: samples per block.
        latency: delay of the output in samples; drop that many samples at the start.
        states: states in the order of the inputs and outputs after the samples.
        name: name of the model.
        provenance: origin of the weights.
    """

    config: NetworkConfig
    block: int
    latency: int
    states: tuple[GraphState, ...]
    name: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> list[str]:
        """Names of all inputs, in order."""
        return [SAMPLES, LENGTH, *(state.name for state in self.states)]

    @property
    def outputs(self) -> list[str]:
        """Names of all outputs, in order."""
        return [ENHANCED, GAIN, *(state.output for state in self.states)]

    def to_properties(self) -> dict[str, str]:
        """Convert to strings for an ONNX file."""
        states = [
            {"input": state.name, "output": state.output, "shape": state.shape, "dtype": state.dtype}
            for state in self.states
        ]
        return {
            "format": FORMAT,
            "model": self.name,
            "licence": str(self.provenance.get("licence") or "not stated"),
            "sample_rate": str(SAMPLE_RATE),
            "block_samples": str(self.block),
            "hop_length": str(self.config.hop_length),
            "latency_samples": str(self.latency),
            "states": json.dumps(states),
            "config": json.dumps(self.config.to_dict()),
            "provenance": json.dumps(dict(self.provenance), ensure_ascii=False).encode(errors="replace").decode(),
        }

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> OnnxMetadata:
        """Inverse of `to_properties`.

        Raises:
            CheckpointError: the model is damaged or not from this package.
        """
        if properties.get("format") != FORMAT:
            raise CheckpointError("not a model written by `dccrn export`")
        try:
            states = tuple(
                GraphState(state["input"], tuple(state["shape"]), state["dtype"])
                for state in json.loads(properties["states"])
            )
            block, sizes = int(properties["block_samples"]), [math.prod(state.shape) for state in states]
            if not 0 < block <= MAX_BLOCK or min(sizes, default=0) < 0 or sum(sizes) > MAX_STATE:
                raise CheckpointError("its block or its states are too large")
            return cls(
                config_from_dict(json.loads(properties["config"])),
                block,
                int(properties["latency_samples"]),
                states,
                properties["model"],
                json.loads(properties["provenance"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise CheckpointError(f"unreadable metadata ({error})") from None
