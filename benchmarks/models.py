"""Trains all presets in the same way on a small budget, and shows the figures of their papers beside.

    python benchmarks/models.py RUNS --clean SPEECH --noise NOISE --validation DATA --steps 1000
    python benchmarks/models.py RUNS --clean SPEECH --noise NOISE --validation DATA --minutes 30

Each preset is trained from the same seed on the same mixtures in the same order, in its own folder
below RUNS. Finished presets are not repeated, and interrupted ones are resumed. RUNS belongs to one
set of options; presets may be added. DATA contains pairs in noisy/ and clean/ (or main/ with both),
and metadata.csv with the columns name and snr_db. The tables are Markdown. With --losses, the given
losses are compared too, on one network. Short training ranks systems by how fast they learn, not by
what they can reach.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dccrn_cli.data.clips import ClipPool, find_clips
from dccrn_cli.data.pairs import Pair, read_pairs
from dccrn_cli.metrics import MetricError, pesq_raw, pesq_wb, si_snr, stoi
from dccrn_cli.mixing.mixer import Mixer, MixingOptions
from dccrn_cli.nn.base import SAMPLE_RATE
from dccrn_cli.nn.build import build_network
from dccrn_cli.nn.checkpoint import load_checkpoint, save_model
from dccrn_cli.nn.config import PRESETS, DCCRNConfig, preset
from dccrn_cli.nn.cost import count_parameters, macs_per_second
from dccrn_cli.training.losses import COMBINATIONS, TERMS, LossOptions
from dccrn_cli.training.train_options import TrainOptions
from dccrn_cli.training.trainer import Trainer
from dccrn_cli.utils.storage import write_whole

MEASURES = {"si_snr": si_snr, "pesq_wb": pesq_wb, "pesq_raw": pesq_raw, "stoi": stoi}
TITLES = {
    "si_snr": "SI-SNR, dB",
    "pesq_wb": "PESQ, wide-band MOS-LQO (P.862.2)",
    "pesq_raw": "PESQ, narrow-band raw (P.862), the scale of the DCCRN paper",
    "stoi": "STOI",
}
NOISY = "noisy"
SETTINGS, MODEL, FIGURES, SPENT = "settings.json", "model.safetensors", "figures.json", "spent.json"

WITH = " with "
"""Separates the name of a network from that of its loss, unless that is the default."""

PLAIN: Mapping[str, object] = {
    "snr_db": (-5.0, 20.0), "clean": 0.0, "second_noise": 0.0, "synthetic": 0.0, "equaliser": 0.0, "band_limit": 0.0,
    "clipping": 0.0, "codec": 0.0, "speed": 0.0, "noise_only": 0.0, "lead_in": 0.0, "pauses": 0.0, "tonal": 0.0,
    "talkers": 0.0,
}  # fmt: skip
"""Plain mixtures of speech and noise, as in the papers."""

OF_MAGNITUDES = ("msa", "smm")
"""Losses without phase, with which a DCCRN keeps the noisy phase."""

AVERAGED = 0.99
"""Decay of the weight average: about 100 steps, since the runs are short."""

WARMUP = 50
"""Warm-up steps if the number of steps is unknown; otherwise a tenth of it."""

Figures = dict[str, dict[str, float]]
"""By SNR, then by metric; the key `all` is the mean over all pairs."""


@dataclass(frozen=True)
class Paper:
    """A paper's figures for a system; None if it gives none or our copy is illegible.

    Attributes:
        parameters: parameters in millions.
        wsj0: PESQ of the DCCRN paper's Table 1 at 0, 5, 10, 15, 20 dB and their mean, raw narrow-band.
        dns: PESQ of its Table 2, without and with reverberation, on the same scale.
    """

    parameters: float | None = None
    wsj0: tuple[float | None, ...] = (None,) * 6
    dns: tuple[float | None, ...] = (None,) * 2


PAPERS = {
    NOISY: Paper(None, (None, None, None, None, 3.370, None), (2.454, 2.752)),
    "lstm": Paper(9.6, (2.783, 3.103, 3.371, 3.593, 3.781, 3.326)),
    "crn": Paper(17.58),  # of the authors' code; not in the DCCRN paper
    "complex-crn": Paper(6.1, (None, None, None, None, 3.717, None)),
    "dccrn-r": Paper(3.7, (2.832, 3.192, 3.488, 3.717, 3.891, 3.424)),
    "dccrn-c": Paper(3.7, (None, None, None, None, 3.840, None)),
    "dccrn-e": Paper(3.7, (2.859, 3.203, 3.492, 3.718, 3.891, 3.433), (3.266, 3.077)),
    "dccrn-cl": Paper(3.7, (None, None, None, None, 3.901, None), (3.262, 3.101)),
    "dcunet": Paper(3.6, (None, None, None, None, 3.916, None), (3.223, 2.796)),
}


def read_json(path: Path) -> Any:
    """Read a JSON file; None if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file atomically."""
    write_whole(path, (json.dumps(data, indent=2) + "\n").encode())


def labelled_pairs(data: Path, count: int) -> list[tuple[str, Pair]]:
    """Pairs with their SNRs, evenly thinned out if there are more than `count`."""
    folder = data / "main" if (data / "main").is_dir() else data
    snr_db = {}
    for metadata in (data / "metadata.csv", folder / "metadata.csv"):
        if metadata.exists():
            with open(metadata, newline="", encoding="utf-8") as file:
                snr_db = {row["name"]: f"{float(row['snr_db']):g}" for row in csv.DictReader(file) if row["snr_db"]}
    pairs = [(snr_db.get(Path(pair.name).stem, snr_db.get(pair.name, "?")), pair) for pair in read_pairs(folder)]
    pairs.sort(key=lambda item: item[0])  # so that all SNRs remain
    return pairs if count == 0 else pairs[:: max(len(pairs) // count, 1)][:count]


def measure(pairs: Sequence[tuple[str, Pair]], model: torch.nn.Module | None) -> Figures:
    """Mean figures by SNR of a model's output, or of the noisy signals."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for snr, pair in pairs:
        output = pair.noisy
        if model is not None:
            with torch.inference_mode():
                output = model(torch.from_numpy(pair.noisy)[None])[0].numpy()
        for name, function in MEASURES.items():
            try:
                value = function(pair.clean, output)
            except MetricError:
                continue  # undefined for this pair
            groups[snr][name].append(value)
            groups["all"][name].append(value)
    return {snr: {name: float(np.mean(v)) for name, v in values.items()} for snr, values in groups.items()}


