"""Runs `dccrn train` a few steps at a time: the counterpart of `training_speed.py --against`.

    PYTHONPATH=CHECKOUT python training_steps.py [options of dccrn train]

For each number on standard input it trains that many steps, then writes the CPU seconds used by the process to
standard error. It depends only on the command and `Trainer.run`, so it works with old checkouts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from dccrn_cli.cli.app import app
from dccrn_cli.training.trainer import Trainer

run = Trainer.run


def run_on_request(self: Trainer, stop: Callable[[], bool] = lambda: False) -> Iterator[Any]:
    """Replacement for `Trainer.run` that waits for requests."""
    steps = iter(run(self, stop))
    for number in sys.stdin:
        for _ in range(int(number)):
            yield next(steps)
        print(time.process_time(), file=sys.stderr, flush=True)


Trainer.run = run_on_request  # type: ignore[method-assign]
app(["train", *sys.argv[1:]])
