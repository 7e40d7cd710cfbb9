"""The stories: an image in memory becomes class maps; a file becomes every product."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from astropy.table import QTable

from morpheus_lite import __version__
from morpheus_lite.config.classify import AUTO, DEFAULT_MODEL, ClassifyOptions
from morpheus_lite.config.measure import MeasureOptions, check_background
from morpheus_lite.config.schema import chosen, plain_values
from morpheus_lite.config.sources import DetectionOptions
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage, canonical_band
from morpheus_lite.core.windows import EDGES, Window
from morpheus_lite.errors import InputError, MorpheusError, OptionError
from morpheus_lite.inference import one_pass, sliding_window
from morpheus_lite.inference.domain_check import check_domain, middle
from morpheus_lite.inference.one_pass import classify_tiles, stream_tiles, tile_record
from morpheus_lite.inference.sliding_window import classify_windows, region_in, stream_windows, window_record
from morpheus_lite.inference.tile_memory import TileModel, workers_in
from morpheus_lite.io import open_image
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.mapfile import MapFile, Maps
from morpheus_lite.models.registry import Model, choose_model, load_model
from morpheus_lite.models.tile_predictor import OnePassModel
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.noise.subtracted import measure_sections
from morpheus_lite.pipeline.products import product_paths, write_products
from morpheus_lite.pipeline.sources import catalogue_sections
from morpheus_lite.runtime.atomic import atomic_directory
from morpheus_lite.runtime.resources import Progress, held_memory, parse_memory, release_memory, usable_cores

log = logging.getLogger(__name__)


def classify(
    image: SkyImage,
    model: Model | str | Path = DEFAULT_MODEL,
    *,
    stride: int | None = None,
    edges: str = "classify",
    batch_size: int | None = None,
    uncertainty: bool = False,
    background: str | float | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Classification:
    """Class maps of an image.

    Parameters
    ----------
    image : SkyImage
        The image; its bands are matched to the model's by name. Anything else goes through `read_image` first.
    model : Model, str or path
        A loaded model, the name of a shipped one, a model directory, or "auto": the shipped one that suits the image.
    stride : int, optional
        Step between windows in pixels; None takes the model's own default. One-pass models have none.
    edges : {"classify", "leave"}
        Whether pixels closer to the edge than the model's margin get a value.
    batch_size : int, optional
        Windows in one call of the network; the result does not depend on it beyond rounding.
    uncertainty : bool
        Whether a one-pass model sees the image in eight orientations, which gives ``entropy`` and ``tta_disagreement``,
        at eight times the network's work; ``probability`` is then the mean over the orientations.
    background : {"mesh", "none"} or float, optional
        What a one-pass model is to see subtracted, as in `~morpheus_lite.config.measure.MeasureOptions`; others see
        every window less its mean. `segment`, `deblend` and `measure` subtract the same, unless told otherwise.
    workers : int, optional
        Calls of the network at the same time; as many as there are cores if not given.
    progress : callable, optional
        Called with (windows done, windows in all).

    Returns
    -------
    Classification
        Mean, variance, rank vote and coverage of every pixel. It remembers the image, and the model's own thresholds of
        detection, so that `segment`, `deblend` and `measure` need no more arguments. In which respects the image is
        unlike those that the model was trained on is logged, and recorded as ``provenance["domain"]``.

    Raises
    ------
    InputError
        A band that the model needs is missing, or the image is smaller than a window.
    OptionError
        The stride would leave holes, or the model has no stride, or no such uncertainty.
    ModelError
        The model is unknown or damaged.

    Examples
    --------
    >>> import numpy as np, morpheus_lite as ml
    >>> rng = np.random.default_rng(1)
    >>> sky = ml.read_image(rng.normal(0, 0.01, (48, 48, 4)), bands=["H", "J", "V", "Z"])
    >>> result = ml.classify(sky)
    >>> result.probability.shape
    (48, 48, 5)
    """
    if isinstance(model, str | Path):
        model = load_model(_named(model, image))
    if model.kind == "onepass":
        _refuse_window_options(model, stride, edges)
        tiles = cast(TileModel, model)
        check_background(background)
        result = classify_tiles(
            image,
            tiles,
            uncertainty=uncertainty,
            background="mesh" if background is None else background,
            workers=workers,
            progress=progress,
        )
    else:
        _refuse_uncertainty(model, uncertainty)
        result = classify_windows(
            image.select(model.bands),
            model,
            stride=stride,
            edges=edges,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
    outside = outside_domain(image.cutout(middle(image.shape)), model)
    record = {**result.provenance, **_record_of_model(model), **({"domain": list(outside)} if outside else {})}
    if background is not None:
        record["background"] = background
    return replace(result, provenance=record, image=image)


@dataclass(frozen=True, eq=False)
class Products:
    """Products of `classify_file`: their paths, and the figures that commands print.

    Parameters
    ----------
    paths : dict
        Product name to path.
    table : astropy.table.QTable or None
        The catalogue; None if no product tells of sources, which are not looked for then.
    shape : (int, int)
        Height and width of the image.
    seconds : dict
        Wall-clock time of each stage.
    provenance : dict
        What the primary header records.
    """

    paths: dict[str, Path]
    table: QTable | None
    shape: tuple[int, int]
    seconds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def classify_file(
    source: Any,
    directory: str | Path = ".",
    options: ClassifyOptions | None = None,
    *,
    name: str | None = None,
    read_options: dict[str, Any] | None = None,
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
    read_options : dict, optional
        Keyword arguments of `read_image`: see `~morpheus_lite.config.reading.ReadOptions`.
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
    clock = Clock()
    with ExitStack() as stack:
        with clock("reading"):
            image = stack.enter_context(open_image(source, **(read_options or {})))
            paths = product_paths(image.name if name is None else name, Path(directory), options)
            folder = stack.enter_context(atomic_directory(paths.values(), overwrite=options.overwrite))
        with clock("model"):
            name_of_model = _named(options.model, image)
            model = model or load_model(
                name_of_model, device=options.device, precision=options.precision, engine=options.engine
            )
            if model.bands and not image.has_band_names:
                image = image.select(model.bands)
            plan = plan_run(image, model, options, workers=workers)
            missing = [kind for kind in options.planes or () if kind not in plan.kinds]
            if missing:
                raise OptionError(
                    f"{model.name} gives no map planes {', '.join(missing)}; it has {', '.join(plan.kinds)}"
                )
            finding = resolve_detection(image, model.settings, plan.kinds, options)
        log.info("%s: %d x %d px, bands %s; model %s", image.name, *image.shape, ", ".join(image.bands), model.name)
        with clock("checking"):
            outside = outside_domain(image.read(middle(image.shape)), model) if options.domain_check else ()
        record = {**plan.record, **run_record(image, options), **({"domain": list(outside)} if outside else {})}
        temporary = {product: folder / path.name for product, path in paths.items()}
        place = _place_of_maps(temporary, options)
        maps = stack.enter_context(MapFile(place, image.shape, plan.kinds, wcs=image.wcs, provenance=record))
        noise = None
        if model.kind == "onepass":
            with clock("noise"):
                noise = measure_chosen_background(image, options)
        with clock("network"):
            plan.fill(maps, noise, progress)
            release_memory()
        with _maps_kept(maps, paths, folder, options):
            with clock("catalog"):
                workers, memory = workers or usable_cores(), int(plan.memory)
                table = None
                if options.needs_sources:
                    finding["measuring"] = measuring_in(options, outside)
                    finding |= {"noise": noise, "memory": memory, "workers": workers}
                    table = catalogue_sections(image, maps, **finding, scratch=folder)
            with clock("writing"):
                run = {**record, "timings": clock.seconds}
                write_products(temporary, image, maps, table, options, memory=plan.memory, run=run)
    return Products(paths, table, image.shape, clock.seconds, record)


@contextmanager
def _maps_kept(maps: MapFile, paths: Mapping[str, Path], folder: Path, options: ClassifyOptions) -> Iterator[None]:
    """Keep the class maps, which may have taken hours, where what comes after them fails."""
    try:
        yield
    except Exception as error:
        path = paths.get("maps")
        if path is not None and (options.overwrite or not path.exists()):
            kinds = [kind for kind in options.planes or maps.kinds if kind != "segmentation"]
            aside = folder / f"{path.name}.kept"
            with suppress(OSError, MorpheusError):
                maps.export(aside, kinds, compress=options.compress)
                aside.replace(path)
                log.error("%s: the class maps are kept, without labels; what failed is the catalogue: %s", path, error)
        raise


def measure_chosen_background(
    image: ImageSource, options: ClassifyOptions, *, workers: int | None = None
) -> BackgroundMesh:
    """Noise of a whole image, on the background that the options say."""
    background = options.measuring.background_of(by_votes=False)
    return measure_sections(image, background="mesh" if background is None else background, workers=workers)


def resolve_detection(
    image: ImageSource, settings: Mapping[str, Any], kinds: Sequence[str], options: ClassifyOptions
) -> dict[str, Any]:
    """Resolve the detection method, its options and the band: keyword arguments of `catalogue_sections`.

    Parameters
    ----------
    image : ImageSource
        The image.
    settings : mapping
        Of the model: what it states of ``"detection"``.
    kinds : sequence of str
        Planes of the class maps.
    options : ClassifyOptions
        What was chosen.

    Raises
    ------
    InputError
        The image does not have the detection band.
    OptionError
        An option is impossible, or does not go with the image.
    """
    options.measuring.check_image(image.name, image.bands, image.pixel_scale)
    if options.detection_band is not None and canonical_band(options.detection_band, image.bands) not in image.bands:
        raise InputError(
            f"{image.name} has no detection band {canonical_band(options.detection_band)}: it has "
            f"{', '.join(image.bands)}"
        )
    return {
        "method": options.segmentation or ("paper" if "vote" in kinds else "probability"),
        "detection": DetectionOptions(**{**settings.get("detection", {}), **options.detection}),
        "deblending": options.deblending,
        "band": options.detection_band,
    }


def _record_of_model(model: Model, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Record of a model in its maps, beside its name: its engine, and the thresholds of detection that go with it."""
    detection = {**model.settings.get("detection", {}), **(chosen or {})}
    return {"engine": model.engine, **({"detection": detection} if detection else {})}


