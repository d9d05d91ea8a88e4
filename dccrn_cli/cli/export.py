"""`dccrn export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dccrn_cli.cli.console import plain_errors
from dccrn_cli.cli.options import OverwriteFile, option
from dccrn_cli.utils.paths import exists


@plain_errors
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Bundled model (see `dccrn models`) or model file.")],
    output: Annotated[Path, option("The file to write (.onnx).", "-o", "--output", metavar="FILE")],
    block: Annotated[
        int | None,
        option(
            "Samples per block, a multiple of the network's hop. Shorter blocks give less delay, "
            "longer ones need less processing.",
            metavar="SAMPLES",
            show_default="16 hops",
        ),
    ] = None,
    overwrite: OverwriteFile = False,
) -> None:
    """Write a model as an ONNX file, for programs in any language, without Python or PyTorch.

    Such a program passes 16 kHz samples block by block to an ONNX runtime and gets enhanced samples back, delayed by
    a number of samples stated in the file. The network's states go in and come out with each block: zeros for the
    first one, then the states returned by the previous one. examples/stream_onnx.py shows this in 40 lines.

    `dccrn enhance --model FILE` also accepts the file. Both need: pip install 'dccrn-cli[onnx]'
    """
    from dccrn_cli.engine.onnx.export import export_onnx
    from dccrn_cli.errors import OptionError
    from dccrn_cli.nn.base import SAMPLE_RATE
    from dccrn_cli.nn.checkpoint import load_checkpoint
    from dccrn_cli.nn.models import find_model

    if exists(output) and not overwrite:
        raise OptionError("already exists (use --overwrite to replace it)", output)
    path = find_model(model)
    if exists(output) and output.samefile(path):
        raise OptionError("would overwrite the model", output)
    network, provenance = load_checkpoint(path)
    written = export_onnx(network, output, block, name=path.stem, provenance=provenance)
    ms = [1000 * samples / SAMPLE_RATE for samples in (written.block, written.latency)]
    typer.echo(
        f"{output}: {path.stem} in blocks of {written.block} samples ({ms[0]:.4g} ms), output delayed by "
        f"{written.latency} samples ({ms[1]:.4g} ms), {len(written.states)} states, "
        f"{output.stat().st_size / 1e6:.1f} MB"
    )
