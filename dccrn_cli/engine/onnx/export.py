"""Exports models as ONNX files, for programs without torch."""

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
from dccrn_cli.engine.onnx.model_metadata import OnnxMetadata
from dccrn_cli.errors import MissingDependency, OptionError
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.utils.storage import write_whole

BLOCK_HOPS = 16
"""Default number of hops per block: fewer cost time, more gain little."""

OPSET = 18


def export_onnx(
    model: SpectralNetwork,
    path: str | os.PathLike[str],
    block: int | None = None,
    name: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> OnnxMetadata:
    """Write a network as an ONNX file that processes samples block by block.

    Inputs are `samples` `(1, block)`, float32 at 16 kHz; `length` `(1,)`, the number of samples in the whole signal
    (2⁶² while unknown, before the block with its end); and the states, which are zeros at the start of a signal.
    Outputs are `enhanced` and `gain` `(1, block)`, the latter the network's gain from 4 to 8 kHz, and each state for
    the next block. The output is delayed by `latency_samples` of the metadata: drop that many samples at the start,
    and feed zeros after the end until the output is as long as the input.

    Args:
        model: a network of any architecture.
        path: the file to write.
        block: samples per block, a multiple of the network's hop; None for 16 hops.
        name: name of the model in the metadata.
        provenance: origin of the weights as plain data.

    Returns:
        The metadata in the file.

    Raises:
        OptionError: invalid block size, or the path is a folder.
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
            optimize=False,  # it treats values below 1e-8 as zero, and so removes terms that keep divisors above zero
        )  # fmt: skip
        assert program is not None
        optimizer.inline(program.model)
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
        proto = program.model_proto
    for node in proto.graph.node:  # source locations
        del node.metadata_props[:]
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, metadata.to_properties())
    return bytes(proto.SerializeToString())


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Operators that torch's exporter does not support, or would unroll."""
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
        """Cumulative maximum of `(rows, frames)` along frames: the maximum over a matrix with later frames masked."""
        later = np.triu(np.full((x.shape[1],) * 2, -np.inf, np.float32), 1)
        square = op.Add(
            op.Unsqueeze(x, op.Constant(value_ints=[1])), op.Constant(value=onnx.numpy_helper.from_array(later))
        )
        values = op.ReduceMax(square, op.Constant(value_ints=[2]), keepdims=0)
        return values, values  # the second output, the indices, is unused

    return {torch.ops.dccrn.lstm.default: lstm, torch.ops.aten.cummax.default: cummax}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's messages about its internals."""
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
