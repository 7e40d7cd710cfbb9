"""What a user may choose when an image becomes products: the options of a run, checked at the door."""

from dataclasses import dataclass

from morpheus_lite.errors import OptionError

DEFAULT_MODEL = "hausen2020"
PRODUCTS = ("maps", "catalog", "picture", "regions", "report")
DEFAULT_PRODUCTS = ("maps", "catalog", "picture")
CATALOG_FORMATS = ("ecsv", "fits", "parquet", "csv", "vot")
COLUMN_NAMES = ("photutils", "sextractor")
SEGMENTATION_METHODS = ("paper", "probability")
DEBLENDING_OF = {"paper": "paper", "probability": "multithreshold"}
"""Which method of `deblend` goes with each method of `segment`."""


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of `classify_file`.

    Parameters
    ----------
    model : str
        Name of a shipped model, or a model directory.
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
    overwrite : bool
        Replace products that exist.
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
    overwrite: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.products if name not in PRODUCTS]
        if unknown or not self.products:
            raise OptionError(f"products {', '.join(unknown) or '(none)'}: choose one or more of {', '.join(PRODUCTS)}")
        if self.segmentation not in (None, *SEGMENTATION_METHODS):
            raise OptionError(f"segmentation {self.segmentation!r}: choose one of {', '.join(SEGMENTATION_METHODS)}")
        if self.catalog_format not in CATALOG_FORMATS:
            raise OptionError(f"catalogue format {self.catalog_format!r}: choose one of {', '.join(CATALOG_FORMATS)}")
        if self.columns not in COLUMN_NAMES:
            raise OptionError(f"columns {self.columns!r}: choose one of {', '.join(COLUMN_NAMES)}")
