"""Options of the commands beside the pipeline: simulate, calibrate and export."""

from dataclasses import dataclass

from morpheus_lite.config.schema import check, documented, option

_LARGEST = 2**31 - 1


@documented
@dataclass(frozen=True)
class SimulateOptions:
    """Options of ``morpheus simulate``."""

    seed: int = option(help="Seed of the first field; the next have the next.", low=0, high=_LARGEST)
    count: int = option(1, "How many fields.", low=1, high=_LARGEST)
    shape: tuple[int, int] = option(
        (512, 512), "Size of a field.", low=32, high=32768, unit="pixels", metavar="HEIGHT WIDTH"
    )
    pixel_scale: float = option(0.06, "Side of a pixel.", above=0, unit="arcsec")
    bands: tuple[str, ...] = option(
        ("F160W", "F125W", "F606W", "F850LP"), "Filters.", length=(1, None), metavar="A,B,..."
    )
    depth: float = option(1.0, "Noise relative to GOODS-S deep.", above=0)
    conditions: str = option("plain", "Gaussian noise only, or all that training draws.", choices=("plain", "random"))
    training: bool = option(False, "Write fields for morpheus train (.npz, without noise).")
    overwrite: bool = option(False, "Replace files that exist.")

    def __post_init__(self) -> None:
        check(self)


@documented
@dataclass(frozen=True)
class CalibrateOptions:
    """Options of ``morpheus calibrate``."""

    sources: bool = option(False, "Calibrate the sources of the catalogue; else the pixels.")
    bias: str = option("sky", "What to fit beside the temperature.", choices=("none", "sky", "classes"))
    seed: int = option(0, "Which pixels are drawn.", low=0, high=_LARGEST)

    def __post_init__(self) -> None:
        check(self)


@documented
@dataclass(frozen=True)
class ExportOptions:
    """Options of ``morpheus export``."""

    format: str = option("onnx", "Format of the file.", choices=("onnx",))
    with_normalization: bool = option(False, "Normalise in the graph: it takes data, background and noise.")
    sourcextractor_tile: int | None = option(
        None,
        "For SourceXtractor++: one band, tiles of this side (544 or more).",
        flag="sourcextractor",
        metavar="TILE",
    )
    overwrite: bool = option(False, "Replace a file that exists.")

    def __post_init__(self) -> None:
        check(self)
