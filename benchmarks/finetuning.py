"""Measures the effect of fine-tuning on one kind of noise, on unseen recordings.

    python benchmarks/finetuning.py FOLDER --clean SPEECH --noise NOISE... --kind keyboard --data DATA

Copies `--noise-minutes` of the clips whose folder is named KIND and `--speech-minutes` of speech to FOLDER,
runs `dccrn finetune` on them, and measures SI-SNR before and after on mixtures, from -5 to 20 dB, of the
other clips of that kind with the clean speech of DATA/main/clean, and on the pairs of DATA/main. Files
already in FOLDER are reused.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from dccrn_cli.data.clips import Clip, find_clips
from dccrn_cli.data.pairs import Pair, read_pairs
from dccrn_cli.nn.base import SAMPLE_RATE
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.nn.models import find_model
from dccrn_cli.training.finetune_data import plain_mixtures
from dccrn_cli.training.losses import LossOptions
from dccrn_cli.training.validation import mean_figures, measure

TEST_SEED = 77


def take(clips: Sequence[Clip], minutes: float, folder: Path) -> list[Clip]:
    """Copy the given minutes of clips, in random order, to a folder; return the other clips."""
    order = np.random.default_rng(0).permutation(len(clips))
    folder.mkdir(parents=True, exist_ok=True)
    left, samples = [], 0
    for place in order:
        clip = clips[int(place)]
        if samples >= 60 * minutes * SAMPLE_RATE:
            left.append(clip)
            continue
        audio = clip.read()
        samples += len(audio)
        path = folder / f"{clip.name.replace('/', '_')}.flac"
        if not path.exists():
            soundfile.write(path, audio, SAMPLE_RATE)
    return left


def si_snr_db(model: str, pairs: Sequence[Pair]) -> float:
    """Mean SI-SNR of a model's output."""
    network, _ = load_checkpoint(find_model(model))
    return mean_figures(measure(network, pairs, LossOptions(), ("si_snr",)))["si_snr"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clean", type=Path, nargs="+", required=True)
    parser.add_argument("--noise", type=Path, nargs="+", required=True)
    parser.add_argument("--kind", required=True, help="name of the noise folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="dccrn")
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes of training")
    parser.add_argument("--noise-minutes", type=float, default=10.0)
    parser.add_argument("--speech-minutes", type=float, default=20.0)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    speech, noise = arguments.folder / "speech", arguments.folder / "noise"
    of_kind = [clip for clip in find_clips(arguments.noise) if Path(clip.name).parent.name == arguments.kind]
    others = take(of_kind, arguments.noise_minutes, noise)
    take(find_clips(arguments.clean), arguments.speech_minutes, speech)
    if not others:
        raise SystemExit(f"all clips of {arguments.kind} are used for training; none are left for measuring")
    tuned = arguments.folder / f"{arguments.kind}.safetensors"
    if not tuned.exists():
        command = ["finetune", "--clean", str(speech), "--noise", str(noise), "-o", str(tuned)]
        command += ["--model", arguments.model, "--minutes", str(arguments.minutes)]
        subprocess.run([sys.executable, "-m", "dccrn_cli", *command], check=True)
    mixtures = plain_mixtures(find_clips([arguments.data / "main" / "clean"]), others, TEST_SEED)
    sets = {
        f"{len(others)} other clips of {arguments.kind}": [pair for pairs in mixtures.values() for pair in pairs],
        "main": read_pairs(arguments.data / "main"),
    }
    print("| SI-SNR dB | before | after | |\n|---|---|---|---|")
    for name, pairs in sets.items():
        before, after = (si_snr_db(model, pairs) for model in (arguments.model, str(tuned)))
        print(f"| {name} | {before:.2f} | {after:.2f} | {after - before:+.2f} |")


if __name__ == "__main__":
    main()
