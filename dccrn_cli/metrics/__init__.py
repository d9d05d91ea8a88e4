"""Speech quality metrics on arrays, each with its exact name and scale."""

from dccrn_cli.errors import MetricError
from dccrn_cli.metrics.composite import Composite, cbak, composite_scores, covl, csig
from dccrn_cli.metrics.dnsmos import Dnsmos, dnsmos_scores
from dccrn_cli.metrics.pair import PairScore, measure_pair, score_pair
from dccrn_cli.metrics.pause_attenuation import pause_attenuation
from dccrn_cli.metrics.perceptual import estoi, pesq_nb, pesq_raw, pesq_wb, stoi
from dccrn_cli.metrics.ratios import segmental_snr, si_snr, si_snr_improvement, snr
from dccrn_cli.metrics.registry import DEFAULT_METRICS, METRICS, Metric, select_metrics
from dccrn_cli.metrics.spectral_distances import lsd

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Composite",
    "Dnsmos",
    "Metric",
    "MetricError",
    "PairScore",
    "cbak",
    "composite_scores",
    "covl",
    "csig",
    "dnsmos_scores",
    "estoi",
    "lsd",
    "measure_pair",
    "pause_attenuation",
    "pesq_nb",
    "pesq_raw",
    "pesq_wb",
    "score_pair",
    "segmental_snr",
    "select_metrics",
    "si_snr",
    "si_snr_improvement",
    "snr",
    "stoi",
]
