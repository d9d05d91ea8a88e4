"""DNSMOS P.835: SIG, BAK and OVRL, estimates of MOS from 1 to 5 without a reference (Reddy et al. 2022).

The network is the file `sig_bak_ovr.onnx` of github.com/microsoft/DNS-Challenge, from its folder
DNSMOS, not pDNSMOS, whose scores have a different scale. It is not part of this package and is never
downloaded: give its path, or install the package `speechmos`, which includes it.
"""

from __future__ import annotations

import functools
import importlib.util
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dccrn_cli.errors import CheckpointError, MetricError, MissingDependency, OptionError
from dccrn_cli.metrics.checks import check_signal, is_silent
from dccrn_cli.utils.paths import is_file

RATE = 16_000
WINDOW_S = 9.01
WINDOW = int(WINDOW_S * RATE)
"""Input length of the network in samples."""

_WHOLE_SECONDS = WINDOW // RATE + 1
"""Length from its start at which a signal has a window, but for the first, which only needs its own samples."""

# Polynomials from the network's outputs to listeners' MOS, highest power first.
_SIG, _BAK, _OVRL = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


class Dnsmos(NamedTuple):
    """The three scores, each from about 1 to 5."""

    sig: float
    """Speech signal."""
    bak: float
    """Background: higher is quieter."""
    ovrl: float
    """Overall."""


def dnsmos_scores(estimate: np.ndarray, sample_rate: int = RATE, model: str | PathLike[str] | None = None) -> Dnsmos:
    """All three scores of a float array `(samples,)` at 16 kHz, full scale 1.

    Windows of 9.01 s start every second and their scores are averaged. The choice of windows follows the
    public `dnsmos_local.py`, which may ignore the last second. A shorter signal is repeated until it is
    long enough.

    Args:
        model: the ONNX file; by default the one in an installed `speechmos`.

    Raises:
        MetricError: another sample rate, a silent signal, NaN or infinite samples.
        OptionError: no file is given and none is installed.
        CheckpointError: the file is not this network.
        MissingDependency: `onnxruntime` is not installed.
    """
    if sample_rate != RATE:
        raise MetricError(f"DNSMOS needs {RATE} Hz, not {sample_rate}")
    meter = DnsmosMeter(model)
    meter.process(check_signal(estimate))
    return meter.scores()


class DnsmosMeter:
    """The scores of a signal that arrives in blocks, equal to `dnsmos_scores` of the whole, in constant memory.

    Args:
        model: the ONNX file; by default the one in an installed `speechmos`.

    Raises:
        OptionError, CheckpointError, MissingDependency: as in `dnsmos_scores`.
    """

    def __init__(self, model: str | PathLike[str] | None = None) -> None:
        self._session = load_network(find_dnsmos_model(model))
        self._held = np.zeros(0)
        self._second = 0
        """Start of `_held` in the signal."""
        self._sum, self._count = np.zeros(3), 0
        self._silent = True

    def process(self, block: np.ndarray) -> None:
        """Take the next block, floats `(samples,)` at 16 kHz, finite."""
        if not len(block):
            return
        self._silent = self._silent and is_silent(block)
        self._held = np.concatenate([self._held, block])
        # The first window is measured as soon as it is there, the others once their last second is complete.
        while len(self._held) >= (_WHOLE_SECONDS * RATE if self._second else WINDOW):
            if _is_measured(self._second):
                self._add(_run(self._session, self._held[:WINDOW]))
            self._held = self._held[RATE:]
            self._second += 1

    def scores(self) -> Dnsmos:
        """The scores of everything so far.

        Raises:
            MetricError: the signal is silent.
        """
        if self._silent:
            raise MetricError("the estimate is silent")
        if not self._second:
            self._measure_repeated()
        sig, bak, ovrl = (self._sum / self._count).tolist()
        return Dnsmos(sig, bak, ovrl)

    def _measure_repeated(self) -> None:
        signal, period = self._held, len(self._held)
        while len(signal) < WINDOW:
            signal = np.concatenate([signal, signal])
        seconds = range(max(1, len(signal) // RATE - _WHOLE_SECONDS + 1))
        starts = [second * RATE for second in seconds if _is_measured(second)]
        # Some windows of a repeated signal are identical.
        outputs = {place: _run(self._session, signal[place : place + WINDOW]) for place in {s % period for s in starts}}
        self._sum, self._count = np.zeros(3), 0
        for start in starts:
            self._add(outputs[start % period])

    def _add(self, outputs: np.ndarray) -> None:
        self._sum += [np.polyval(curve, output) for curve, output in zip((_SIG, _BAK, _OVRL), outputs, strict=True)]
        self._count += 1


def find_dnsmos_model(path: str | PathLike[str] | None = None) -> Path:
    """Find the ONNX file: the one given, otherwise the one in an installed `speechmos`.

    Raises:
        OptionError: neither exists.
    """
    if path is not None:
        return Path(path)
    package = importlib.util.find_spec("speechmos")
    for folder in (package.submodule_search_locations or ()) if package else ():
        bundled = Path(folder, "dnsmos_models", "sig_bak_ovr.onnx")
        if is_file(bundled):
            return bundled
    raise OptionError(
        "DNSMOS needs its model: pip install speechmos, or give sig_bak_ovr.onnx from "
        "github.com/microsoft/DNS-Challenge (--dnsmos-model)"
    )


def is_available(model: str | PathLike[str] | None = None) -> bool:
    """Whether DNSMOS can be measured, with this file or the one in an installed `speechmos`."""
    try:
        find_dnsmos_model(model)
    except OptionError:
        return False
    return model is not None or importlib.util.find_spec("onnxruntime") is not None


@functools.lru_cache(maxsize=2)
def load_network(path: Path) -> Any:
    """Load an inference session on one thread, cached.

    Raises:
        CheckpointError: the file cannot be read, or is not this network.
        MissingDependency: `onnxruntime` is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependency("onnxruntime", "dnsmos") from None
    if not is_file(path):
        raise CheckpointError("no such file", path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen of its own, below Exception
        raise CheckpointError(f"not the DNSMOS network: {type(error).__name__}", path) from None
    ends = [end.shape[-1:] for end in (session.get_inputs()[0], session.get_outputs()[0])]
    if ends != [[WINDOW], [3]]:
        raise CheckpointError("not the DNSMOS network, which maps 9.01 s to three scores", path)
    return session


def _run(session: Any, window: np.ndarray) -> np.ndarray:
    name = session.get_inputs()[0].name
    scores: np.ndarray = session.run(None, {name: window[None].astype(np.float32)})[0][0]
    return scores


def _is_measured(second: int) -> bool:
    """Whether the public code takes the window that starts here; it skips those whose end it rounds down."""
    return int((second + WINDOW_S) * RATE) - second * RATE == WINDOW
