"""The stories: an image in memory becomes class maps; a file becomes every product."""

import logging
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from astropy.table import QTable

from morpheus_lite import __version__
from morpheus_lite.atomic import check_writable
from morpheus_lite.catalog import measure, sextractor_columns
from morpheus_lite.classification import Classification
from morpheus_lite.deblending import deblend
from morpheus_lite.display import hex_colours, save_summary
from morpheus_lite.engine import classify_windows
from morpheus_lite.errors import OptionError
from morpheus_lite.image import SkyImage
from morpheus_lite.io import read_image, write_catalog, write_maps, write_regions
from morpheus_lite.onepass import TileModel, classify_tiles
from morpheus_lite.options import DEBLENDING_OF, DEFAULT_MODEL, ClassifyOptions
from morpheus_lite.pretrained import Model, load_model
from morpheus_lite.report import write_report
from morpheus_lite.segmentation import segment
from morpheus_lite.tiling import EDGES

Progress = Callable[[int, int], None]

log = logging.getLogger(__name__)


def classify(
    image: SkyImage,
    model: Model | str | Path = DEFAULT_MODEL,
    *,
    stride: int | None = None,
    edges: str = "classify",
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Classification:
    """Class maps of an image.

    Parameters
    ----------
    image : SkyImage
        The image; its bands are matched to the model's by name. Anything else goes through `read_image` first.
    model : Model, str or path
        A loaded model, the name of a shipped one, or a model directory.
    stride : int, optional
        Step between windows in pixels; None takes the model's own default. One-pass models have none.
    edges : {"classify", "leave"}
        Whether pixels closer to the edge than the model's margin get a value.
    batch_size : int, optional
        Windows in one call of the network; the result does not depend on it beyond rounding.
    workers : int, optional
        Calls of the network at the same time; as many as there are cores if not given.
    progress : callable, optional
        Called with (windows done, windows in all).

    Returns
    -------
    Classification
        Mean, variance, rank vote and coverage of every pixel.

    Raises
    ------
    InputError
        A band that the model needs is missing, or the image is smaller than a window.
    OptionError
        The stride would leave holes, or the model knows no stride.
    ModelError
        The model is unknown or damaged.

    Examples
    --------
    >>> import numpy as np, morpheus_lite as ml
    >>> rng = np.random.default_rng(1)
    >>> sky = ml.read_image(rng.normal(0, 0.01, (48, 48, 4)), bands=["H", "J", "V", "Z"])
    >>> result = ml.classify(sky, stride=5)
    >>> result.probability.shape
    (48, 48, 5)
    """
    if isinstance(model, str | Path):
        model = load_model(model)
    if model.kind == "onepass":
        if stride is not None or edges != EDGES[0]:
            raise OptionError(f"{model.name} sees the image in one pass: it knows neither a stride nor edges to leave")
        return classify_tiles(image, cast(TileModel, model), workers=workers, progress=progress)
    return classify_windows(
        image.select(model.bands),
        model,
        stride=stride,
        edges=edges,
        batch_size=batch_size,
        workers=workers,
        progress=progress,
    )


@dataclass(frozen=True, eq=False)
class Products:
    """What `classify_file` made: where the products are, and what is worth printing.

    Parameters
    ----------
    paths : dict
        Product name to path.
    table : astropy.table.QTable
        The catalogue.
    shape : (int, int)
        Height and width of the image.
    seconds : dict
        Wall-clock time of each stage.
    provenance : dict
        What the primary header records.
    """

    paths: dict[str, Path]
    table: QTable
    shape: tuple[int, int]
    seconds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def product_paths(name: str, directory: Path, options: ClassifyOptions) -> dict[str, Path]:
    """Where the products of an image called ``name`` go."""
    files = {
        "maps": f"{name}_morpheus.fits",
        "catalog": f"{name}_catalog.{options.catalog_format}",
        "picture": f"{name}_summary.png",
        "regions": f"{name}_sources.reg",
        "report": f"{name}_report.html",
    }
    return {product: directory / files[product] for product in options.products}


def classify_file(
    source: Any,
    directory: str | Path = ".",
    options: ClassifyOptions | None = None,
    *,
    name: str | None = None,
    reading: dict[str, Any] | None = None,
    model: Model | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Products:
    """Classify one image and write its products.

    Parameters
    ----------
    source : path, mapping of band to path, or anything `read_image` takes
        The image.
    directory : path
        Where the products go; created when it does not exist.
    options : ClassifyOptions, optional
        What to do and what to write.
    name : str, optional
        First part of the products' file names; None takes the image's own.
    reading : dict, optional
        Keyword arguments of `read_image`: ``bands, rms, weight, dq, zero_points``.
    model : Model, optional
        The model of ``options`` where it is loaded already, as by a process that classifies many images.
    workers : int, optional
        Calls of the network at the same time; as many as there are cores if not given.
    progress : callable, optional
        Called with (windows done, windows in all).

    Returns
    -------
    Products
        Paths, catalogue and timings.

    Raises
    ------
    InputError
        The image cannot be read or does not fit the model.
    OutputError
        A product exists and ``overwrite`` is False, or cannot be written.
    """
    options = options or ClassifyOptions()
    directory = Path(directory)
    clock = Clock()
    with clock("reading"):
        image = read_image(source, **(reading or {}))
        name = name or image.name
        paths = product_paths(name, directory, options)
        check_writable(paths.values(), overwrite=options.overwrite)
    with clock("model"):
        model = model or load_model(options.model)
        if model.bands and not image.has_band_names:
            image = image.select(model.bands)
    log.info("%s: %d x %d px, bands %s; model %s", image.name, *image.shape, ", ".join(image.bands), model.name)
    with clock("network"):
        result = classify(
            image,
            model,
            stride=options.stride,
            edges=options.edges,
            batch_size=options.batch_size,
            workers=workers,
            progress=progress,
        )
    result.provenance.update(run_record(image, options))
    with clock("segmentation"):
        method = options.segmentation or ("probability" if result.vote is None else "paper")
        parents = segment(result, method=method)
        labels = deblend(parents, image, method=DEBLENDING_OF[method], classification=result)
    with clock("catalog"):
        maps = "vote" if method == "paper" else "probability"
        table = measure(labels, image, result, parents=parents, maps=maps)
    with clock("writing"):
        write_products(paths, image, result, labels, table, options)
        if "report" in paths:
            run = {**result.provenance, "timings": clock.seconds}
            write_report(paths["report"], image, result, labels, table, overwrite=options.overwrite, run=run)
    return Products(paths, table, image.shape, clock.seconds, result.provenance)


def write_products(
    paths: dict[str, Path],
    image: SkyImage,
    result: Classification,
    labels: np.ndarray,
    table: QTable,
    options: ClassifyOptions,
) -> None:
    """Write the products that have a path; each appears under its name when it is whole."""
    overwrite = options.overwrite
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    if "maps" in paths:
        write_maps(paths["maps"], image, result, labels=labels, overwrite=overwrite, compress=options.compress)
    if "catalog" in paths:
        named = sextractor_columns(table) if options.columns == "sextractor" else table
        write_catalog(paths["catalog"], named, overwrite=overwrite)
    if "picture" in paths:
        save_summary(paths["picture"], image, result, labels, table, overwrite=overwrite)
    if "regions" in paths:
        frame = "image" if image.pixel_scale is None else "sky"
        write_regions(
            paths["regions"],
            table,
            labels=labels,
            wcs=image.wcs,
            frame=frame,
            colors=hex_colours("legible"),
            overwrite=overwrite,
        )


def run_record(image: SkyImage, options: ClassifyOptions) -> dict[str, Any]:
    """What every product says of the run, beside what the engine recorded of the model."""
    chosen = {key: value for key, value in asdict(options).items() if key not in ("overwrite", "products")}
    return {"version": __version__, "image": image.name, "bands": ",".join(image.bands), "options": chosen}


class Clock:
    """Wall-clock seconds of named stages: ``with clock("reading"): ...``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str):
        """Time one stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
