"""`dccrn models`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dccrn_cli.cli.console import plain_errors
from dccrn_cli.cli.options import AsJson, option

if TYPE_CHECKING:
    from dccrn_cli.nn.network import SpectralNetwork

FIGURES = {
    "si_snr": "SI-SNR {:.2f} dB",
    "pesq_wb": "PESQ-WB {:.2f}",
    "stoi": "STOI {:.3f}",
    "level_db": "level {:+.1f} dB",
}


@plain_errors
def models(
    presets: Annotated[
        bool, option("List the networks that `dccrn train --preset` makes instead.", "--presets")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the bundled models: size, cost, latency, data, licence, validation figures."""
    rows = _presets() if presets else _bundled()
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(_describe_preset(row) if presets else _describe(row))


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


def _describe_preset(row: dict[str, Any]) -> str:
    return (
        f"{row['name']:<12}{row['parameters'] / 1e6:6.2f} M parameters {row['macs_per_second'] / 1e9:6.2f} GMAC/s "
        f"{row['latency_ms']:6.1f} ms latency"
    )


def _describe(row: dict[str, Any]) -> str:
    lines = [
        f"{row['name']}{' (default)' if row['default'] else ''}",
        f"  size        {row['parameters'] / 1e6:.2f} M parameters, {row['bytes'] / 1e6:.1f} MB",
        f"  cost        {row['macs_per_second'] / 1e9:.2f} GMAC per second of audio",
        f"  latency     {row['latency_ms']} ms",
        f"  trained on  {row['data'] or 'not stated'}; {row['hours_seen'] or '?'} h of mixtures seen",
        f"  licence     {row['licence'] or 'not stated'}",
    ]
    for part, figures in (row["validation"] or {}).items():
        shown = ", ".join(text.format(figures[name]) for name, text in FIGURES.items() if name in figures)
        lines.append(f"  validation  {part}: {shown}")
    return "\n".join(lines)
