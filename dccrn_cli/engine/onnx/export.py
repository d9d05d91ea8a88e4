"""Models as ONNX files, for programs without torch."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from dccrn_cli.engine.onnx.graph import StreamGraph
from dccrn_cli.engine.onnx.metadata import OnnxMetadata
from dccrn_cli.errors import MissingDependency, OptionError
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.utils.storage import write_whole

BLOCK_HOPS = 16
"""Hops of a block unless asked otherwise: fewer cost time, more bring little."""

OPSET = 18


def export_onnx(
    model: SpectralNetwork,
    path: str | os.PathLike[str],
    block: int | None = None,
    name: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> OnnxMetadata:
    """Write a network as an ONNX file that takes and gives samples, block by block.

    Inputs are `samples` `(1, block)`, float32 at 16 kHz; `length` `(1,)`, the samples of the whole signal (2⁶² while
    it is not known, before the block with its end); and the states, which are zeros at the start of a signal.
    Outputs are `enhanced` and `gain` `(1, block)`, the latter the network's gain from 4 to 8 kHz, and each state as
    the next block needs it. The output is late by `latency_samples` of the metadata: leave out so many of the first
    samples, and feed zeros after the end until as many have come out as went in.

    Args:
        model: of any architecture.
        path: the file to write.
        block: samples at once, a multiple of the network's hop; None for 16 hops.
        name: of the model, for the metadata.
        provenance: where its weights come from, as plain data.

    Returns:
        the metadata in the file.

    Raises:
        OptionError: no such block, or the path is a folder.
        MissingDependency: `onnx` or `onnxscript` is not installed.
        StorageError: the file cannot be written.
    """
    hop = model.config.hop_length
    block = BLOCK_HOPS * hop if block is None else block
    if block <= 0 or block % hop:
        raise OptionError(f"a block must be a multiple of {hop} samples, the hop of this network, not {block}")
    graph = StreamGraph(model, block).eval()
    metadata = OnnxMetadata(model.config, block, graph.latency, graph.states, name, dict(provenance or {}))
    write_whole(path, _onnx_bytes(graph, metadata))
    return metadata


def _onnx_bytes(graph: StreamGraph, metadata: OnnxMetadata) -> bytes:
    translations = _translations()
    import onnx
    from onnxscript import optimizer

    fresh = [torch.zeros(state.shape, dtype=getattr(torch, state.dtype)) for state in metadata.states]
    inputs = (torch.zeros(1, metadata.block), torch.zeros(1, dtype=torch.int64), *fresh)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph, inputs, dynamo=True, verbose=False, opset_version=OPSET, custom_translation_table=translations,
            input_names=metadata.inputs, output_names=metadata.outputs,
            optimize=False,  # it takes anything below 1e-8 for zero, and so removes what keeps divisors above it
        )  # fmt: skip
        assert program is not None
        optimizer.inline(program.model)
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
        proto = program.model_proto
    for node in proto.graph.node:  # where in the code each comes from
        del node.metadata_props[:]
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, metadata.to_properties())
    return bytes(proto.SerializeToString())


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What torch's exporter does not know, or would unroll."""
    try:
        import onnx
        from onnxscript import opset18
    except ImportError as error:
        raise MissingDependency((error.name or "onnx").split(".")[0], "onnx") from None

    op: Any = opset18

    def lstm(x: Any, w: Any, r: Any, b: Any, h: Any, c: Any) -> Any:
        direction = "bidirectional" if h.shape[0] == 2 else "forward"
        return op.LSTM(x, w, r, b, None, h, c, hidden_size=h.shape[2], direction=direction)

    def cummax(x: Any, dim: int) -> Any:
        """Of `(rows, frames)` along frames: the maximum over a square in which what is later is no number."""
        later = np.triu(np.full((x.shape[1],) * 2, -np.inf, np.float32), 1)
        square = op.Add(
            op.Unsqueeze(x, op.Constant(value_ints=[1])), op.Constant(value=onnx.numpy_helper.from_array(later))
        )
        values = op.ReduceMax(square, op.Constant(value_ints=[2]), keepdims=0)
        return values, values  # the second would be the places, which nothing asks for

    return {torch.ops.dccrn.lstm.default: lstm, torch.ops.aten.cummax.default: cummax}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