def train(name: str, folder: Path, pairs: list[Pair], arguments: argparse.Namespace) -> dict[str, float]:
    """Train a preset, or resume it, up to the budget; returns the budget used."""
    torch.manual_seed(arguments.seed)
    mixing = MixingOptions(**PLAIN, seconds=arguments.seconds, reverb=0.5 if arguments.rooms else 0.0)  # type: ignore[arg-type]
    rooms = ClipPool(find_clips(arguments.rooms)) if arguments.rooms else None
    speech, noise = ClipPool(find_clips(arguments.clean)), ClipPool(find_clips(arguments.noise))
    timed = arguments.minutes is not None
    options = TrainOptions(
        # Without a known end the rate stays constant and there is no validation: the budget ends the run.
        steps=10**9 if timed else arguments.steps, schedule="plateau" if timed else "cosine", early_stop=0,
        validate_every=10**9, warmup=WARMUP if timed else max(arguments.steps // 10, 1),
        batch=arguments.batch, lr=arguments.lr, optimizer=arguments.optimizer, ema=AVERAGED,
        bf16=arguments.bf16, seed=arguments.seed,
    )  # fmt: skip
    mixer = Mixer(speech, noise, rooms, mixing, arguments.seed)
    network, _, loss_name = name.partition(WITH)
    config = preset(network)
    if loss_name in OF_MAGNITUDES and isinstance(config, DCCRNConfig):
        config = dataclasses.replace(config, mask="M")
    loss = LossOptions(COMBINATIONS.get(loss_name, {loss_name: 1.0})) if loss_name else LossOptions()
    trainer = Trainer(build_network(config), mixer, pairs, folder, options, loss)
    trainer.resume()
    before = read_json(folder / SPENT) or {"training_s": 0.0, "audio_s": 0.0}
    # Steps after the last checkpoint of a killed run are repeated.
    started, audio_before = time.monotonic(), trainer.progress.seconds_seen
    spent = dict(before)

    def is_over() -> bool:
        return timed and spent["training_s"] >= 60 * arguments.minutes

    for progress in trainer.run(stop=is_over):
        spent["training_s"] = before["training_s"] + time.monotonic() - started
        spent["audio_s"] = before["audio_s"] + progress.seconds_seen - audio_before
        if progress.step % 10 == 0:
            write_json(folder / SPENT, spent)
            print(f"{name}: step {progress.step}  loss {progress.loss:.4f}", flush=True)
    write_json(folder / SPENT, spent)
    model = trainer.average.model()
    save_model(model, folder / MODEL, {"preset": name, "steps": trainer.progress.step, "data": "benchmark"})
    return {**spent, "steps": trainer.progress.step, "loss": trainer.progress.loss}


def run(name: str, pairs: Sequence[tuple[str, Pair]], arguments: argparse.Namespace) -> dict[str, Any]:
    """The record of a preset, from an earlier run or a new one."""
    folder = arguments.runs / name
    record: dict[str, Any] | None = read_json(folder / FIGURES)
    if record is None:
        training = train(name, folder, [pair for _, pair in pairs[:1]], arguments)
        record = {"training": training, "figures": measure(pairs, load_checkpoint(folder / MODEL)[0])}
        write_json(folder / FIGURES, record)
    return record


def claim(arguments: argparse.Namespace) -> None:
    """Create the folder of the runs, or check that it was created with these options."""
    settings = {
        key: [str(item) for item in value] if isinstance(value, list) else str(value)
        for key, value in vars(arguments).items()
        if key not in ("runs", "presets", "losses", "loss_preset", "threads", "json")
    }
    arguments.runs.mkdir(parents=True, exist_ok=True)
    before = read_json(arguments.runs / SETTINGS)
    if before not in (None, settings):
        raise SystemExit(f"{arguments.runs}: created with other options, see {SETTINGS}")
    write_json(arguments.runs / SETTINGS, settings)


def cell(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A number, or a dash."""
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def size_table(records: dict[str, dict[str, Any]]) -> str:
    """Table of the cost of each system, and of its training."""
    lines = [
        "| system | parameters M | paper's | GMAC/s | look-ahead ms | latency ms | steps | audio trained on, h "
        "| audio per second of training, s | loss |",
        "|" + "---|" * 10,
    ]
    for name, record in records.items():
        config, training = preset(name.partition(WITH)[0]), record["training"]
        with torch.device("meta"):
            parameters = count_parameters(build_network(config)) / 1e6
        ahead_ms, latency_ms = (
            1e3 * samples / SAMPLE_RATE
            for samples in (config.look_ahead * config.hop_length, config.latency_samples + 1)
        )
        cells = [
            name, cell(parameters), cell(PAPERS.get(name, Paper()).parameters), cell(macs_per_second(config) / 1e9),
            cell(ahead_ms, 1), cell(latency_ms, 1), f"{training['steps']}", cell(training["audio_s"] / 3600),
            cell(training["audio_s"] / max(training["training_s"], 1e-3), 1), cell(training["loss"], 3),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measure_table(measure_name: str, noisy: Figures, records: dict[str, dict[str, Any]]) -> str:
    """Table of a metric by SNR: the noisy signals, and each system's improvement."""
    keys = [
        *sorted((key for key in noisy if key != "all"), key=lambda key: (key == "?", float(key.replace("?", "0")))),
        "all",
    ]
    digits = 3 if measure_name == "stoi" else 2
    lines = [f"| {TITLES[measure_name]} | {' | '.join(key if key == 'all' else f'{key} dB' for key in keys)} |"]
    lines.append("|" + "---|" * (len(keys) + 1))
    lines.append(f"| {NOISY} | {' | '.join(cell(noisy[key].get(measure_name), digits) for key in keys)} |")
    for name, record in records.items():
        cells = []
        for key in keys:
            ours, before = record["figures"][key].get(measure_name), noisy[key].get(measure_name)
            cells.append(cell(None if ours is None or before is None else ours - before, digits, sign=True))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def paper_table(noisy: Figures, records: dict[str, dict[str, Any]]) -> str:
    """The DCCRN paper's Tables 1 and 2 beside our figures, all raw narrow-band PESQ; data and budgets differ."""
    heads = ["system", "ours, all", *(f"WSJ0 {snr} dB" for snr in (0, 5, 10, 15, 20)), "WSJ0 mean"]
    heads += ["DNS no reverb", "DNS reverb"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, figures in {NOISY: noisy, **{name: record["figures"] for name, record in records.items()}}.items():
        paper = PAPERS.get(name, Paper())
        cells = [cell(figures["all"].get("pesq_raw"), 3), *(cell(value, 3) for value in (*paper.wsj0, *paper.dns))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the runs, created if missing")
    parser.add_argument("--clean", type=Path, nargs="+", required=True)
    parser.add_argument("--noise", type=Path, nargs="+", required=True)
    parser.add_argument("--rooms", type=Path, nargs="+")
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--presets", nargs="*", choices=list(PRESETS), default=list(PRESETS), metavar="NAME")
    parser.add_argument("--losses", nargs="+", choices=[*COMBINATIONS, *TERMS], default=[], metavar="LOSS")
    parser.add_argument("--loss-preset", choices=list(PRESETS), default="dccrn-small", metavar="NAME")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, default=1000)
    budget.add_argument("--minutes", type=float, help="minutes of training per preset, instead of --steps")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--optimizer", choices=["muon", "adamw", "adam"], default="muon")
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--pairs", type=int, default=0, help="largest number of validation pairs; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    claim(arguments)
    pairs = labelled_pairs(arguments.validation, arguments.pairs)
    noisy = measure(pairs, None)
    names = [*arguments.presets, *(f"{arguments.loss_preset}{WITH}{loss}" for loss in arguments.losses)]
    records = {name: run(name, pairs, arguments) for name in names}
    print(f"\n{len(pairs)} validation pairs; improvements over the noisy signals\n\n{size_table(records)}")
    for measure_name in MEASURES:
        print(f"\n{measure_table(measure_name, noisy, records)}")
    print(f"\n{paper_table(noisy, records)}")
    if arguments.json:
        write_json(arguments.json, {NOISY: noisy, **records})


if __name__ == "__main__":
    main()
