"""`dccrn export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dccrn_cli.cli.console import plain_errors
from dccrn_cli.cli.options import OverwriteFile, option


@plain_errors
def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundled model (see `dccrn models`) or a model file.")
    ],
    output: Annotated[Path, option("The file to write (.onnx).", "-o", "--output", metavar="FILE")],
    block: Annotated[
        int | None,
        option(
            "Samples that go in and out at once, a multiple of the network's hop. Short blocks answer "
            "sooner, long ones take less time in all.",
            metavar="SAMPLES",
            show_default="16 hops",
        ),
    ] = None,
    overwrite: OverwriteFile = False,
) -> None:
    """Write a model as an ONNX file, for programs in any language, without Python or PyTorch.

    Such a program feeds 16 kHz samples block by block to an ONNX runtime and gets enhanced ones, late by a number of
    samples that the file states. What the network remembers goes in and comes out with each block: zeros at first,
    then what came out of the block before. examples/stream_onnx.py shows all of it in 40 lines.

    `dccrn enhance --model FILE` takes the file as well. Both need: pip install 'dccrn-cli[onnx]'
    """
    from dccrn_cli.engine.onnx.export import export_onnx
    from dccrn_cli.errors import OptionError
    from dccrn_cli.nn.base import SAMPLE_RATE
    from dccrn_cli.nn.checkpoint import load_checkpoint
    from dccrn_cli.nn.models import find_model

    if output.exists() and not overwrite:
        raise OptionError("exists already (--overwrite replaces it)", output)
    path = find_model(model)
    if output.exists() and output.samefile(path):
        raise OptionError("would overwrite the model", output)
    network, provenance = load_checkpoint(path)
    written = export_onnx(network, output, block, name=path.stem, provenance=provenance)
    ms = [1000 * samples / SAMPLE_RATE for samples in (written.block, written.latency)]
    typer.echo(
        f"{output}: {path.stem} in blocks of {written.block} samples ({ms[0]:.4g} ms), output {written.latency} "
        f"samples ({ms[1]:.4g} ms) late, {len(written.states)} states, {output.stat().st_size / 1e6:.1f} MB"
    )