def measuring_in(options: ClassifyOptions, outside: Sequence[str]) -> MeasureOptions:
    """Measurement options with the flag for an image outside of the model's domain."""
    return replace(options.measuring, outside_domain=options.measuring.outside_domain or bool(outside))


@dataclass(frozen=True, eq=False)
class Plan:
    """Plan of the class maps of one image: decided, and checked to fit in memory, before the work starts.

    Parameters
    ----------
    kinds : tuple of str
        Planes of the maps.
    record : dict
        What the maps record of the model and of how it is applied.
    memory : float
        Bytes of memory that may be used beside the libraries.
    fill : callable
        ``fill(maps, noise, progress)`` does the work; a one-pass model needs the noise of the whole image.
    """

    kinds: tuple[str, ...]
    record: dict[str, Any]
    memory: float
    fill: Callable[[Maps, BackgroundMesh | None, Progress | None], Any]


def plan_run(
    image: ImageSource,
    model: Model,
    options: ClassifyOptions,
    *,
    workers: int | None = None,
    within: Window | None = None,
) -> Plan:
    """Plan the class maps of an image, or of a window of it, in the memory of the options.

    Raises
    ------
    OptionError
        The memory is not enough, or the options do not go with the model.
    """
    memory = parse_memory(options.memory) - held_memory()
    if model.kind == "onepass":
        _refuse_window_options(model, options.stride, options.edges)
        tiles = cast(TileModel, model)
        n_bands = len(model.bands) or image.n_bands
        doubt = options.uncertainty
        fitting = workers_in(memory, tiles, n_bands, has_rms=any(image.has_rms), uncertainty=doubt)
        n_workers = min(workers or fitting, fitting)

        def fill(maps: Maps, noise: BackgroundMesh | None, progress: Progress | None) -> None:
            given: dict[str, Any] = {"within": within, "noise": noise, "memory": parse_memory(options.memory)}
            stream_tiles(image, tiles, maps, workers=n_workers, **given, progress=progress)
            cast(OnePassModel, model).release()

        kinds = (*one_pass.TILE_PLANES, "segmentation", *(one_pass.UNCERTAINTY if doubt else ()))
        record = {**tile_record(model, uncertainty=doubt), **_record_of_model(model, options.detection)}
        return Plan(kinds, record, memory, fill)
    _refuse_uncertainty(model, options.uncertainty)
    region = region_in(memory, len(model.bands))

    def fill_windows(maps: Maps, noise: BackgroundMesh | None, progress: Progress | None) -> None:
        given: dict[str, Any] = {"stride": options.stride, "edges": options.edges, "batch_size": options.batch_size}
        stream_windows(image, model, maps, **given, workers=workers, region=region, within=within, progress=progress)

    record = {**window_record(model, options.stride, options.edges), **_record_of_model(model, options.detection)}
    return Plan((*sliding_window.WINDOW_PLANES, "segmentation"), record, memory, fill_windows)


