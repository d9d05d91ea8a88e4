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
    from dccrn_cli.engine.enhance_options import EnhanceOptions
    from dccrn_cli.engine.enhancer import Enhancer
    from dccrn_cli.engine.files.batch import enhance
    from dccrn_cli.engine.onnx.export import export_onnx
    from dccrn_cli.errors import DccrnError
    from dccrn_cli.metrics.pair import score_pair
    from dccrn_cli.nn.models import available_models, load_model
    from dccrn_cli.scoring.folders import score_folders

_HOMES = {
    "Enhancer": "dccrn_cli.engine.enhancer",
    "enhance": "dccrn_cli.engine.files.batch",
    "export_onnx": "dccrn_cli.engine.onnx.export",
    "DccrnError": "dccrn_cli.errors",
    "EnhanceOptions": "dccrn_cli.engine.enhance_options",
    "available_models": "dccrn_cli.nn.models",
    "load_model": "dccrn_cli.nn.models",
    "score_folders": "dccrn_cli.scoring.folders",
    "score_pair": "dccrn_cli.metrics.pair",
}

__all__ = [
    "DccrnError",
    "EnhanceOptions",
    "Enhancer",
    "__version__",
    "available_models",
    "enhance",
    "export_onnx",
    "load_model",
    "score_folders",
    "score_pair",
]


def __getattr__(name: str) -> Any:
    # Imported when first used: torch takes seconds, and `dccrn --help` needs none of it.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dccrn_cli' has no attribute {name!r}")
