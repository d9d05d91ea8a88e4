"""`dccrn models`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dccrn_cli.cli.console import plain_errors
from dccrn_cli.cli.options import AsJson, option

if TYPE_CHECKING:
    from dccrn_cli.nn.network import SpectralNetwork

FIGURES = {"si_snr": ("SI-SNR dB", ".2f"), "pesq_wb": ("PESQ-WB", ".2f"), "stoi": ("STOI", ".3f"),
           "level_db": ("level dB", "+.1f")}  # fmt: skip


@plain_errors
def models(
    presets: Annotated[bool, option("List the presets for `dccrn train --preset` instead.", "--presets")] = False,
    as_json: AsJson = False,
) -> None:
    """List the bundled models: size, cost, latency, data, licence, validation figures."""
    rows = _presets() if presets else _bundled()
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    _print([["", "parameters", "GMAC/s", "latency"], *map(_measures, rows)])
    if not presets:
        typer.echo()
        _print([["validation", "model", *(title for title, _ in FIGURES.values())], *_figures(rows)])
        for row in rows:
            data, hours = row["data"] or "data not stated", row["hours_seen"] or "?"
            typer.echo(f"\n{row['name']}: trained on {data}; {hours} h of mixtures seen")
            typer.echo(f"licence: {row['licence'] or 'not stated'}")


def _presets() -> list[dict[str, Any]]:
    import torch

    from dccrn_cli.nn.build import build_network
    from dccrn_cli.nn.config import PRESETS

    rows = []
    for name, config in PRESETS.items():
        with torch.device("meta"):
            network = build_network(config)
        rows.append({"name": name, "architecture": config.architecture, **_size_and_cost(network)})
    return rows


def _bundled() -> list[dict[str, Any]]:
    from dccrn_cli.nn.checkpoint import load_checkpoint
    from dccrn_cli.nn.models import DEFAULT_MODEL, bundled_models

    return [
        {
            "name": model.name,
            "default": model.name == DEFAULT_MODEL,
            "bytes": model.path.stat().st_size,
            **_size_and_cost(load_checkpoint(model.path)[0]),
            **{key: model.provenance.get(key) for key in ("data", "licence", "hours_seen", "validation")},
        }
        for model in bundled_models()
    ]


def _size_and_cost(network: SpectralNetwork) -> dict[str, Any]:
    from dccrn_cli.nn.base import SAMPLE_RATE
    from dccrn_cli.nn.cost import count_parameters, macs_per_second

    return {
        "parameters": count_parameters(network),
        "macs_per_second": macs_per_second(network.config),
        "latency_ms": round((network.config.latency_samples + 1) * 1000 / SAMPLE_RATE, 1),
    }


def _measures(row: dict[str, Any]) -> list[str]:
    """Size, cost per second of audio and latency of a network, as cells."""
    parameters, gmacs = f"{row['parameters'] / 1e6:.2f} M", f"{row['macs_per_second'] / 1e9:.2f}"
    return [f"{row['name']}{' (default)' if row.get('default') else ''}", parameters, gmacs, f"{row['latency_ms']} ms"]


def _figures(rows: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Validation figures, those of one set below each other."""
    parts = dict.fromkeys(part for row in rows for part in row["validation"] or {})
    for part in parts:
        for row in rows:
            if figures := (row["validation"] or {}).get(part):
                cells = [f"{figures[name]:{form}}" if name in figures else "" for name, (_, form) in FIGURES.items()]
                yield [part, row["name"], *cells]


def _print(rows: Sequence[Sequence[str]]) -> None:
    """A table whose columns of numbers are flush right."""
    texts = [all(not cell[:1].isdigit() and cell[:1] not in "+-" for cell in column[1:] if cell) for column in
             zip(*rows, strict=True)]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, texts, strict=True)
        line = "  ".join(cell.ljust(width) if is_text else cell.rjust(width) for cell, width, is_text in cells)
        typer.echo(line.rstrip())
