"""Options of a run from image to products, checked when they are made."""

from collections.abc import Mapping
from dataclasses import dataclass

from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.config.schema import check, documented, option
from morpheus_lite.core.windows import EDGES
from morpheus_lite.errors import OptionError
from morpheus_lite.runtime.resources import parse_memory

Planes = str | Mapping[str, str] | bool | None
"""One file for all bands, or one per band; False, or the text ``none``, does without the planes of the image's file."""


@documented
@dataclass(frozen=True)
class ReadOptions:
    """Keyword arguments of `~morpheus_lite.open_image` that files of options, manifests and commands can give."""

    bands: tuple[str, ...] | None = option(
        None,
        "Names of the bands, in order.",
        unset="those of the file",
        flag="band-names",
        metavar="A,B,...",
        length=(1, None),
        group="Image",
    )
    rms: Planes = option(
        None, "Noise (standard deviation); none: do without.", unset="as in the file", metavar="[NAME=]FILE"
    )
    weight: Planes = option(None, "Inverse variance; none: do without.", unset="as in the file", metavar="[NAME=]FILE")
    dq: Planes = option(None, "Mask of bad pixels; none: do without.", unset="as in the file", metavar="[NAME=]FILE")
    dq_bits: str | int | tuple[str | int, ...] | None = option(
        None, "Bad bits: 1,16 or SAT,CR or ~DETECTED or any.", unset="as header or camera say", metavar="BITS|NAMES"
    )
    zero_points: float | Mapping[str, float] | None = option(
        None, "AB magnitude of one data unit.", unset="the header's", flag="zero-point", metavar="[NAME=]MAG"
    )

    def __post_init__(self) -> None:
        check(self)


@documented
@dataclass(frozen=True)
class DetectionOptions:
    """Options of the method ``"probability"``; a model may state its own, chosen for a purity.

    Raises
    ------
    OptionError
        A value out of range, or ``threshold`` above ``seed_threshold``.
    """

    seed_threshold: float = option(0.7, "Source probability that a source reaches.", above=0, high=1, metavar="P")
    threshold: float = option(0.4, "Source probability that its pixels have.", above=0, high=1, metavar="P")
    min_area: int = option(5, "Smallest source.", low=1, unit="pixels")
    min_snr: float = option(
        0.0,
        "Smallest signal-to-noise ratio of a source.",
        more="All bands are in units of their noise. The noise is that of sums over as many pixels of empty sky, "
        "correlated as it is.",
        low=0,
        metavar="RATIO",
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.threshold <= self.seed_threshold:
            raise OptionError(
                f"threshold = {self.threshold} and seed_threshold = {self.seed_threshold}: expected a threshold at "
                "most as high as seed_threshold"
            )


@documented
@dataclass(frozen=True)
class DeblendingOptions:
    """Options of deblending; all but ``min_distance`` are those of the method ``"multithreshold"``.

    Raises
    ------
    OptionError
        A value out of range.
    """

    n_levels: int = option(32, "Levels between noise and peak, even in the logarithm.", low=1, flag="levels")
    contrast: float = option(0.001, "Smallest share of a source's light in a piece.", low=0, high=1, metavar="SHARE")
    min_area: int = option(5, "Smallest piece.", low=1, unit="pixels")
    smoothing: float = option(0.8, "Gaussian that smooths the light.", low=0, unit="pixels")
    min_saddle_depth: float = option(
        3.5,
        "Depth of a saddle over its noise.",
        more="It counts from the peak of the fainter piece; pieces with a shallower saddle are joined.",
        low=0,
        metavar="RATIO",
    )
    merge_contrast: float = option(
        0.01, "Join a piece with less of its light above the saddle.", low=0, high=1, metavar="SHARE"
    )
    merge_contrast_structured: float = option(
        0.18,
        "The same between disk and irregular light.",
        more="These are arms and clumps of one galaxy. In between, the limit rises from the one to the other with the "
        "probability; it falls again for a round piece with the square of its share of its neighbour's light.",
        low=0,
        high=1,
        metavar="SHARE",
    )
    max_knot_area: int = option(
        12,
        "Largest knot of a disk or irregular galaxy.",
        more="It is counted down to half of its height above the saddle. Knots are joined with their galaxy, however "
        "much they stand out. 12 is for a PSF of 2.5 to 3 px.",
        low=0,
        unit="pixels",
    )
    max_knot_contrast: float = option(0.2, "Most light of a knot above the saddle.", low=0, high=1, metavar="SHARE")
    min_knot_probability: float = option(
        0.85,
        "Least probability of disk and irregular of a knot.",
        more="Both the knot and its neighbour have it at their peaks.",
        low=0,
        metavar="P",
    )
    max_spike_contrast: float = option(
        0.06,
        "Join spikes with less of a star's light.",
        more="A spike is a piece of a point source that touches a brighter one.",
        low=0,
        high=1,
        metavar="SHARE",
    )
    point_probability: float = option(
        0.5,
        "Probability of point_source that makes a piece a star.",
        more="It is weighted with the light. A star is never joined with a galaxy.",
        low=0,
        high=1,
        metavar="P",
    )
    min_distance: int = option(
        20,
        "Smallest distance of two peaks, for paper.",
        more="It is that along either axis. Peaks closer than this to the side of their source's bounding box do not "
        "count, so sources up to twice as wide stay whole.",
        low=1,
        unit="pixels",
    )

    def __post_init__(self) -> None:
        check(self)


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
PLANES = (
    "mean",
    "variance",
    "vote",
    "coverage",
    "segmentation",
    "flags",
    "entropy",
    "tta_disagreement",
    "large_object",
)
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
        "`morpheus_lite.inference.one_pass`.",
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
    deblending: DeblendingOptions = option(
        DeblendingOptions, "When blends are split.", prefix="deblend-", group="Deblending"
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
