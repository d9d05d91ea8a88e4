"""TensorBoard logs of a run: figures at every step, audio and spectrograms at every validation."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dccrn_cli.errors import MissingDependency
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.training.losses import loss_terms
from dccrn_cli.training.train_options import Progress

if TYPE_CHECKING:
    from dccrn_cli.training.trainer import Trainer

FOLDER = "tensorboard"

EXAMPLES = 3
"""Number of validation pairs logged as audio and spectrograms."""

RANGE_DB = 80.0
_N_FFT, _HOP = 512, 128


class Board:
    """Writes logs to the folder of a run; view them with `tensorboard --logdir RUN`.

    Args:
        trainer: the run, already resumed if it had been stopped.

    Raises:
        MissingDependency: tensorboard is not installed.
    """

    def __init__(self, trainer: Trainer) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its dependencies warn about each other
                from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingDependency("tensorboard", "tensorboard") from None
        self._trainer = trainer
        folder = str(trainer.folder.path / FOLDER)
        step = trainer.progress.step
        writer: Any = SummaryWriter  # untyped
        self._writer = writer(folder, purge_step=step + 1 if step else None)
        self._heard = False

    def take(self, progress: Progress) -> None:
        """Log a step, with examples if it included a validation."""
        add = self._writer.add_scalar
        for name in ("loss", "lr", "speed", "waiting", "skipped"):
            add(f"training/{name}", getattr(progress, name), progress.step)
        if progress.figures:
            for name, value in progress.figures.items():
                add(f"validation/{name}", value, progress.step)
            self._examples(progress.step)
            self._writer.flush()

    def _examples(self, step: int) -> None:
        model, device = self._trainer.average.model(), self._trainer.team.device
        for number, pair in enumerate(self._trainer.pairs[:EXAMPLES]):
            noisy, clean = (torch.from_numpy(x).to(device)[None] for x in (pair.noisy, pair.clean))
            with torch.inference_mode():
                estimate = model(noisy).float()
                terms = loss_terms(estimate, clean, self._trainer.loss_options, noisy)
            for name, value in terms.items():
                self._writer.add_scalar(f"example {number}/{name}", float(value), step)
            self._show(f"example {number}/enhanced", estimate[0].cpu().numpy(), step)
            if not self._heard:
                self._show(f"example {number}/noisy", pair.noisy, step)
                self._show(f"example {number}/clean", pair.clean, step)
        self._heard = True

    def _show(self, tag: str, signal: np.ndarray, step: int) -> None:
        """Log a signal `(samples,)` as audio and spectrogram."""
        sound = torch.from_numpy(signal)
        self._writer.add_audio(tag, sound[None], step, SAMPLE_RATE)
        spectrum = torch.stft(sound, _N_FFT, _HOP, window=torch.hann_window(_N_FFT), return_complex=True)
        level_db = 20 * (spectrum.abs() + 1e-9).log10()
        grey = ((level_db - level_db.max()) / RANGE_DB + 1).clamp(0, 1).flip(0)
        self._writer.add_image(tag, grey[None], step)
