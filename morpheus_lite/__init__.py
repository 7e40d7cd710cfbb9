"""Per-pixel morphological classification of deep astronomical images.

The names below are the public interface; they are imported on first use, so that ``import morpheus_lite``
loads neither Keras nor matplotlib.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PUBLIC = {
    "CLASSES": "core.classes",
    "CatalogOptions": "config.classify",
    "Classification": "core.classification",
    "ClassifyOptions": "config.classify",
    "BandFlag": "core.flags",
    "ClusterOptions": "config.survey",
    "DeblendingOptions": "config.classify",
    "DetectionOptions": "config.classify",
    "InputError": "errors",
    "MeasureOptions": "config.classify",
    "ModelError": "errors",
    "MorpheusError": "errors",
    "OptionError": "errors",
    "OutputError": "errors",
    "PixelFlag": "core.flags",
    "ReadOptions": "config.classify",
    "RunOptions": "config.survey",
    "SkyImage": "core.image",
    "SourceFlag": "core.flags",
    "Tile": "survey",
    "catalog_file": "pipeline.catalog",
    "classify": "pipeline.classify",
    "classify_file": "pipeline.classify",
    "classify_survey": "survey",
    "colorize": "visualization.plots",
    "deblend": "segmentation.deblending",
    "decode_flags": "core.flags",
    "list_models": "models.registry",
    "choose_model": "models.registry",
    "load_model": "models.registry",
    "measure": "catalog",
    "measure_correlated_noise": "catalog",
    "open_image": "io",
    "read_catalog": "io",
    "read_corrections": "io",
    "read_image": "io",
    "read_maps": "io",
    "read_tiles": "survey",
    "segment": "segmentation.detection",
    "write_catalog": "io",
    "write_maps": "io",
    "write_regions": "io",
    "write_report": "visualization.html_report",
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
