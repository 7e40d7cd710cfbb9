"""Options of a run from image to products, checked when they are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.config.schema import check, option

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
DETECTION = ("core", "wings", "min_area", "min_significance")
"""Fields of `~morpheus_lite.segmentation.detection.DetectionOptions` that may be chosen."""
DEFAULT_MEMORY = "2GB"
PRECISIONS = ("float32", "bfloat16")
ENGINES = ("auto", "openvino", "tensorflow")
"""What may run a network: see `morpheus_lite.models.registry.load_model`."""


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of `classify_file`.

    Parameters
    ----------
    model : str
        Name of a shipped model, a model directory, or ``"auto"``: the shipped one that suits the image's bands.
    stride, edges, batch_size
        As in `classify`.
    segmentation : str, optional
        Method of `segment`; `deblend` takes the one of ``DEBLENDING_OF``. None takes the paper's where there are
        rank votes, and ``"probability"`` for models that see the image in one pass.
    products : tuple of str
        Which of ``PRODUCTS`` to write.
    catalog_format : str
        Suffix of the catalogue, one of ``CATALOG_FORMATS``.
    columns : str
        Column naming convention of the catalogue, one of ``COLUMN_NAMES``.
    compress : bool
        Write tile-compressed maps.
    planes : tuple of str, optional
        Which planes the maps hold, of `~morpheus_lite.io.maps.PLANES`; None for all that the model gives.
    overwrite : bool
        Replace products that exist.
    memory : str
        How much memory the process may take, ``"2GB"``: it decides how much is done at once, and never the result.
    device : str
        ``"auto"`` takes a GPU if there is one; ``"cpu"``, ``"gpu"`` or ``"gpu:1"`` ask for one.
    precision : str
        One of ``PRECISIONS``: how the network of a one-pass model calculates.
    engine : str
        One of ``ENGINES``: what runs the network; ``"auto"`` takes OpenVINO on a CPU where it is installed.
    detection : mapping
        Fields of `~morpheus_lite.segmentation.detection.DetectionOptions` that are not to be the model's own.
    detection_band : str, optional
        Band that gives positions and shapes; None takes all bands, each over its noise, and F160W, or the first band,
        for sources found by rank votes.
    measuring : MeasureOptions
        What is measured of each source, and how.
    uncertainty : bool
        Whether a one-pass model sees the image in eight orientations, at eight times the work: see
        `morpheus_lite.inference.test_time_augmentation`.
    domain_check : bool
        Whether to compare the image with those that the model was trained on, if the model says what they are.
    """

    model: str = option(DEFAULT_MODEL, length=(1, None))
    stride: int | None = option(None, low=1)
    edges: str = "classify"
    batch_size: int | None = option(None, low=1)
    segmentation: str | None = option(None, choices=SEGMENTATION_METHODS)
    products: tuple[str, ...] = option(DEFAULT_PRODUCTS, choices=PRODUCTS, length=(1, None))
    catalog_format: str = option("ecsv", choices=CATALOG_FORMATS)
    columns: str = option("photutils", choices=COLUMN_NAMES)
    compress: bool = False
    planes: tuple[str, ...] | None = option(None, choices=PLANES, length=(1, None))
    overwrite: bool = False
    memory: str | int = DEFAULT_MEMORY
    device: str = option("auto", length=(1, None))
    precision: str = option("float32", choices=PRECISIONS)
    engine: str = option("auto", choices=ENGINES)
    detection: Mapping[str, int | float] = field(default_factory=dict)
    detection_band: str | None = option(None, length=(1, None))
    measuring: MeasureOptions = field(default_factory=MeasureOptions)
    uncertainty: bool = False
    domain_check: bool = True

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_sources(self) -> bool:
        """True if any product needs sources: all but maps without their segmentation plane do."""
        return self.products != ("maps",) or self.planes is None or "segmentation" in self.planes
