"""Options of a run from image to products, checked when they are made."""

from collections.abc import Mapping
from dataclasses import dataclass

from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.config.schema import CheckedOptions, documented, option
from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.windows import EDGES
from morpheus_lite.errors import OptionError
from morpheus_lite.runtime.resources import parse_memory

Planes = str | Mapping[str, str] | bool | None
"""One file for all bands, or one per band; False, or the text ``none``, does without the planes of the image's file."""


@documented
@dataclass(frozen=True)
class ReadOptions(CheckedOptions):
    """Keyword arguments of `~morpheus_lite.open_image` that files of options, manifests and commands can give.

    Parameters
    ----------
    bands
        Names of the bands, in order.
    rms
        Noise (standard deviation); none: do without.
    weight
        Inverse variance; none: do without.
    dq
        Mask of bad pixels; none: do without.
    dq_bits
        Bad bits: 1,16 or SAT,CR or ~DETECTED or any.
    zero_points
        AB magnitude of one data unit.
    """

    bands: tuple[str, ...] | None = option(
        None, unset="those of the file", flag="band-names", metavar="A,B,...", length=(1, None), group="Image"
    )
    rms: Planes = option(None, unset="as in the file", metavar="[NAME=]FILE")
    weight: Planes = option(None, unset="as in the file", metavar="[NAME=]FILE")
    dq: Planes = option(None, unset="as in the file", metavar="[NAME=]FILE")
    dq_bits: str | int | tuple[str | int, ...] | None = option(
        None, unset="as header or camera say", metavar="BITS|NAMES"
    )
    zero_points: float | Mapping[str, float] | None = option(
        None, unset="the header's", flag="zero-point", metavar="[NAME=]MAG"
    )


@documented
@dataclass(frozen=True)
class DetectionOptions(CheckedOptions):
    """Options of the method ``"probability"``; a model may state its own, chosen for a purity.

    Parameters
    ----------
    seed_threshold
        Source probability that a source reaches.
    threshold
        Source probability that its pixels have.
    min_area
        Smallest source.
    min_snr
        Smallest signal-to-noise ratio of a source.

        All bands are in units of their noise. The noise is that of sums over as many pixels of empty sky, correlated as
        it is.

    Raises
    ------
    OptionError
        A value out of range, or ``threshold`` above ``seed_threshold``.
    """

    seed_threshold: float = option(0.7, above=0, high=1, metavar="P")
    threshold: float = option(0.4, above=0, high=1, metavar="P")
    min_area: int = option(5, low=1, unit="pixels")
    min_snr: float = option(0.0, low=0, metavar="RATIO")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.threshold <= self.seed_threshold:
            raise OptionError(
                f"threshold = {self.threshold} and seed_threshold = {self.seed_threshold}: expected a threshold at "
                "most as high as seed_threshold"
            )


@documented
@dataclass(frozen=True)
class DeblendingOptions(CheckedOptions):
    """Options of deblending; all but ``min_distance`` are those of the method ``"multithreshold"``.

    Parameters
    ----------
    n_levels
        Levels between noise and peak, even in the logarithm.
    contrast
        Smallest share of a source's light in a piece.
    min_area
        Smallest piece.
    smoothing
        Gaussian that smooths the light.
    min_saddle_depth
        Depth of a saddle over its noise.

        It counts from the peak of the fainter piece; pieces with a shallower saddle are joined.
    merge_contrast
        Join a piece with less of its light above the saddle.
    merge_contrast_structured
        The same between disk and irregular light.

        These are arms and clumps of one galaxy. In between, the limit rises from the one to the other with the
        probability; it falls again for a round piece with the square of its share of its neighbour's light.
    max_knot_area
        Largest knot of a disk or irregular galaxy.

        It is counted down to half of its height above the saddle. Knots are joined with their galaxy, however much they
        stand out. 12 is for a PSF of 2.5 to 3 px.
    max_knot_contrast
        Most light of a knot above the saddle.
    min_knot_probability
        Least probability of disk and irregular of a knot.

        Both the knot and its neighbour have it at their peaks.
    max_spike_contrast
        Join spikes with less of a star's light.

        A spike is a piece of a point source that touches a brighter one.
    point_probability
        Probability of point_source that makes a piece a star.

        It is weighted with the light. A star is never joined with a galaxy.
    min_distance
        Smallest distance of two peaks, for paper.

        It is that along either axis. Peaks closer than this to the side of their source's bounding box do not count, so
        sources up to twice as wide stay whole.

    Raises
    ------
    OptionError
        A value out of range.
    """

    n_levels: int = option(32, low=1, flag="levels")
    contrast: float = option(0.001, low=0, high=1, metavar="SHARE")
    min_area: int = option(5, low=1, unit="pixels")
    smoothing: float = option(0.8, low=0, unit="pixels")
    min_saddle_depth: float = option(3.5, low=0, metavar="RATIO")
    merge_contrast: float = option(0.01, low=0, high=1, metavar="SHARE")
    merge_contrast_structured: float = option(0.18, low=0, high=1, metavar="SHARE")
    max_knot_area: int = option(12, low=0, unit="pixels")
    max_knot_contrast: float = option(0.2, low=0, high=1, metavar="SHARE")
    min_knot_probability: float = option(0.85, low=0, metavar="P")
    max_spike_contrast: float = option(0.06, low=0, high=1, metavar="SHARE")
    point_probability: float = option(0.5, low=0, high=1, metavar="P")
    min_distance: int = option(20, low=1, unit="pixels")


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
PLANES = tuple(FACTS["maps"])
"""Kinds of planes of the class maps."""
DEFAULT_MEMORY = "2GB"
PRECISIONS = ("float32", "bfloat16")
ENGINES = ("auto", "openvino", "tensorflow")
"""What may run a network: see `morpheus_lite.models.registry.load_model`."""


