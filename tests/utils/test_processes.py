"""Worker processes."""

from __future__ import annotations

import signal
import sys
import time

import joblib
import pytest

from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.processes import local_processes, map_in_processes


def survives(number: int) -> bool:
    try:
        signal.raise_signal(number)
        time.sleep(0.01)
    except KeyboardInterrupt:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32" or joblib.cpu_count() < 2, reason="signals, and two processes")
def test_workers_leave_signals_of_a_terminal_to_their_parent() -> None:
    with local_processes(2), Interrupt() as interrupt:
        work = [(1.0, int(number)) for number in (signal.SIGINT, signal.SIGHUP)]
        results = [result for _, result in map_in_processes(survives, work, 2, interrupt)]
    assert results == [True, True]
