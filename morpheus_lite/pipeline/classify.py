"""The story of `morpheus classify`: read, measure noise, classify, segment, deblend, measure, write."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.config.classify import AUTO, DEBLENDING_OF, ClassifyOptions, MeasureOptions
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelStore, ScratchFile
from morpheus_lite.core.protocols import ImageReader, MapStore
from morpheus_lite.core.windows import tiles
from morpheus_lite.errors import InputError, MorpheusError, OptionError
from morpheus_lite.inference.domain_check import middle
from morpheus_lite.io import open_image, read_image
from morpheus_lite.io.maps import MapFile, MemoryMaps, export_maps
from morpheus_lite.models.registry import Model, load_model
from morpheus_lite.noise.background_mesh import BackgroundMesh, normalize
from morpheus_lite.noise.overview import SubtractedImage, measure_image
from morpheus_lite.pipeline.plan import (
    KIND_OF,
    SourceOptions,
    block_side_in,
    chosen_model,
    kinds_of,
    plan_run,
    read_psf_files,
    source_options,
)
from morpheus_lite.pipeline.products import PictureBlocks, prepare_drawing, product_paths, write_products
from morpheus_lite.runtime.atomic import atomic_directory
from morpheus_lite.runtime.resources import (
    Progress,
    Workers,
    counted,
    importing,
    part_of,
    process_beside,
    release_memory,
    resident_memory,
    run_each,
    shown_progress,
    usable_cores,
)

_FINDING = ("morpheus_lite.segmentation.detection", "morpheus_lite.segmentation.deblending", "scipy.sparse.csgraph")
_MEASURING = ("morpheus_lite.catalog.measurement", "scipy.optimize")
"""Modules that find and measure sources: they take half a second to import, which a core has to spare before."""

_RUNS = count()
"""Number of images that this process has classified."""

_BRIGHT, _FEWEST_BRIGHT, _LOST = 10.0, 20, 0.05  # S/N, and pixels, of which so many are in no source: 0 to .035 in HST

log = logging.getLogger(__name__)


def classify(
    image: Any,
    model: Model | str | Path = AUTO,
    *,
    stride: int | None = None,
    edges: str = "classify",
    batch_size: int | None = None,
    uncertainty: bool = False,
    background: str | float | None = None,
    psf: float | str | Mapping[str, float | str] | None = None,
    workers: int | None = None,
    progress: Progress | bool | None = None,
) -> Classification:
    """Class maps of an image.

    Parameters
    ----------
    image : SkyImage, path, array, mapping of band to these, NDData
        The image; its bands are matched to the model's by name. `read_image` reads all but a `SkyImage`; call it for
        options such as names of bands or planes of noise.
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
        What a one-pass model is to see subtracted, as in `~morpheus_lite.config.classify.MeasureOptions`; others see
        every window less its mean. `segment`, `deblend` and `measure` subtract the same, unless told otherwise.
    psf : float, str or mapping, optional
        PSF of each band, as in `~morpheus_lite.config.classify.MeasureOptions`; None measures it on the stars. One-pass
        models see an image with a wide PSF binned, and give its maps as fine as the image.
    workers : int, optional
        Calls of the network at the same time; as many as there are cores if not given.
    progress : bool or callable, optional
        True draws a bar (rich, in a notebook or on stderr); a callable is called with (thousandths done, 1000).

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
    measuring = MeasureOptions(background=background, psf=psf)
    options = ClassifyOptions(
        stride=stride, edges=edges, batch_size=batch_size, uncertainty=uncertainty, measuring=measuring
    )
    image = image if isinstance(image, SkyImage) else read_image(image)
    source, options = open_image(image), read_psf_files(options)
    if isinstance(model, str | Path):
        model = load_model(chosen_model(model, image))
    plan = plan_run(source, model, options, workers=workers)
    record = plan.record if background is None else {**plan.record, "background": background}
    noise = plan.measure_noise(workers=workers)
    record |= plan.noise_record(noise, plan.outside_domain(noise))
    kinds = kinds_of(plan.inferer.kinds, noise)
    maps = MemoryMaps(image.shape, kinds, wcs=image.wcs, provenance=record)
    with shown_progress(progress, image.title) as advance:
        plan.inferer.fill(plan.image, maps, noise=noise, progress=part_of(advance, 0, 1))
    return replace(maps.read(), image=image)


