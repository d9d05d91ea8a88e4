"""Speech quality measures on arrays, each under its exact name and scale."""

from dccrn_cli.metrics.checks import MetricError
from dccrn_cli.metrics.composite import Composite, cbak, composite_scores, covl, csig
from dccrn_cli.metrics.perceptual import estoi, pesq_nb, pesq_raw, pesq_wb, stoi
from dccrn_cli.metrics.ratios import segmental_snr, si_snr, si_snr_improvement, snr
from dccrn_cli.metrics.spectral import lsd

__all__ = [
    "Composite",
    "MetricError",
    "cbak",
    "composite_scores",
    "covl",
    "csig",
    "estoi",
    "lsd",
    "pesq_nb",
    "pesq_raw",
    "pesq_wb",
    "segmental_snr",
    "si_snr",
    "si_snr_improvement",
    "snr",
    "stoi",
]
