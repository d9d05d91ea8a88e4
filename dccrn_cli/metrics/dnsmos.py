"""DNSMOS P.835: SIG, BAK and OVRL, estimates of MOS from 1 to 5 without a reference (Reddy et al. 2022).

The network is the file `sig_bak_ovr.onnx` of github.com/microsoft/DNS-Challenge, from its folder
DNSMOS, not pDNSMOS, whose scores have a different scale. It is not part of this package and is never
downloaded: give its path, or install the package `speechmos`, which includes it.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dccrn_cli.errors import CheckpointError, MetricError, MissingDependency, OptionError
from dccrn_cli.metrics.checks import check_signal, is_silent

RATE = 16_000
WINDOW_S = 9.01
WINDOW = int(WINDOW_S * RATE)
"""Input length of the network in samples."""

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
    estimate = check_signal(estimate)
    if is_silent(estimate):
        raise MetricError("the estimate is silent")
    session = load_network(find_dnsmos_model(model))
    period = len(estimate)
    while len(estimate) < WINDOW:
        estimate = np.concatenate([estimate, estimate])
    starts = list(_starts(len(estimate)))
    # Some windows of a repeated signal are identical.
    windows = {start % period: estimate[start : start + WINDOW] for start in starts}
    scores = {place: _run(session, window) for place, window in windows.items()}
    raw = np.array([scores[start % period] for start in starts])
    sig, bak, ovrl = (float(np.polyval(curve, raw[:, i]).mean()) for i, curve in enumerate((_SIG, _BAK, _OVRL)))
    return Dnsmos(sig, bak, ovrl)


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
        if bundled.is_file():
            return bundled
    raise OptionError("DNSMOS needs the file sig_bak_ovr.onnx from github.com/microsoft/DNS-Challenge")


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
    if not path.is_file():
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


def _starts(samples: int) -> Iterator[int]:
    """Start samples of the windows: one every second, as many as fit in the whole seconds of the signal."""
    for second in range(max(1, samples // RATE - WINDOW // RATE)):
        # The public code skips windows whose end it rounds down; equal figures require the same.
        if int((second + WINDOW_S) * RATE) - second * RATE == WINDOW:
            yield second * RATE