@documented
@dataclass(frozen=True)
class CatalogOptions(CheckedOptions):
    """Options of `catalog_file`: what is measured, and how it is written.

    Parameters
    ----------
    detection_band
        Band that gives positions and shapes.

        For sources found by rank votes it is F160W, or the first band.
    measuring
        What is measured of each source, and how.
    columns
        Naming convention of the columns.
    overwrite
        Replace products that exist.
    """

    detection_band: str | None = option(
        None, unset="all over their noise", length=(1, None), metavar="NAME", group="Measurement"
    )
    measuring: MeasureOptions = option(MeasureOptions)
    columns: str = option("photutils", choices=COLUMN_NAMES, group="Products")
    overwrite: bool = option(False, effect="none")


@documented
@dataclass(frozen=True)
class ClassifyOptions(CatalogOptions):
    """Options of `classify_file`.

    Parameters
    ----------
    model
        Shipped model or directory; auto: as suits the bands.
    stride
        Step between windows of hausen2020.
    edges
        hausen2020: classify the border, or leave it out.
    batch_size
        Windows of hausen2020 per call.
    uncertainty
        Mean of 8 orientations, at 8 times the work, with its scatter.

        For models that see the image in one pass. The planes ENTROPY and TTA_DISAGREEMENT come with it: see
        `morpheus_lite.inference.one_pass`.
    domain_check
        Compare the image with those of the training.
    device
        Where the network runs: auto, cpu, gpu or gpu:N.
    engine
        What runs the network.

        auto: OpenVINO on a CPU.
    precision
        What a one-pass model calculates in.
    memory
        Memory of the run; it changes no result.
    segmentation
        How sources are found.

        Deblending goes with it: see ``DEBLENDING_OF``.
    detection
        Thresholds that are not to be the model's own.
    deblending
        When blends are split.
    products
        Any of maps, catalog, picture, stamps, regions, report.
    catalog_format
        Format of the catalogue.
    planes
        Planes of the maps, such as mean,segmentation.

        Any of mean, variance, vote, coverage, segmentation, flags, entropy, tta_disagreement, large_object.
    compress
        Tile-compress the maps.
    """

    model: str = option(DEFAULT_MODEL, length=(1, None), metavar="NAME", group="Network")
    stride: int | None = option(None, unset="the model's", low=1, unit="pixels")
    edges: str = option("classify", choices=EDGES)
    batch_size: int | None = option(None, unset="the model's", low=1, metavar="N")
    uncertainty: bool = False
    domain_check: bool = True
    device: str = option("auto", length=(1, None), metavar="NAME", effect="none")
    engine: str = option("auto", choices=ENGINES, effect="none")
    precision: str = option("float32", choices=PRECISIONS)
    memory: str | int = option(DEFAULT_MEMORY, metavar="SIZE", effect="none")
    segmentation: str | None = option(
        None, unset="probability; paper for hausen2020", choices=SEGMENTATION_METHODS, group="Detection"
    )
    detection: Mapping[str, int | float] = option(dict, part_of=DetectionOptions)
    deblending: DeblendingOptions = option(DeblendingOptions, prefix="deblend-", group="Deblending")
    products: tuple[str, ...] = option(
        DEFAULT_PRODUCTS, choices=PRODUCTS, length=(1, None), metavar="A,B,...", effect="files", group="Products"
    )
    catalog_format: str = option("ecsv", choices=CATALOG_FORMATS)
    planes: tuple[str, ...] | None = option(
        None, unset="all", choices=PLANES, length=(1, None), metavar="A,B,...", effect="files"
    )
    compress: bool = False

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
