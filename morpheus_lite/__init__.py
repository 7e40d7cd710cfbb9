"""Per-pixel morphological classification of deep astronomical images.

The names below are the public interface; they are imported on first use, so that ``import morpheus_lite``
loads neither Keras nor matplotlib.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PUBLIC = {
    "CLASSES": "classes",
    "Classification": "classification",
    "ClassifyOptions": "options",
    "ClusterOptions": "batch",
    "DetectionOptions": "segmentation",
    "InputError": "errors",
    "MeasureOptions": "catalog",
    "ModelError": "errors",
    "MorpheusError": "errors",
    "MultithresholdOptions": "deblending",
    "OptionError": "errors",
    "OutputError": "errors",
    "PixelFlag": "flags",
    "RunOptions": "batch",
    "SkyImage": "image",
    "SourceFlag": "flags",
    "Tile": "batch",
    "catalog_file": "cataloguing",
    "classify": "pipeline",
    "classify_file": "pipeline",
    "classify_survey": "batch",
    "colorize": "display",
    "deblend": "deblending",
    "decode_flags": "flags",
    "list_models": "pretrained",
    "choose_model": "pretrained",
    "load_model": "pretrained",
    "measure": "catalog",
    "measure_noise": "catalog",
    "open_image": "io",
    "read_catalog": "io",
    "read_image": "io",
    "read_maps": "io",
    "read_tiles": "batch",
    "segment": "segmentation",
    "write_catalog": "io",
    "write_maps": "io",
    "write_regions": "io",
    "write_report": "report",
}

__all__ = ["__version__", *sorted(_PUBLIC)]

try:
    __version__ = version("morpheus-lite")
except PackageNotFoundError:
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
