"""`dccrn models`."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from dccrn_cli.cli.console import plain_errors

FIGURES = {
    "si_snr": "SI-SNR {:.2f} dB",
    "pesq_wb": "PESQ-WB {:.2f}",
    "stoi": "STOI {:.3f}",
    "level_db": "level {:+.1f} dB",
}


@plain_errors
def models(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the bundled models: size, cost, latency, data, licence, validation figures."""
    from dccrn_cli.engine.models import DEFAULT_MODEL, bundled_models
    from dccrn_cli.nn.checkpoint import load_model
    from dccrn_cli.nn.config import SAMPLE_RATE
    from dccrn_cli.nn.cost import count_parameters, macs_per_second

    rows: list[dict[str, Any]] = []
    for model in bundled_models():
        rows.append(
            {
                "name": model.name,
                "default": model.name == DEFAULT_MODEL,
                "parameters": count_parameters(load_model(model.path)[0]),
                "bytes": model.path.stat().st_size,
                "macs_per_second": macs_per_second(model.config),
                "latency_ms": round((model.config.latency_samples + 1) * 1000 / SAMPLE_RATE, 1),
                **{key: model.provenance.get(key) for key in ("data", "licence", "hours_seen", "validation")},
            }
        )
    if json:
        typer.echo(json_module.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(_describe(row))


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