@dataclass(frozen=True, eq=False)
class Products:
    """Products of `classify_file`: their paths, and the figures that commands print.

    Parameters
    ----------
    paths : dict
        Product name to path.
    table : astropy.table.QTable or None
        The catalogue, only with the labels if no product needs more; None if none tells of sources, which are not
        looked for then.
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

    @property
    def kinds(self) -> list[str]:
        """Morphology of each source; none where they were not measured."""
        table = self.table
        return (
            [] if table is None or "morphology" not in table.colnames else [str(kind) for kind in table["morphology"]]
        )

    def __repr__(self) -> str:
        sources = "" if self.table is None else f", {counted(len(self.table), 'source')}"
        files = ", ".join(f"{name} {str(path)!r}" for name, path in self.paths.items())
        return f"<Products: {self.shape[0]} x {self.shape[1]} px by {self.provenance.get('model')}{sources}; {files}>"

    def _repr_html_(self) -> str:
        from morpheus_lite.visualization.notebook import card_html

        facts = {"Size": f"{self.shape[0]:,} x {self.shape[1]:,} px", "Model": str(self.provenance.get("model"))}
        if self.table is not None:
            kinds = self.kinds
            counts = ", ".join(f"{kinds.count(kind)} {kind.replace('_', ' ')}" for kind in sorted(set(kinds)))
            facts["Sources"] = f"{len(self.table)} ({counts})" if counts else "0"
        picture = self.paths.get("picture")
        png = picture.read_bytes() if picture is not None and picture.exists() else None
        return card_html("Products", facts | {name: str(path) for name, path in self.paths.items()}, png, width=700)


def classify_file(
    source: Any,
    directory: str | Path = ".",
    options: ClassifyOptions | None = None,
    *,
    name: str | None = None,
    read_options: dict[str, Any] | None = None,
    model: Model | None = None,
    workers: int | None = None,
    progress: Progress | bool | None = None,
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
        Keyword arguments of `read_image`: see `~morpheus_lite.config.classify.ReadOptions`.
    model : Model, optional
        The model of ``options`` where it is loaded already, as by a process that classifies many images.
    workers : int, optional
        Calls of the network at the same time; as many as there are cores if not given.
    progress : bool or callable, optional
        True draws a bar (rich, in a notebook or on stderr); a callable is called with (thousandths done, 1000), from
        the noise to the pictures.

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
    options = read_psf_files(options or ClassifyOptions())
    with ExitStack() as stack:
        label = name or (Path(source).name if isinstance(source, str | Path) else "image")
        clock = Clock(stack.enter_context(shown_progress(progress, label)))
        with clock("reading"):
            source = stack.enter_context(open_image(source, **(read_options or {})))
            paths = product_paths(source.name if name is None else name, Path(directory), options)
            folder = stack.enter_context(atomic_directory(paths.values(), overwrite=options.overwrite))
            temporary = {product: folder / path.name for product, path in paths.items()}
            cores, draws = workers or usable_cores(), "picture" in paths
            # Where more images follow, this process itself gets ready to draw, once, and forks in the end.
            is_alone, start = model is None and next(_RUNS) == 0, None
            if draws and cores > 1 and is_alone:
                start = stack.enter_context(process_beside(prepare_drawing))
        with clock("model"):
            model = model or load_model(
                chosen_model(options.model, source),
                device=options.device,
                precision=options.precision,
                engine=options.engine,
            )
            plan = plan_run(source, model, options, workers=workers)
            image, how = plan.image, source_options(plan.image, model.settings, plan.kinds, options)
        shape, bands = image.shape, ", ".join(image.bands)
        log.info("%s: %d x %d px, bands %s; model %s by %s", image.name, *shape, bands, model.name, model.engine)
        clock.shares = _shares(options, by_windows=not plan.inferer.needs_noise)
        later = [*_FINDING] if options.needs_sources else []
        later += [*_MEASURING] if options.measures_sources else []
        with importing(*later, then=prepare_drawing if draws and start is None else None):
            with clock("noise"):
                blocks = PictureBlocks(image.shape) if draws else None
                noise = plan.measure_noise(on_read=None if blocks is None else blocks.add_image)
                record = plan.run_record(noise, plan.outside_domain(noise))
                # The maps are made in the product itself, unless that holds less, or is compressed.
                is_product = "maps" in temporary and not options.compress and options.planes is None
                place = temporary["maps"] if is_product else folder / "maps"
                kinds = kinds_of(plan.kinds, noise)
                maps = stack.enter_context(MapFile(place, image.shape, kinds, wcs=image.wcs, provenance=record))
                # Maps of large objects are written over others: they are drawn from the file.
                if blocks is not None and "large_object" not in kinds:
                    maps.on_write = blocks.add_maps
            with clock("network") as advance:
                plan.inferer.fill(image, maps, noise=noise, progress=advance)
                release_memory()
        with _maps_kept(maps, paths, folder, options):
            with clock("catalog") as advance:
                table = None
                if options.needs_sources:
                    settings: dict[str, Any] = {"memory": plan.memory, "workers": cores, "scratch": folder}
                    settings["measured"] = options.measures_sources
                    table = make_catalog(image, maps, how, noise=noise, **settings, progress=advance)
            with clock("writing"):
                run = {**record, "timings": clock.seconds}
                if start is None:
                    start = stack.enter_context(process_beside()) if draws and cores > 1 else partial
                settings = {"memory": plan.memory, "run": run, "blocks": blocks, "start": start}
                write_products(temporary, image, maps, table, options, **settings)
    return Products(paths, table, image.shape, clock.seconds, record)


def make_catalog(
    image: ImageReader,
    maps: MapStore,
    how: SourceOptions,
    *,
    noise: BackgroundMesh | None = None,
    tile: int | None = None,
    memory: int | None = None,
    workers: Workers = 1,
    scratch: str | Path | None = None,
    plane: ScratchFile | None = None,
    measured: bool = True,
    progress: Progress | None = None,
) -> QTable:
    """Segment, deblend and measure the sources of an image that is read by section.

    Parameters
    ----------
    image : ImageReader
        The image, such as an `~morpheus_lite.io.ImageSource`.
    maps : MapStore
        Its class maps, such as a `~morpheus_lite.io.maps.MapFile`; the label map is written into their plane
        ``SEGMENTATION``, if there is one.
    how : SourceOptions
        How sources are found, split and measured.
    noise : BackgroundMesh, optional
        From `~morpheus_lite.noise.overview.measure_image`, with the background of ``how``; measured here if it is
        needed and not given.
    tile : int, optional
        Side of the tiles that the work is done in, in pixels. The result does not depend on it. None takes what
        ``memory`` allows.
    memory : int, optional
        Bytes that all workers together may take for pixels; None does not care.
    workers : int or Executor
        Processes that share the sources (on Linux), or where else the work is done. The result does not depend on it.
    scratch : path, optional
        Directory of a temporary file with 4 bytes per pixel; None takes the system's.
    plane : ScratchFile, optional
        The temporary file itself, where the workers cannot inherit one; it is closed in the end.
    measured : bool
        Whether the sources are measured; if not, the catalogue has nothing but their labels.
    progress : callable, optional
        Called with (thousandths done, 1000).

    Returns
    -------
    astropy.table.QTable
        The catalogue: the rows and labels that `~morpheus_lite.segment`, `~morpheus_lite.deblend` and
        `~morpheus_lite.measure` give for the whole image in memory, bit for bit.

    Raises
    ------
    InputError
        The class maps have another shape than the image.
    OptionError
        Class maps without the planes that the method needs, or too little memory.

    Notes
    -----
    Memory holds a tile with the surroundings of its sources for every worker, or the pixels of the largest source (some
    100 bytes for each pixel of its bounding box while it is deblended, up to
    `~morpheus_lite.segmentation.multithreshold.LARGEST_BOX` pixels), and some hundred bytes for every source.
    """
    if image.shape != maps.shape:
        raise InputError(f"class maps of shape {maps.shape} do not fit an image of shape {image.shape}")
    from morpheus_lite.segmentation.deblending import split
    from morpheus_lite.segmentation.detection import detect

    threads = workers if isinstance(workers, int) else 1
    tile = block_side_in(image, maps, memory, threads) if tile is None else tile
    if tile < 1:
        raise OptionError(f"tile={tile}: expected a positive number of pixels")
    sky = image
    if how.background is not None:
        noise = noise or measure_image(image, background=how.background)
        sky = SubtractedImage(image, noise, sky_noise=True)
    with plane or ScratchFile(image.shape, scratch) as plane:
        parents = detect(maps, sky, plane, method=how.method, options=how.detection, tile=tile, threads=threads)
        method = DEBLENDING_OF[how.method]
        _reached(progress, 0.1)
        labels, parents = split(parents, sky, maps, method=method, options=how.deblending, tile=tile, workers=workers)
        _reached(progress, 0.4)
        log.info("%d sources, %d after deblending", len(parents.names), len(labels.names))
        measuring = how.measuring
        if noise is not None and _misses_light(image, noise, labels):
            measuring = replace(measuring, outside_domain=True)
        if "segmentation" in maps.kinds:
            run_each(
                lambda window: maps.write_plane("SEGMENTATION", labels.read(window), window),
                tiles(maps.shape, tile),
                threads=threads,
            )
        if not measured:
            return QTable({"label": labels.names})
        from morpheus_lite.catalog.measurement import prepare_measurement

        kind = KIND_OF[how.method]
        measurement = prepare_measurement(
            labels, parents, image, maps, kind=kind, options=measuring, band=how.band, mesh=noise, tile=tile
        )
        return measurement.table(workers=workers, progress=part_of(progress, 0.4, 1))


def _misses_light(image: ImageReader, noise: BackgroundMesh, labels: LabelStore) -> bool:
    """Tell if the network takes most of what is bright, in the middle of an image, for artifacts; warn of much."""
    window = middle(image.shape)
    snr, valid = normalize(image.read(window), noise, window=window)
    bright = np.where(valid, snr, 0).max(axis=2) > _BRIGHT
    lost = np.count_nonzero(bright & (labels.read(window) == 0))
    n_bright = np.count_nonzero(bright)
    if lost > max(_FEWEST_BRIGHT, _LOST * n_bright):
        log.warning(
            "%s of the pixels above %g times the noise (%d of %d in the middle of the image) are in no source: "
            "cosmic rays and hot pixels, or stars of a PSF narrower than those of the training, which look like these",
            "most" if 2 * lost > n_bright else "many", _BRIGHT, lost, n_bright,
        )  # fmt: skip
    return bool(lost > max(_FEWEST_BRIGHT, n_bright / 2))


def _reached(progress: Progress | None, share: float) -> None:
    if progress is not None:
        progress(round(1000 * share), 1000)


def _shares(options: ClassifyOptions, *, by_windows: bool) -> dict[str, float]:
    """Share of the time that each stage takes, about."""
    times = {"noise": 0 if by_windows else 0.05, "network": 3 if by_windows else 0.5}
    times |= {"catalog": 0.35 if options.needs_sources else 0, "writing": 0.1}
    return {stage: seconds / sum(times.values()) for stage, seconds in times.items()}


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
                export_maps(maps, aside, kinds, compress=options.compress)
                aside.replace(path)
                log.error("%s: the class maps are kept, without labels; what failed is the catalogue: %s", path, error)
        raise


class Clock:
    """Wall-clock seconds of named stages, and one progress through them: ``with clock("network") as advance: ...``.

    Parameters
    ----------
    progress : callable, optional
        Called with (thousandths of all stages done, 1000).
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.shares: dict[str, float] = {}
        self._progress, self._done = progress, 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Progress | None]:
        """Time one stage."""
        start, end = time.perf_counter(), self._done + self.shares.get(stage, 0.0)
        yield part_of(self._progress, self._done, end)
        _reached(self._progress, end)
        self._done = end
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
        log.debug("%s: %.2f s; %d MB of memory", stage, self.seconds[stage], resident_memory() / 1e6)