def _named(model: str | Path, image: SkyImage | ImageSource) -> str | Path:
    """The model that was asked for, or the one that suits the image."""
    return choose_model(image.bands, image.pixel_scale) if model == AUTO else model


def outside_domain(image: SkyImage, model: Model) -> tuple[str, ...]:
    """List, and log, how the middle of an image differs from those that a model was trained on, in sentences."""
    ranges = model.settings.get("domain", {})
    if not ranges:
        return ()
    outside = check_domain(image, ranges).outside
    for sentence in outside:
        log.warning("%s: %s", image.name, sentence)
    return outside


def _refuse_window_options(model: Model, stride: int | None, edges: str) -> None:
    if stride is not None or edges != EDGES[0]:
        raise OptionError(f"{model.name} sees the image in one pass: stride and edges apply only to hausen2020")


def _refuse_uncertainty(model: Model, uncertainty: bool) -> None:
    if uncertainty:
        raise OptionError(
            f"{model.name} sees every pixel in many windows, and the variance over them is in its maps already; "
            "uncertainty is for models that see the image in one pass"
        )


def _place_of_maps(paths: dict[str, Path], options: ClassifyOptions) -> Path:
    """The file that the maps are made in: the product itself, unless that holds less, or is compressed."""
    path = next(iter(paths.values())).with_name("maps")
    return path if options.compress or options.planes is not None else paths.get("maps", path)


def run_record(image: ImageSource, options: ClassifyOptions) -> dict[str, Any]:
    """Record of a run in every product, beside what the engine recorded of the model."""
    parts = {"measuring": chosen(options.measuring), "deblending": chosen(options.deblending)}
    values = {**plain_values(options, without=("none", "files")), **parts}
    record = {"version": __version__, "image": image.name, "bands": ",".join(image.bands), "options": values}
    background = options.measuring.background
    return record if background is None else {**record, "background": background}


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
