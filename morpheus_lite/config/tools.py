"""Options of the commands beside the pipeline: simulate, calibrate and export."""

from dataclasses import dataclass

from morpheus_lite.config.schema import CheckedOptions, documented, option

_LARGEST = 2**31 - 1


@documented
@dataclass(frozen=True)
class SimulateOptions(CheckedOptions):
    """Options of ``morpheus simulate``.

    Parameters
    ----------
    seed
        Seed of the first field; the next have the next.
    count
        How many fields.
    shape
        Size of a field.
    pixel_scale
        Side of a pixel.
    bands
        Filters.
    depth
        Noise relative to GOODS-S deep.
    conditions
        Gaussian noise only, or all that training draws.
    training
        Write fields for morpheus train (.npz, without noise).
    overwrite
        Replace files that exist.
    """

    seed: int = option(low=0, high=_LARGEST)
    count: int = option(1, low=1, high=_LARGEST)
    shape: tuple[int, int] = option((512, 512), low=32, high=32768, unit="pixels", metavar="HEIGHT WIDTH")
    pixel_scale: float = option(0.06, above=0, unit="arcsec")
    bands: tuple[str, ...] = option(("F160W", "F125W", "F606W", "F850LP"), length=(1, None))
    depth: float = option(1.0, above=0)
    conditions: str = option("plain", choices=("plain", "random"))
    training: bool = False
    overwrite: bool = False


@documented
@dataclass(frozen=True)
class CalibrateOptions(CheckedOptions):
    """Options of ``morpheus calibrate``.

    Parameters
    ----------
    sources
        Calibrate the sources of the catalogue; else the pixels.
    bias
        What to fit beside the temperature.
    seed
        Which pixels are drawn.
    """

    sources: bool = False
    bias: str = option("sky", choices=("none", "sky", "classes"))
    seed: int = option(0, low=0, high=_LARGEST)


@documented
@dataclass(frozen=True)
class ExportOptions(CheckedOptions):
    """Options of ``morpheus export``.

    Parameters
    ----------
    format
        Format of the file.
    with_normalization
        Normalise in the graph: it takes data, background and noise.
    sourcextractor_tile
        For SourceXtractor++: one band, tiles of this side (544 or more).
    overwrite
        Replace a file that exists.
    """

    format: str = option("onnx", choices=("onnx",))
    with_normalization: bool = False
    sourcextractor_tile: int | None = option(None, flag="sourcextractor", metavar="TILE")
    overwrite: bool = False
