"""Per-pixel morphological classification of deep astronomical images.

The names below are the public interface; they are imported on first use, so that ``import morpheus_lite``
loads neither Keras nor matplotlib.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_NAMES = {
    "catalog": "measure measure_correlated_noise",
    "config.classify": "CatalogOptions ClassifyOptions DeblendingOptions DetectionOptions MeasureOptions ReadOptions",
    "config.survey": "ClusterOptions RunOptions",
    "core.classes": "CLASSES",
    "core.classification": "Classification",
    "core.flags": "BandFlag PixelFlag SourceFlag decode_flags",
    "core.image": "SkyImage",
    "errors": "InputError ModelError MorpheusError OptionError OutputError",
    "io": "open_image read_catalog read_corrections read_image read_maps write_catalog write_maps write_regions",
    "models.registry": "choose_model list_models load_model",
    "pipeline.catalog": "catalog_file",
    "pipeline.classify": "classify classify_file",
    "segmentation.deblending": "deblend",
    "segmentation.detection": "segment",
    "survey": "Tile classify_survey read_tiles",
    "visualization.html_report": "write_report",
    "visualization.plots": "colorize",
}
_PUBLIC = {name: module for module, names in _NAMES.items() for name in names.split()}

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
