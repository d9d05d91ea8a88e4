"""`dccrn convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dccrn_cli.cli.console import plain_errors
from dccrn_cli.cli.options import OverwriteFile, option
from dccrn_cli.utils.paths import exists


@plain_errors
def convert(
    reference: Annotated[Path, typer.Argument(help="State dict saved with the paper authors' public code (.pth).")],
    output: Annotated[Path, option("Model file to write (.safetensors).", "-o", "--output")],
    preset: Annotated[str, option("Preset of the network: dccrn-r, dccrn-c, dccrn-e or dccrn-cl.")] = "dccrn-e",
    half: Annotated[
        bool, option("Store half-precision weights: half the size, but slightly different output.", "--half")
    ] = False,
    overwrite: OverwriteFile = False,
) -> None:
    """Convert a model made with the DCCRN authors' public code.

    The preset supplies the kind of mask, which a state dict does not record; channels, LSTM sizes
    and complex variants are inferred from the weights. The same weights give the same output.
    """
    from dccrn_cli.errors import OptionError
    from dccrn_cli.nn.authors_checkpoint import read_reference
    from dccrn_cli.nn.checkpoint import save_model
    from dccrn_cli.nn.config import DCCRNConfig
    from dccrn_cli.nn.config import preset as preset_named
    from dccrn_cli.nn.cost import count_parameters

    if exists(output) and not overwrite:
        raise OptionError("already exists (use --overwrite to replace it)", output)
    if exists(output) and exists(reference) and output.samefile(reference):
        raise OptionError("would overwrite the reference", output)
    config = preset_named(preset)
    if not isinstance(config, DCCRNConfig):
        raise OptionError(f"the authors' code only makes DCCRNs, not {preset!r}")
    model = read_reference(reference, config)
    save_model(model, output, {"data": "not stated", "converted_from": reference.name}, half=half)
    kind = f"mask {model.config.mask}" + (", complex LSTM" if model.config.complex_rnn else "")
    kind += ", complex batch norm" if model.config.complex_norm else ""
    typer.echo(f"{output}: DCCRN with {kind}, {count_parameters(model) / 1e6:.2f} M parameters")
