"""Measures training speed against the paper authors' network in a plain loop, or against another checkout.

    python benchmarks/training_speed.py [--clean SPEECH --noise NOISE] [--rounds 5] [--threads 1]
    python benchmarks/training_speed.py --against CHECKOUT [--preset dccrn-small] [--batch 8] [--steps 10]

Both train DCCRN-E of the paper's size on batches of 3 s clips. The plain loop runs the authors' network
(from tests/authors.py) in float32 with SI-SNR and Adam, on a prepared batch. Ours is `Trainer` with the
recipe dccrn-e-paper in bfloat16, mixing examples on the fly. They take turns; the ratio is the median
over rounds. Without data, clips are synthetic.

With `--against`, `dccrn train` runs from this checkout and from another on the same data, taking turns. Speeds are
seconds of audio per CPU second, including mixing and everything else, so other load on the machine has little
effect. A turn is charged for what its process does until its next turn, since it prepares batches ahead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
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
"""Number of steps of each in a round."""


def made_up_clips(folder: Path) -> None:
    """Intermittent noise, used as both speech and noise."""
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


class Checkout:
    """A training run from a checkout of the package that waits for its turns.

    Args:
        path: path of the checkout.
        arguments: arguments of `dccrn train`.
    """

    def __init__(self, path: Path, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("training_steps.py")), *arguments],
            env={**os.environ, "PYTHONPATH": str(path)},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def train(self, steps: int) -> float:
        """Train some steps; returns the CPU seconds used so far, those of earlier turns and the time after them."""
        assert self._process.stdin
        assert self._process.stderr
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stderr:
            try:
                return float(line)
            except ValueError:
                said.append(line)  # a note on the data, or the reason for its end
        raise SystemExit("".join(said))

    def end(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.communicate()


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Compare the speeds of this checkout and another."""
    settings = [
        "--no-check", f"--threads={arguments.threads}", "--device=cpu", f"--preset={arguments.preset}",
        f"--batch={arguments.batch}", f"--seconds={arguments.seconds}", "--steps=1000000", "--bf16",
        "--validate-every=1000000", "--set=training.save_every_s=1e6",
        *(f"--clean={path}" for path in [arguments.clean or folder]),
        *(f"--noise={path}" for path in [arguments.noise or folder]),
        *(f"--set={setting}" for setting in arguments.set),
    ]  # fmt: skip
    paths = {"theirs": arguments.against, "ours": Path(__file__).parents[1]}
    runs = {name: Checkout(path, [*settings, f"--output={folder / name}"]) for name, path in paths.items()}
    audio_s = arguments.steps * arguments.batch * arguments.seconds
    for run in runs.values():
        run.train(arguments.warm_up)
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    before = {name: run.train(0) for name, run in runs.items()}
    for _ in range(arguments.rounds):
        for run in runs.values():
            run.train(arguments.steps)
        after = {name: run.train(0) for name, run in runs.items()}
        for name, spent in after.items():
            speeds[name].append(audio_s / (spent - before[name]))
        before = after
        print(", ".join(f"{name} {speed[-1]:.2f}" for name, speed in speeds.items()), "s of audio per CPU second")
    ratios = [ours / theirs for theirs, ours in zip(speeds["theirs"], speeds["ours"], strict=True)]
    print(
        f"ratio {statistics.median(ratios):.2f} (median of {arguments.rounds}, {min(ratios):.2f} to {max(ratios):.2f})"
    )
    for run in runs.values():
        run.end()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    other = parser.add_argument_group("with --against")
    other.add_argument("--against", type=Path, help="another checkout")
    other.add_argument("--preset", default="dccrn-small")
    other.add_argument("--seconds", type=float, default=2.0)
    other.add_argument("--steps", type=int, default=10, help="steps per turn")
    other.add_argument("--warm-up", type=int, default=10, help="uncounted steps")
    other.add_argument("--set", action="append", default=[], help="a setting of the recipe")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not (arguments.clean and arguments.noise):
            made_up_clips(folder)
        if arguments.against:
            compare(arguments, folder)
            return
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
            loss.backward()  # type: ignore[no-untyped-call]
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
