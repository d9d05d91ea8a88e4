"""Speech enhancement with DCCRN: offline, streaming, in one command.

from dccrn_cli import Enhancer

enhancer = Enhancer(sample_rate=48_000)
clean = enhancer(noisy)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dccrn_cli.engine.enhance_options import EnhanceOptions, Workers
    from dccrn_cli.engine.enhancer import Enhancer
    from dccrn_cli.engine.files.batch import enhance
    from dccrn_cli.engine.files.folder import enhance_folder
    from dccrn_cli.engine.files.plan import PlanOptions
    from dccrn_cli.engine.files.results import FileResult
    from dccrn_cli.engine.live.realtime import LiveStatus
    from dccrn_cli.engine.live.session import LiveEnhancer, LiveOptions
    from dccrn_cli.engine.onnx.export import export_onnx
    from dccrn_cli.errors import (
        AudioError,
        CheckpointError,
        DataError,
        DccrnError,
        InvalidSamples,
        MetricError,
        MissingDependency,
        OptionError,
        SoundDeviceError,
        StorageError,
        UnreadableAudio,
        UnsupportedFormat,
    )
    from dccrn_cli.metrics.pair import score_pair
    from dccrn_cli.nn.models import available_models, load_model
    from dccrn_cli.report.inspection.inspect_files import inspect_files
    from dccrn_cli.report.inspection.inspection import Inspection
    from dccrn_cli.report.listening.blind_tests import ListeningResults, collect_results
    from dccrn_cli.report.listening.page import ListeningPage, ListenOptions, listening_page
    from dccrn_cli.scoring.score_folders import score_folders
    from dccrn_cli.testsets.mix import mix
    from dccrn_cli.training.finetune_run import FineTuneOptions, finetune
    from dccrn_cli.training.training_run import train

__all__ = [
    "AudioError",
    "CheckpointError",
    "DataError",
    "DccrnError",
    "EnhanceOptions",
    "Enhancer",
    "FileResult",
    "FineTuneOptions",
    "Inspection",
    "InvalidSamples",
    "ListenOptions",
    "ListeningPage",
    "ListeningResults",
    "LiveEnhancer",
    "LiveOptions",
    "LiveStatus",
    "MetricError",
    "MissingDependency",
    "OptionError",
    "PlanOptions",
    "SoundDeviceError",
    "StorageError",
    "UnreadableAudio",
    "UnsupportedFormat",
    "Workers",
    "__version__",
    "available_models",
    "collect_results",
    "enhance",
    "enhance_folder",
    "export_onnx",
    "finetune",
    "inspect_files",
    "listening_page",
    "load_model",
    "mix",
    "score_folders",
    "score_pair",
    "train",
]

_MEMBERS = {
    "engine.enhance_options": (
        "EnhanceOptions",
        "Workers",
    ),
    "engine.enhancer": ("Enhancer",),
    "engine.files.batch": ("enhance",),
    "engine.files.folder": ("enhance_folder",),
    "engine.files.plan": ("PlanOptions",),
    "engine.files.results": ("FileResult",),
    "engine.live.realtime": ("LiveStatus",),
    "engine.live.session": (
        "LiveEnhancer",
        "LiveOptions",
    ),
    "engine.onnx.export": ("export_onnx",),
    "errors": (
        "AudioError",
        "CheckpointError",
        "DataError",
        "DccrnError",
        "InvalidSamples",
        "MetricError",
        "MissingDependency",
        "OptionError",
        "SoundDeviceError",
        "StorageError",
        "UnreadableAudio",
        "UnsupportedFormat",
    ),
    "metrics.pair": ("score_pair",),
    "nn.models": (
        "available_models",
        "load_model",
    ),
    "report.inspection.inspect_files": ("inspect_files",),
    "report.inspection.inspection": ("Inspection",),
    "report.listening.page": (
        "ListenOptions",
        "ListeningPage",
        "listening_page",
    ),
    "report.listening.blind_tests": (
        "ListeningResults",
        "collect_results",
    ),
    "scoring.score_folders": ("score_folders",),
    "testsets.mix": ("mix",),
    "training.finetune_run": (
        "FineTuneOptions",
        "finetune",
    ),
    "training.training_run": ("train",),
}
_HOMES = {name: home for home, names in _MEMBERS.items() for name in names}


def __getattr__(name: str) -> Any:
    # Imported on first use: torch takes seconds to load, and `dccrn --help` does not need it.
    if name in _HOMES:
        return getattr(importlib.import_module(f"dccrn_cli.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dccrn_cli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
