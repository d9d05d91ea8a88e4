"""Measures a model on a validation set, using files written by `dccrn enhance`.

    python benchmarks/validation.py DATA [--model NAME|PATH] [--json FIGURES.json] [--quick]
        [--processes 2] [--cache FOLDER]

DATA contains main/, reverb/ and clean/, each with noisy/ and clean/ of the same file names, and
metadata.csv with the columns part, name, snr_db, speaker and noise_class. Two further sets are derived
from main/, always the same: `cold_start`, 24 pairs preceded by a second of their own noise, and
`babble`, 24 pairs of a talker among four others at 5 dB SNR.

SI-SNR in dB has means removed; PESQ is wide-band MOS-LQO (P.862.2); STOI is the classic metric;
"level" is the energy of the result relative to the reference; "pauses" is the energy of the result
relative to the input in frames 50 dB below the loudest of the reference, "start" the same in the first
0.3 s; SIG, BAK and OVRL are DNSMOS P.835, omitted unless the package `speechmos` provides its network
(`pip install --no-deps speechmos onnxruntime`). All are means over pairs that have them.

A cache folder avoids measuring the same signals again: inputs for the next model, and the results of an
interrupted run. --quick measures SI-SNR, PESQ, STOI, level and pauses on every second pair of main/.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import soundfile
import torch

from dccrn_cli.data.speech_level import active_rms, rms
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.engine.files.plan import make_plan
from dccrn_cli.errors import DccrnError, MetricError
from dccrn_cli.metrics import METRICS
from dccrn_cli.metrics.dnsmos import find_dnsmos_model, load_network
from dccrn_cli.metrics.inputs import Signals

RATE = 16_000
MADE_PAIRS = 24
MADE_SEED = 2020
LEAD_S, START_S = 1.0, 0.3
BABBLE_TALKERS, BABBLE_SNR_DB = 4, 5.0

BASIC = ("si_snr", "pesq_wb", "stoi", "level_db")
MEASURES: Mapping[str, tuple[str, ...]] = {
    "main": (*BASIC, "estoi", "pauses_db", "sig", "bak", "ovrl"),
    "reverb": (*BASIC, "estoi"),
    "clean": (*BASIC, "estoi"),
    "cold_start": ("start_db", *BASIC),
    "babble": (*BASIC, "estoi"),
}
"""Metrics of each set."""

QUICK = (*BASIC, "pauses_db")

COLUMNS: Mapping[str, tuple[str, str]] = {
    "si_snr": ("SI-SNR dB", ".2f"), "pesq_wb": ("PESQ-WB", ".3f"), "stoi": ("STOI", ".3f"), "estoi": ("ESTOI", ".3f"),
    "level_db": ("level dB", "+.2f"), "pauses_db": ("pauses dB", ".1f"), "start_db": ("start dB", ".1f"),
    "sig": ("SIG", ".2f"), "bak": ("BAK", ".2f"), "ovrl": ("OVRL", ".2f"),
}  # fmt: skip

_METRIC = {
    "sig": "dnsmos_sig", "bak": "dnsmos_bak", "ovrl": "dnsmos_ovrl", "pauses_db": "pause_attenuation",
}  # fmt: skip

KINDS: Mapping[str, frozenset[str]] = {
    "voices": frozenset({"babble", "crowd_babble", "cafe_babble", "baby_cry", "cough", "office"}),
    "tones and signals": frozenset(
        {"siren_alarm", "car_horn", "horns", "beeps", "phone_dial", "bells", "chimes", "creaks"}
    ),
    "motors and machines": frozenset(
        {"vacuum", "fan_hvac", "engine", "airplane", "train", "car_interior", "machines", "drilling", "jackhammer",
         "hand_saw", "traffic"}
    ),
    "knocks and clicks": frozenset(
        {"keyboard", "mouse_click", "click", "door", "footsteps", "gunshot_explosion", "fireworks", "can_opening",
         "applause"}
    ),
    "weather and water": frozenset(
        {"rain", "wind", "water", "shower", "leaves", "fire", "thunder"}
    ),
    "animals and bodies": frozenset(
        {"birds", "cat", "dog", "insects", "animals", "breathing", "snoring", "heartbeat", "brushing_teeth",
         "drinking_sipping"}
    ),
}  # fmt: skip
"""Kinds of noise and their classes in the metadata."""

_ENHANCERS: dict[str | None, FileEnhancer] = {}
"""One per process; a cached function could not be sent to another."""

Figures = dict[str, float]
Results = dict[str, dict[str, Figures]]
"""By set, then by group: "noisy" or "enhanced", alone, with an SNR ("enhanced 5 dB") or a class of noise
("enhanced: vacuum"); each with the number of its pairs."""


@dataclass(frozen=True)
class PairFiles:
    """A pair on disk.

    Attributes:
        part: part of the set.
        noisy, clean: paths of the files.
        groups: suffixes of the groups that it belongs to besides its whole part.
    """

    part: str
    noisy: Path
    clean: Path
    groups: tuple[str, ...] = ()


def find_pairs(data: Path) -> list[PairFiles]:
    """Find the pairs of main/, reverb/ and clean/ by name, with SNR and noise class for main/."""
    rows = _metadata(data)
    pairs = []
    for part in ("main", "reverb", "clean"):
        for noisy in sorted((data / part / "noisy").iterdir()):
            row = rows.get((part, noisy.stem), {})
            snr_db, noise = row.get("snr_db", ""), row.get("noise_class", "")
            groups = [f" {snr_db} dB"] if snr_db else []
            groups += [f": {noise}", f": {kind_of(noise)}"] if noise else []
            pairs.append(
                PairFiles(part, noisy, data / part / "clean" / noisy.name, tuple(groups) if part == "main" else ())
            )
    return pairs


def kind_of(noise: str) -> str:
    """Kind of a noise class."""
    return next((kind for kind, classes in KINDS.items() if noise in classes), "other noises")


def make_cold_starts(pairs: Sequence[PairFiles], folder: Path) -> list[PairFiles]:
    """Make pairs preceded by a second of their own noise, from a place where there is some."""
    rng = np.random.default_rng(MADE_SEED)
    lead, start = round(LEAD_S * RATE), round(START_S * RATE)
    made: list[PairFiles] = []
    for index in rng.permutation(len(pairs)):
        if len(made) == MADE_PAIRS:
            break
        noisy, clean = _read(pairs[index].noisy), _read(pairs[index].clean)
        noise = noisy - clean
        first = int(rng.integers(max(len(noise) - lead, 0) + 1))
        before = noise[first : first + lead]
        if rms(before[:start]) < 10 ** (-10 / 20) * rms(noise):
            continue
        signals = np.concatenate([before, noisy]), np.concatenate([np.zeros(len(before)), clean])
        made.append(_written("cold_start", folder, f"{len(made):02}_{pairs[index].noisy.name}", *signals))
    return made


def make_babble(pairs: Sequence[PairFiles], speakers: Sequence[str], folder: Path) -> list[PairFiles]:
    """Make mixtures of a talker with other speakers, the latter all at the same level."""
    rng = np.random.default_rng(MADE_SEED + 1)
    made: list[PairFiles] = []
    for index in rng.permutation(len(pairs))[:MADE_PAIRS]:
        clean = _read(pairs[index].clean)
        babble, present = np.zeros(len(clean)), {speakers[index]}
        for other in rng.permutation(len(pairs)):
            if len(present) > BABBLE_TALKERS:
                break
            if speakers[other] not in present:
                present.add(speakers[other])
                voice = _read(pairs[other].clean)
                babble += np.resize(voice / active_rms(voice), len(clean))
        babble *= active_rms(clean) * 10 ** (-BABBLE_SNR_DB / 20) / rms(babble)
        gain = min(1.0, 0.99 / float(np.abs(clean + babble).max()))
        name = f"{len(made):02}_{pairs[index].clean.name}"
        made.append(_written("babble", folder, name, gain * (clean + babble), gain * clean))
    return made


def measure(names: Iterable[str], clean: np.ndarray, output: np.ndarray, noisy: np.ndarray) -> Figures:
    """Metrics of one result `(samples,)`; undefined ones are missing."""
    signals = Signals(output, RATE, clean, noisy)
    start = slice(0, round(START_S * RATE))
    figures: Figures = {}
    for name in names:
        try:
            if name == "level_db":
                figures[name] = float(10 * np.log10(np.sum(output**2) / np.sum(clean**2)))
            elif name == "start_db":
                figures[name] = float(10 * np.log10((np.sum(output[start] ** 2) + 1e-12) / np.sum(noisy[start] ** 2)))
            else:
                figures[name] = METRICS[_METRIC.get(name, name)].function(signals)
        except MetricError:
            continue
    return figures


def mean(rows: Sequence[Figures]) -> Figures:
    """Mean of each figure over the pairs that have it, and the number of pairs."""
    columns: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            columns[name].append(value)
    return {**{name: round(float(np.mean(values)), 4) for name, values in columns.items()}, "pairs": len(rows)}


def evaluate(
    data: Path, model: str | None, *, quick: bool = False, processes: int = 1, cache: Path | None = None
) -> Results:
    """Enhance and measure a validation set, using the cache folder if given."""
    pairs = find_pairs(data)
    main_pairs = [pair for pair in pairs if pair.part == "main"]
    measures = dict.fromkeys(MEASURES, QUICK) if quick else MEASURES
    if not quick and not _has_dnsmos():
        measures = {
            part: tuple(name for name in names if name not in ("sig", "bak", "ovrl"))
            for part, names in measures.items()
        }
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            pairs = main_pairs[::2]
        else:
            rows = _metadata(data)
            speakers = [rows["main", pair.noisy.stem]["speaker"] for pair in main_pairs]
            pairs += make_cold_starts(main_pairs, Path(folder))
            pairs += make_babble(main_pairs, speakers, Path(folder))
        task = joblib.delayed(_enhance_and_measure)
        measured = joblib.Parallel(processes)(
            task(pair, model, measures[pair.part], Path(folder, "out", pair.part), quick, cache) for pair in pairs
        )
    groups: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for pair, figures in zip(pairs, measured, strict=True):
        for what, row in figures.items():
            for ending in ("", *pair.groups):
                groups[pair.part][f"{what}{ending}"].append(row)
    return {
        part: {name: mean(rows) for name, rows in sorted(of_part.items(), key=_place)}
        for part, of_part in groups.items()
    }


def table(results: Results) -> str:
    """Format the figures as Markdown tables: all sets and SNRs, then SI-SNR gain and others by kind of noise."""
    shown = [name for name in COLUMNS if any(name in f for groups in results.values() for f in groups.values())]
    lines = ["| set | |" + "".join(f" {COLUMNS[name][0]} |" for name in shown), "|---|---|" + "---|" * len(shown)]
    for part, groups in results.items():
        for group, figures in groups.items():
            if ":" not in group and not (group.startswith("noisy ")):
                cells = (f"{figures[name]:{COLUMNS[name][1]}}" if name in figures else "" for name in shown)
                lines.append(f"| {part} | {group} | " + " | ".join(cells) + " |")
    kinds = [kind for kind in (*KINDS, "other noises") if f"noisy: {kind}" in results.get("main", {})]
    if kinds:
        lines += ["", *_gains(results["main"], kinds)]
    return "\n".join(lines)


def class_table(results: Results) -> str:
    """Table of changes by noise class, lowest SI-SNR gain first."""
    groups = results["main"]
    classes = {name.removeprefix("noisy: ") for name in groups if name.startswith("noisy: ")}
    return "\n".join(_gains(groups, classes - {*KINDS, "other noises"}))


def _gains(groups: Mapping[str, Figures], noises: Iterable[str]) -> list[str]:
    rows = [(noise, groups[f"noisy: {noise}"], groups[f"enhanced: {noise}"]) for noise in noises]
    rows.sort(key=lambda row: row[2]["si_snr"] - row[1]["si_snr"])
    lines = ["| noise | pairs | SI-SNR gained dB | PESQ-WB | STOI gained | pauses dB |", "|---|---|---|---|---|---|"]
    for noise, before, after in rows:
        pauses = f"{after['pauses_db']:.1f}" if "pauses_db" in after else ""
        lines.append(
            f"| {noise} | {after['pairs']:.0f} | {after['si_snr'] - before['si_snr']:+.1f} | {after['pesq_wb']:.2f} "
            f"| {after['stoi'] - before['stoi']:+.3f} | {pauses} |"
        )
    return lines


def _place(item: tuple[str, object]) -> tuple[bool, bool, float, str]:
    """Sort key of groups: noisy, enhanced, then by SNR, then by noise."""
    name = item[0]
    snr = name.removeprefix("enhanced ").removeprefix("noisy ").removesuffix(" dB")
    is_snr = name.endswith(" dB")
    return name.startswith("enhanced"), ":" in name, float(snr) if is_snr else -999.0, name


def _enhance_and_measure(
    pair: PairFiles, model: str | None, names: Sequence[str], folder: Path, quick: bool, cache: Path | None
) -> dict[str, Figures]:
    torch.set_num_threads(1)  # threads that wait for each other are slow on a busy machine
    (job,) = make_plan([str(pair.noisy)], str(folder)).jobs
    result = _enhancer(model)(job)
    if result.status != "done":
        raise SystemExit(f"{result.source}: {result.reason}")
    clean, noisy, output = (_read(path) for path in (pair.clean, pair.noisy, result.target))
    cached = joblib.Memory(cache, verbose=0).cache(measure)
    figures = {"enhanced": cached(names, clean, output, noisy)}
    if not quick:
        apart = [name for name in names if name not in ("pauses_db", "start_db")]
        figures["noisy"] = cached(apart, clean, noisy, noisy)
    return figures


def _enhancer(model: str | None) -> FileEnhancer:
    if model not in _ENHANCERS:
        _ENHANCERS[model] = FileEnhancer(EnhanceOptions(model=model))
    return _ENHANCERS[model]


def _has_dnsmos() -> bool:
    try:
        load_network(find_dnsmos_model())
    except DccrnError as error:
        print(f"without DNSMOS: {error}", file=sys.stderr)
        return False
    return True


def _metadata(data: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(data / "metadata.csv", newline="", encoding="utf-8") as file:
        return {(row["part"], row["name"]): row for row in csv.DictReader(file)}


def _read(path: str | Path) -> np.ndarray:
    samples, rate = soundfile.read(path)
    if rate != RATE or samples.ndim != 1:
        raise SystemExit(f"{path}: {RATE} Hz mono is needed")
    return np.asarray(samples)


def _written(part: str, folder: Path, name: str, noisy: np.ndarray, clean: np.ndarray) -> PairFiles:
    paths = [folder / part / kind / Path(name).with_suffix(".wav") for kind in ("noisy", "clean")]
    for path, samples in zip(paths, (noisy, clean), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, RATE, subtype="FLOAT")
    return PairFiles(part, paths[0], paths[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="bundled model or model file")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--quick", action="store_true", help="only main figures of every second pair of main/")
    parser.add_argument("--classes", action="store_true", help="add a table of all noise classes")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="cache folder for measurements")
    arguments = parser.parse_args()
    began = time.monotonic()
    results = evaluate(
        arguments.data, arguments.model, quick=arguments.quick, processes=arguments.processes, cache=arguments.cache
    )
    print(table(results))
    if arguments.classes and not arguments.quick:
        print(f"\n{class_table(results)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
