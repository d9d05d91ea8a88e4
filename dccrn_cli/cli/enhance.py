"""`dccrn enhance`."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from dccrn_cli.cli.console import SOME_FAILED, USAGE, count, duration, error_line, plain_errors

if TYPE_CHECKING:
    from dccrn_cli.audio.plan import Plan
    from dccrn_cli.engine.batch import FileResult


class HighBandChoice(enum.StrEnum):
    """What happens above 8 kHz."""

    gate = "gate"
    keep = "keep"
    drop = "drop"


class DeviceChoice(enum.StrEnum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


@plain_errors
def enhance(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Files, folders (with all below them) and glob patterns.", show_default=False
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Folder for the results; for one file also a file name.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH", help="A bundled model (see `dccrn models`) or a model file.", show_default="the best"
        ),
    ] = None,
    high_band: Annotated[
        HighBandChoice,
        typer.Option(help="Above 8 kHz: gate with the network's gain, keep as it is, or drop."),
    ] = HighBandChoice.gate,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist; else they are skipped.")
    ] = False,
    device: Annotated[DeviceChoice, typer.Option(help="Where the network runs.")] = DeviceChoice.auto,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads. More help only large models on a machine with nothing else to do.")
    ] = 1,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Remove noise from speech recordings.

    The results have the names, tree, format, sample rate, channels and length of the originals,
    which are never changed. A file that cannot be used is named and the rest goes on.

    Exit code: 0 all done, 1 some files failed, 2 wrong usage.
    """
    from dccrn_cli.audio.plan import make_plan

    plan = make_plan(paths, output)
    for path, reason in plan.unusable:
        error_line(f"FAILED {path}: {reason}")
    if not plan.jobs:
        error_line(
            "Error: no audio files found"
            + (f"; {count(plan.ignored, 'other file')} left alone" if plan.ignored else "")
        )
        raise typer.Exit(USAGE)

    import torch

    from dccrn_cli.cli.progress import BatchProgress
    from dccrn_cli.engine.batch import BatchEnhancer
    from dccrn_cli.engine.models import find_model
    from dccrn_cli.nn.checkpoint import load_model

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    network, _ = load_model(find_model(model))
    batch = BatchEnhancer(network, high_band.value, device.value, overwrite)
    results: list[FileResult] = []
    with BatchProgress(plan.jobs, enabled=not quiet) as progress:
        for result in batch.run(plan.jobs, progress.advance):
            if result.status == "failed":
                error_line(f"FAILED {result.source}: {result.reason}")
            for note in () if quiet else result.notes:
                error_line(f"Note: {result.source}: {note}")
            progress.finish(result.source)
            results.append(result)
    failed = len(plan.unusable) + sum(result.status == "failed" for result in results)
    if not quiet:
        typer.echo(_summary(results, plan, failed, progress.elapsed_s))
    if failed:
        raise typer.Exit(SOME_FAILED)


def _summary(results: list[FileResult], plan: Plan, failed: int, elapsed_s: float) -> str:
    done = [result for result in results if result.status == "done"]
    skipped = sum(result.status == "skipped" for result in results)
    seconds = sum(result.seconds for result in done)
    speed = f", {seconds / elapsed_s:.0f} × real time" if done and elapsed_s else ""
    parts = [f"{count(len(done), 'file')} enhanced ({duration(seconds)} of audio in {duration(elapsed_s)}{speed})"]
    if skipped:
        parts.append(f"{skipped:,} skipped, done already (--overwrite redoes them)")
    if failed:
        parts.append(f"{failed:,} failed")
    if plan.ignored:
        parts.append(f"{count(plan.ignored, 'file')} not audio, left alone")
    return "; ".join(parts)
