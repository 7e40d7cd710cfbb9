"""What a user may choose when an image becomes products: the options of a run, checked at the door."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.errors import OptionError

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
PLANES = ("mean", "variance", "vote", "coverage", "segmentation", "flags", "aleatoric", "epistemic")
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
        Whose names the columns of the catalogue have, one of ``COLUMN_NAMES``.
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
        Whether a one-pass model is to say how sure it is of itself, at eight times the work: see
        `morpheus_lite.inference.test_time_augmentation`.
    domain_check : bool
        Whether to compare the image with those that the model was trained on, if the model says what they are.
    """

    model: str = DEFAULT_MODEL
    stride: int | None = None
    edges: str = "classify"
    batch_size: int | None = None
    segmentation: str | None = None
    products: tuple[str, ...] = DEFAULT_PRODUCTS
    catalog_format: str = "ecsv"
    columns: str = "photutils"
    compress: bool = False
    planes: tuple[str, ...] | None = None
    overwrite: bool = False
    memory: str = DEFAULT_MEMORY
    device: str = "auto"
    precision: str = "float32"
    engine: str = "auto"
    detection: Mapping[str, float] = field(default_factory=dict)
    detection_band: str | None = None
    measuring: MeasureOptions = field(default_factory=MeasureOptions)
    uncertainty: bool = False
    domain_check: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in self.products if name not in PRODUCTS]
        if unknown or not self.products:
            raise OptionError(f"products {', '.join(unknown) or '(none)'}: choose one or more of {', '.join(PRODUCTS)}")
        if self.segmentation not in (None, *SEGMENTATION_METHODS):
            raise OptionError(f"segmentation {self.segmentation!r}: choose one of {', '.join(SEGMENTATION_METHODS)}")
        wrong = [kind for kind in self.planes or () if kind not in PLANES]
        if wrong or self.planes == ():
            raise OptionError(f"map planes {', '.join(wrong) or '(none)'}: choose one or more of {', '.join(PLANES)}")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision {self.precision!r}: choose one of {', '.join(PRECISIONS)}")
        if self.engine not in ENGINES:
            raise OptionError(f"engine {self.engine!r}: choose one of {', '.join(ENGINES)}")
        if self.catalog_format not in CATALOG_FORMATS:
            raise OptionError(f"catalogue format {self.catalog_format!r}: choose one of {', '.join(CATALOG_FORMATS)}")
        if self.columns not in COLUMN_NAMES:
            raise OptionError(f"columns {self.columns!r}: choose one of {', '.join(COLUMN_NAMES)}")

    @property
    def needs_sources(self) -> bool:
        """Whether any product tells of sources: all but maps without their segmentation plane do."""
        return self.products != ("maps",) or self.planes is None or "segmentation" in self.planes
