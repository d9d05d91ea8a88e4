"""Speed of training, against the paper authors' network in the plainest loop, in one run.

    python benchmarks/training_speed.py [--clean SPEECH --noise NOISE] [--rounds 5] [--threads 1]

Both train DCCRN-E of the paper's size on batches of 3 s clips. The plain loop is the authors'
network (as tests/authors.py has it) in float32 with SI-SNR and Adam, on a batch that is ready. Ours
is `Trainer` with the recipe dccrn-e-paper in bfloat16, mixing its examples as it goes. They take
turns; the ratio is the median over rounds. Without data, clips are made up.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from dccrn_cli.data.clips import ClipPool, find_clips
from dccrn_cli.mixing.mixer import Mixer
from dccrn_cli.nn.build import build_network
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.training.recipe import read_recipe
from dccrn_cli.training.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from authors import authors_model

CLIP_S = 3.0
STEPS = 4
"""Of each, in a round."""


def made_up_clips(folder: Path) -> None:
    """Noise that comes and goes, as both speech and noise."""
    rng = np.random.default_rng(0)
    for number in range(20):
        size = 6 * SAMPLE_RATE
        signal = 0.1 * rng.standard_normal(size) * np.sin(np.arange(size) / 4000 + number)
        soundfile.write(folder / f"{number}.wav", signal, SAMPLE_RATE)


def plain_si_snr(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean SI-SNR of a batch in dB."""
    target = (estimate * clean).sum(-1, keepdim=True) / (clean.square().sum(-1, keepdim=True) + 1e-8) * clean
    error = estimate - target
    return (10 * torch.log10(target.square().sum(-1) / (error.square().sum(-1) + 1e-8) + 1e-8)).mean()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not (arguments.clean and arguments.noise):
            made_up_clips(folder)
        speech, noise = (ClipPool(find_clips([path or folder])) for path in (arguments.clean, arguments.noise))
        recipe = read_recipe(
            "dccrn-e-paper",
            {"mixing": {"seconds": CLIP_S}, "training": {"batch": arguments.batch, "bf16": True,
                                                         "validate_every": 10**6, "save_every_s": 1e6}},
        )  # fmt: skip
        mixer = Mixer(speech, noise, None, recipe.mixing, 0)
        run = Trainer(build_network(recipe.config()), mixer, [], folder / "run", recipe.training, recipe.loss)
        steps = iter(run.run())
        theirs = authors_model("e", use_cbn=False).train()
        adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)
        noisy, clean = (torch.from_numpy(x) for x in mixer.batch(0, arguments.batch))
        size = noisy.shape[1] // 100 * 100

        def plain_step() -> None:
            loss = -plain_si_snr(theirs(noisy), clean[:, :size])
            adam.zero_grad()
            loss.backward()
            adam.step()

        def seconds(work: object) -> float:
            started = time.monotonic()
            for _ in range(STEPS):
                work()  # type: ignore[operator]
            return time.monotonic() - started

        audio_s = STEPS * arguments.batch * CLIP_S
        plain_step()
        next(steps)
        rounds = []
        for _ in range(arguments.rounds):
            plain, ours = seconds(plain_step), seconds(lambda: next(steps))
            rounds.append((audio_s / plain, audio_s / ours))
            print(f"plain {rounds[-1][0]:.2f}, ours {rounds[-1][1]:.2f} s of audio per second")
        mixing_s = seconds(lambda: mixer.batch(1000 + int(time.monotonic()), arguments.batch))
        step_s = audio_s / statistics.median(speed for _, speed in rounds)
        print(f"ratio {statistics.median(ours / plain for plain, ours in rounds):.2f} (median of {arguments.rounds})")
        print(
            f"waiting for data {run.progress.waiting:.1%} of the time; mixing costs {mixing_s / step_s:.1%} of a step"
        )


if __name__ == "__main__":
    main()
