"""`dccrn train`."""

from __future__ import annotations

import enum
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dccrn_cli.cli.console import INTERRUPTED, duration, error_line, plain_errors
from dccrn_cli.cli.enhance import DeviceChoice

if TYPE_CHECKING:
    from dccrn_cli.nn.network import Network
    from dccrn_cli.training.mixing import Mixer, MixingOptions
    from dccrn_cli.training.trainer import Progress
    from dccrn_cli.training.validation import Pair

HELD_OUT_SPEECH, HELD_OUT_NOISE = 0.02, 0.03
HELD_OUT_PAIRS = 64
LOG_EVERY = 100


class ScheduleChoice(enum.StrEnum):
    """How the learning rate falls."""

    plateau = "plateau"
    cosine = "cosine"


@plain_errors
def train(
    clean: Annotated[list[Path], typer.Option(help="Clean speech: folder, .tar archive or file; may be repeated.")],
    noise: Annotated[list[Path], typer.Option(help="Noise, in the same forms; may be repeated.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run; a run found there goes on.")],
    rooms: Annotated[
        list[Path] | None, typer.Option(help="Room impulse responses; simulated ones are used besides.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(help="Folder with noisy/ and clean/; else mixtures of clips that are set aside."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Network: any that `dccrn models --presets` lists.",
            show_default="dccrn-small, or that of --init",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from this model: bundled name or file. With a wider --preset its channels are copied."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps in all.")] = 100_000,
    batch: Annotated[int, typer.Option(min=1, help="Examples per step.")] = 4,
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of an example.")] = 4.0,
    lr: Annotated[float, typer.Option(min=0.0, help="Peak learning rate.")] = 2e-3,
    schedule: Annotated[
        ScheduleChoice, typer.Option(help="Halve the rate when validation stalls, or let it fall along a cosine.")
    ] = ScheduleChoice.plateau,
    patience: Annotated[int, typer.Option(min=1, help="Validations without progress before a halving.")] = 2,
    early_stop: Annotated[
        int, typer.Option(min=0, help="Validations without progress before the end; 0 for never.")
    ] = 10,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 2000,
    bf16: Annotated[bool, typer.Option("--bf16/--fp32", help="Precision of the network's arithmetic.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Sets initial weights and data.")] = 0,
    device: Annotated[DeviceChoice, typer.Option(help="Where to train.")] = DeviceChoice.auto,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 for one per core.")] = 0,
) -> None:
    """Train a network on speech and noise, mixed anew for every step.

    The run's folder holds best.safetensors (usable at once: `dccrn enhance --model`), last.pt
    and log.jsonl. A run that was stopped, by Ctrl-C or any other way, goes on with the same command.
    """
    import torch

    from dccrn_cli.engine.enhancer import pick_device
    from dccrn_cli.nn.cost import count_parameters
    from dccrn_cli.training.mixing import MixingOptions
    from dccrn_cli.training.trainer import Trainer, TrainOptions

    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    mixer, pairs = _data(clean, noise, rooms, validation, MixingOptions(seconds=seconds), seed)
    model, provenance = _network(preset, init)
    options = TrainOptions(
        steps=steps, batch=batch, lr=lr, schedule=schedule.value, patience=patience, early_stop=early_stop,
        bf16=bf16, validate_every=validate_every, seed=seed,
    )  # fmt: skip
    trainer = Trainer(model, mixer, pairs, output, options, device=pick_device(device.value), provenance=provenance)
    resumed = trainer.resume()
    typer.echo(
        f"{count_parameters(model) / 1e6:.2f} M parameters; {len(mixer.speech.clips):,} clips of speech, "
        f"{len(mixer.noise.clips):,} of noise, {len(pairs)} validation pairs"
        + (f"; going on after step {trainer.progress.step:,}" if resumed else "")
    )
    told: set[str] = set()
    with _stop_on_signal() as stopped:
        for progress in trainer.run(stop=lambda: bool(stopped)):
            if progress.figures:
                typer.echo(f"step {progress.step:,}  validation  {_figures(progress.figures)}")
            elif progress.step % LOG_EVERY == 0:
                typer.echo(_line(progress))
            for clip, reason in [*mixer.speech.unreadable.items(), *mixer.noise.unreadable.items()]:
                if clip not in told:
                    told.add(clip)
                    error_line(f"Note: {clip}: {reason}; left out")
    if stopped:
        typer.echo(f"Stopped after step {trainer.progress.step:,}; the same command goes on.")
        raise typer.Exit(INTERRUPTED)
    best = trainer.progress.best
    typer.echo(f"Best: {_figures(best) if best else 'not validated yet'}; {output / 'best.safetensors'}")


def _data(
    clean: list[Path],
    noise: list[Path],
    rooms: list[Path] | None,
    validation: Path | None,
    mixing: MixingOptions,
    seed: int,
) -> tuple[Mixer, list[Pair]]:
    """What to train on, and the fixed pairs to validate on."""
    from dccrn_cli.errors import OptionError
    from dccrn_cli.training.clips import ClipPool, find_clips, split_clips
    from dccrn_cli.training.mixing import Mixer
    from dccrn_cli.training.validation import mixed_pairs, read_pairs

    speech_clips, noise_clips = find_clips(clean), find_clips(noise)
    room_pool = ClipPool(find_clips(rooms)) if rooms else None
    if validation is not None:
        pairs = read_pairs(validation)
    else:
        speech_clips, held_speech = split_clips(speech_clips, HELD_OUT_SPEECH)
        noise_clips, held_noise = split_clips(noise_clips, HELD_OUT_NOISE)
        if not (held_speech and held_noise and speech_clips and noise_clips):
            raise OptionError("too few clips to set some aside for validation; give --validation")
        held = Mixer(ClipPool(held_speech), ClipPool(held_noise), room_pool, mixing, seed + 1)
        pairs = mixed_pairs(held, HELD_OUT_PAIRS)
    return Mixer(ClipPool(speech_clips), ClipPool(noise_clips), room_pool, mixing, seed), pairs


def _network(preset: str | None, init: str | None) -> tuple[Network, dict[str, Any]]:
    """The network to train, and what is known of where it comes from."""
    from dccrn_cli.engine.models import find_model
    from dccrn_cli.nn.build import build_network
    from dccrn_cli.nn.checkpoint import load_model
    from dccrn_cli.nn.config import preset as preset_named
    from dccrn_cli.nn.widen import widen

    if init is None:
        name = preset or "dccrn-small"
        return build_network(preset_named(name)), {"preset": name}
    model, before = load_model(find_model(init))
    if preset is not None and (config := preset_named(preset)) != model.config:
        model = widen(model, config)
    return model, {"started_from": Path(init).name, "hours_seen": before.get("hours_seen", 0.0)}


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """A list that fills on Ctrl-C or a termination signal; a second one ends the process at once."""
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _line(progress: Progress) -> str:
    skipped = f"  {progress.skipped} steps skipped" if progress.skipped else ""
    return (
        f"step {progress.step:,}  loss {progress.loss:.4f}  lr {progress.lr:.1e}  "
        f"{duration(progress.seconds_seen)} seen  {progress.speed:.1f} × real time{skipped}"
    )


def _figures(figures: dict[str, float]) -> str:
    return json.dumps({name: round(value, 4) for name, value in figures.items()})[1:-1].replace('"', "")
