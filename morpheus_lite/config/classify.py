"""Options of a run from image to products, checked when they are made."""

from collections.abc import Mapping
from dataclasses import dataclass

from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.config.schema import check, documented, option
from morpheus_lite.config.sources import DetectionOptions, MultithresholdOptions
from morpheus_lite.core.windows import EDGES
from morpheus_lite.runtime.resources import parse_memory

AUTO = "auto"
"""The shipped model that suits the bands and the pixel scale of the image."""
DEFAULT_MODEL = AUTO
PRODUCTS = ("maps", "catalog", "picture", "stamps", "regions", "report")
DEFAULT_PRODUCTS = ("maps", "catalog", "picture")
CATALOG_FORMATS = ("ecsv", "fits", "parquet", "csv", "vot")
COLUMN_NAMES = ("photutils", "sextractor")
SEGMENTATION_METHODS = ("paper", "probability")
DEBLENDING_OF = {"paper": "paper", "probability": "multithreshold"}
"""Which method of `deblend` goes with each method of `segment`."""
PLANES = ("mean", "variance", "vote", "coverage", "segmentation", "flags", "entropy", "tta_disagreement")
"""Kinds of planes of the class maps."""
DEFAULT_MEMORY = "2GB"
PRECISIONS = ("float32", "bfloat16")
ENGINES = ("auto", "openvino", "tensorflow")
"""What may run a network: see `morpheus_lite.models.registry.load_model`."""


@documented
@dataclass(frozen=True)
class CatalogOptions:
    """Options of `catalog_file`: what is measured, and how it is written."""

    detection_band: str | None = option(
        None,
        "Band that gives positions and shapes.",
        unset="all over their noise",
        more="For sources found by rank votes it is F160W, or the first band.",
        length=(1, None),
        metavar="NAME",
        group="Measurement",
    )
    measuring: MeasureOptions = option(MeasureOptions, "What is measured of each source, and how.")
    columns: str = option("photutils", "Naming convention of the columns.", choices=COLUMN_NAMES, group="Products")
    overwrite: bool = option(False, "Replace products that exist.", effect="none")

    def __post_init__(self) -> None:
        check(self)


@documented
@dataclass(frozen=True)
class ClassifyOptions(CatalogOptions):
    """Options of `classify_file`."""

    model: str = option(
        DEFAULT_MODEL,
        "Shipped model or directory; auto: as suits the bands.",
        length=(1, None),
        metavar="NAME",
        group="Network",
    )
    stride: int | None = option(None, "Step between windows.", unset="the model's", low=1, unit="pixels")
    edges: str = option("classify", "Classify border pixels, or leave them out.", choices=EDGES)
    batch_size: int | None = option(None, "Windows per call of the network.", unset="the model's", low=1, metavar="N")
    uncertainty: bool = option(
        False,
        "Mean of 8 orientations, at 8 times the work, with its scatter.",
        more="For models that see the image in one pass. The planes ENTROPY and TTA_DISAGREEMENT come with it: see "
        "`morpheus_lite.inference.test_time_augmentation`.",
    )
    domain_check: bool = option(True, "Compare the image with those of the training.")
    device: str = option(
        "auto", "Where the network runs: auto, cpu, gpu or gpu:N.", length=(1, None), metavar="NAME", effect="none"
    )
    engine: str = option(
        "auto", "What runs the network.", more="auto: OpenVINO on a CPU.", choices=ENGINES, effect="none"
    )
    precision: str = option("float32", "What a one-pass model calculates in.", choices=PRECISIONS)
    memory: str | int = option(
        DEFAULT_MEMORY, "Memory of the run; it changes no result.", metavar="SIZE", effect="none"
    )
    segmentation: str | None = option(
        None,
        "How sources are found.",
        unset="paper for models that vote",
        more="Other models take ``probability``. Deblending goes with it: see ``DEBLENDING_OF``.",
        choices=SEGMENTATION_METHODS,
        group="Detection",
    )
    detection: Mapping[str, int | float] = option(
        dict, "Thresholds that are not to be the model's own.", part_of=DetectionOptions
    )
    deblending: MultithresholdOptions = option(
        MultithresholdOptions, "When blends are split.", prefix="deblend-", group="Deblending"
    )
    products: tuple[str, ...] = option(
        DEFAULT_PRODUCTS,
        f"Any of {', '.join(PRODUCTS)}.",
        choices=PRODUCTS,
        length=(1, None),
        metavar="A,B,...",
        effect="files",
        group="Products",
    )
    catalog_format: str = option("ecsv", "Format of the catalogue.", choices=CATALOG_FORMATS)
    planes: tuple[str, ...] | None = option(
        None,
        "Planes of the maps, such as mean,segmentation.",
        unset="all",
        more=f"Any of {', '.join(PLANES)}.",
        choices=PLANES,
        length=(1, None),
        metavar="A,B,...",
        effect="files",
    )
    compress: bool = option(False, "Tile-compress the maps.")

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_memory(self.memory)

    @property
    def needs_sources(self) -> bool:
        """True if any product needs sources: all but maps without their segmentation plane do."""
        return self.products != ("maps",) or self.planes is None or "segmentation" in self.planes


SURVEY_OPTIONS = ClassifyOptions(products=("maps", "catalog"))
"""What a survey does where nothing else is said."""

NOT_IN_SURVEYS = ("overwrite", "catalog_format", "columns")
"""Options that mean nothing for a tile: its catalogue is Parquet, and merged."""
