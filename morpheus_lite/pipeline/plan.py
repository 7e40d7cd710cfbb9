"""Plan of one image: what is decided, and checked to fit, before the work starts."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from morpheus_lite import __version__
from morpheus_lite.config.classify import (
    AUTO,
    DEBLENDING_OF,
    LARGEST_MARGIN,
    CatalogOptions,
    ClassifyOptions,
    DeblendingOptions,
    DetectionOptions,
    MeasureOptions,
)
from morpheus_lite.config.schema import chosen, plain_values
from morpheus_lite.core.image import SkyImage, canonical_band
from morpheus_lite.core.protocols import ImageReader, MapStore, OnRead
from morpheus_lite.core.psf import MoffatPsf, canonical_factor
from morpheus_lite.core.source_calibration import CALIBRATION_KEY, SourceCalibration, calibration_of
from morpheus_lite.core.windows import BLOCK, EDGES, Window
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.inference.domain_check import DomainCheck, check_domain
from morpheus_lite.inference.network_input import has_wings
from morpheus_lite.inference.one_pass import OnePass
from morpheus_lite.inference.sliding_window import SlidingWindows
from morpheus_lite.io import read_image
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.models.registry import Model, OnePassModel, choose_model
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.noise.box_statistics import BOX
from morpheus_lite.noise.overview import measure_image
from morpheus_lite.noise.psf import psf_of_star
from morpheus_lite.runtime.resources import Progress, held_memory, parse_memory

KIND_OF = {"paper": "vote", "probability": "probability"}
"""Which class maps are summed to the classes of sources, by how these are found."""

_SMALLEST_TILE = 128
_PLANES_OF = {"mean": 5, "variance": 5, "vote": 5}
_BYTES_OF_BAND = 27  # data, RMS and validity, less their background, and again where they are taken
_BYTES_OF_PIXEL = 75  # labels before and after, marks, and what is at work

log = logging.getLogger(__name__)


class Inferer(Protocol):
    """A way of working: `~morpheus_lite.inference.one_pass.OnePass` or `SlidingWindows`."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Planes of the class maps that are filled."""

    @property
    def record(self) -> dict[str, Any]:
        """Record of the model, and of how it is applied, in its maps."""

    @property
    def needs_noise(self) -> bool:
        """True if the network sees the image in units of its noise."""

    def grid(self, n_bands: int, /) -> int:
        """Pixels that parts of an image start at multiples of, so that no work is done twice."""

    def within_memory(self, memory: int, image: ImageSource, /) -> "Inferer":
        """The same, doing no more at once than fits into this many bytes of the process.

        Raises
        ------
        OptionError
            Nothing fits.
        """

    def fill(
        self,
        image: ImageSource,
        maps: MapStore,
        /,
        *,
        noise: BackgroundMesh | None = None,
        within: Window | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Fill class maps from an image that is read by section, and never held as a whole.

        Parameters
        ----------
        image : ImageSource
            The image; bands are chosen by name.
        maps : MapStore
            Class maps of the image.
        noise : BackgroundMesh, optional
            Background and noise of the whole image, for a network that needs them; measured here if not given.
        within : Window, optional
            Only this part of the image: what the whole image would give there. More may be written around it.
        progress : callable, optional
            Called with (steps done, steps in all).

        Raises
        ------
        InputError
            The image does not have the bands of the model, or no noise that can be measured, or is too small.
        """


def make_inferer(model: Model | OnePassModel, options: ClassifyOptions, *, workers: int | None = None) -> Inferer:
    """Choose the way of working that a model is made for.

    Parameters
    ----------
    model : Model or OnePassModel
        The model: one with a halo sees tiles.
    options : ClassifyOptions
        How it is applied.
    workers : int, optional
        Calls of the network at once; one for each usable core if not given. The result does not depend on it.

    Raises
    ------
    OptionError
        The options do not go with the model.
    """
    if hasattr(model, "halo"):
        if options.stride is not None or options.edges != EDGES[0]:
            raise OptionError(f"{model.name} sees the image in one pass: stride and edges apply only to hausen2020")
        return OnePass(cast(OnePassModel, model), uncertainty=options.uncertainty, workers=workers)
    if options.uncertainty:
        raise OptionError(
            f"{model.name} sees every pixel in many windows, and the variance over them is in its maps already; "
            "uncertainty is for models that see the image in one pass"
        )
    return SlidingWindows(model, options.stride, options.edges, options.batch_size, workers=workers)


@dataclass(frozen=True, eq=False)
class Plan:
    """Plan of the class maps of one image.

    Parameters
    ----------
    image : ImageSource
        The image; its bands have the names of the model's where they had none.
    model : Model
        The model.
    options : ClassifyOptions
        How it is applied.
    inferer : Inferer
        The model, and how it works on the image.
    memory : int
        Bytes of memory that may be used beside the libraries.
    record : dict
        What the maps record of the model and of how it is applied.
    """

    image: ImageSource
    model: Model
    options: ClassifyOptions
    inferer: Inferer
    memory: int
    record: dict[str, Any]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Planes of the maps."""
        return (*self.inferer.kinds, "segmentation")

    def measure_noise(self, *, on_read: OnRead | None = None, workers: int | None = None) -> BackgroundMesh | None:
        """Noise and PSF of the whole image, on the background of the options; None where the model needs none.

        Parameters
        ----------
        on_read : callable, optional
            Called with windows and their pixels, each pixel once.
        workers : int, optional
            Threads.
        """
        if not self.inferer.needs_noise:
            return None
        background = self.options.measuring.background_of(by_votes=False)
        return measure_image(
            self.image,
            background="mesh" if background is None else background,
            given=self.options.measuring.given_psfs(self.image.bands, self.image.pixel_scale),
            on_read=on_read,
            workers=workers,
        )

    def outside_domain(self, noise: BackgroundMesh | None) -> list[str]:
        """List, and log, how the image, as the network sees it, differs by far from what it was trained on."""
        ranges = self.model.settings.get("domain", {})
        if noise is None or not self.options.domain_check:
            return []
        check = check_domain(self.image, self.model.bands, noise, ranges) if ranges else DomainCheck()
        outside = [*noise.doubts, *check.outside]
        for sentence in [*_of_the_sky(noise, self.image.bands), *outside]:
            log.warning("%s: %s", self.image.name, sentence)
        for sentence in check.notes:
            log.info("%s (no reason for distrust): %s", self.image.name, sentence)
        return outside

    def noise_record(self, noise: BackgroundMesh | None, outside: Sequence[str] = ()) -> dict[str, Any]:
        """Record of the PSFs, how the image was binned for the network on their account, and how it is unlike others.

        ``outside`` is what `outside_domain` found.
        """
        if noise is None:
            return {}
        psfs = dict(zip(self.image.bands, noise.psf, strict=True))
        seen = {band: psf for band, psf in psfs.items() if not self.model.bands or band in self.model.bands}
        factor, winged = canonical_factor(seen.values()), [band for band, psf in seen.items() if has_wings(psf)]
        record: dict[str, Any] = {"psf": {band: psf.record() for band, psf in psfs.items()}}
        record |= {"binning": factor} if factor > 1 else {}
        record |= {"wings_removed": winged} if winged else {}
        record |= {"domain": list(outside)} if outside else {}
        sky = _of_the_sky(noise, self.image.bands)
        record |= {"sky": sky} if sky else {}
        return record if noise.large is None else {**record, "large_objects": noise.large.record()}

    def run_record(self, noise: BackgroundMesh | None, outside: Sequence[str]) -> dict[str, Any]:
        """Record of a run in every product."""
        image, options = self.image, self.options
        parts = {"measuring": chosen(options.measuring), "deblending": chosen(options.deblending)}
        record = {**self.record, "version": __version__, "image": image.name, "bands": ",".join(image.bands)}
        record["options"] = {**plain_values(options, without=("none", "files")), **parts}
        if options.measuring.background is not None:
            record["background"] = options.measuring.background
        return {**record, **self.noise_record(noise, outside)}


def _of_the_sky(noise: BackgroundMesh, bands: Sequence[str]) -> list[str]:
    """Sentences on what the sky is like where a mesh does not do."""
    found = [step.told(bands) for step in noise.steps]
    for band, uneven in zip(bands, () if noise.uneven is None else np.moveaxis(noise.uneven, 2, 0), strict=False):
        if uneven.any():
            y, x = (
                int(at * n / parts)
                for at, n, parts in zip(np.argwhere(uneven)[0], noise.shape, uneven.shape, strict=True)
            )
            found.append(
                f"band {band}: the sky has structure that boxes of {BOX} px do not follow (fringes, glow, curvature, "
                f"huge galaxies), in {np.count_nonzero(uneven)} of {uneven.size} parts of the image, the first from "
                f"x = {x}, y = {y} px on: sources there have the flag outside_domain; subtract the sky, as by "
                "photutils' Background2D, first"
            )
    return found


def plan_run(image: ImageSource, model: Model, options: ClassifyOptions, *, workers: int | None = None) -> Plan:
    """Plan the class maps of an image, in the memory of the options.

    Parameters
    ----------
    image : ImageSource
        The image.
    model : Model
        The model.
    options : ClassifyOptions
        How it is applied.
    workers : int, optional
        Calls of the network at the same time; as many as there are cores if not given.

    Raises
    ------
    OptionError
        The memory is not enough, or the options do not go with the model.
    """
    image = named_bands(image, model.bands)
    memory = parse_memory(options.memory)
    left = memory - held_memory()
    inferer = make_inferer(model, options, workers=workers).within_memory(memory, image)
    missing = [kind for kind in options.planes or () if kind not in (*inferer.kinds, "segmentation")]
    if missing:
        raise OptionError(
            f"{model.name} gives no map planes {', '.join(missing)}; it has {', '.join(inferer.kinds)}, segmentation"
        )
    detection = {**model.settings.get("detection", {}), **options.detection}
    record = {**inferer.record, "engine": model.engine}
    record |= {"detection": detection} if detection else {}
    if CALIBRATION_KEY in model.settings:
        record[CALIBRATION_KEY] = SourceCalibration.from_dict(model.settings[CALIBRATION_KEY]).record()
    return Plan(image, model, options, inferer, left, record)


def chosen_model(model: str | Path, image: SkyImage | ImageSource) -> str | Path:
    """The model that was asked for, or the one that suits the image."""
    return choose_model(image.bands, image.pixel_scale) if model == AUTO else model


def named_bands(image: ImageSource, bands: tuple[str, ...]) -> ImageSource:
    """The image; bands without names get those of the model."""
    return image.select(bands) if bands and not image.has_band_names else image


def kinds_of(kinds: tuple[str, ...], noise: BackgroundMesh | None) -> tuple[str, ...]:
    """Planes of the maps of an image with this noise: where it has large objects, also which of them a pixel is of."""
    return kinds if noise is None or noise.large is None else (*kinds, "large_object")


@dataclass(frozen=True, eq=False)
class SourceOptions:
    """Options of `~morpheus_lite.pipeline.classify.make_catalog`.

    Parameters
    ----------
    method : {"probability", "paper"}
        How sources are found; deblending goes with it.
    detection : DetectionOptions, optional
        For ``"probability"``.
    deblending : DeblendingOptions, optional
        For ``"probability"``.
    measuring : MeasureOptions
        What to measure.
    band : str, optional
        Detection band, which gives positions and shapes; None adds up all bands, each over the noise of its sky, for
        ``"probability"``, and takes F160W, or the first band of an image without it, for ``"paper"``.

    Raises
    ------
    OptionError
        Unknown method.
    """

    method: str = "probability"
    detection: DetectionOptions | None = None
    deblending: DeblendingOptions | None = None
    measuring: MeasureOptions = field(default_factory=MeasureOptions)
    band: str | None = None

    def __post_init__(self) -> None:
        if self.method not in DEBLENDING_OF:
            raise OptionError(f"segmentation method {self.method!r}: choose one of {', '.join(DEBLENDING_OF)}")

    @property
    def background(self) -> str | float | None:
        """Background to subtract; None leaves the image as it is."""
        return self.measuring.background_of(by_votes=self.method == "paper")


def source_options(
    image: ImageSource, settings: Mapping[str, Any], kinds: Sequence[str], options: ClassifyOptions
) -> SourceOptions:
    """Resolve how the sources of an image are found and measured.

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
        An option is impossible, or does not go with the image or the model.
    """
    measuring = options.measuring
    measuring.check_image(image.name, image.bands, image.pixel_scale)
    band = options.detection_band
    if band is not None and canonical_band(band, image.bands) not in image.bands:
        raise InputError(f"{image.name} has no detection band {canonical_band(band)}: it has {', '.join(image.bands)}")
    method = options.segmentation or ("paper" if "vote" in kinds else "probability")
    calibration_of(settings, KIND_OF[method], measuring.class_prior)
    detection = DetectionOptions(**{**settings.get("detection", {}), **options.detection})
    return SourceOptions(method, detection, options.deblending, measuring, band)


def block_side_in(image: ImageReader, maps: MapStore, memory: int | None, workers: int = 1) -> int:
    """Side of the tiles that a memory budget allows, in pixels.

    Raises
    ------
    OptionError
        The budget is too small for the smallest tiles.
    """
    if memory is None:
        return BLOCK
    n_planes = sum(_PLANES_OF.get(kind, 1) for kind in maps.kinds)
    n_bytes = _BYTES_OF_BAND * image.read(Window(0, 0, 1, 1)).n_bands + 4 * n_planes + _BYTES_OF_PIXEL
    # A group reaches half a tile beyond its own, and the largest margin on all sides.
    side = int(((memory / max(workers, 1) / n_bytes) ** 0.5 - 2 * LARGEST_MARGIN) / 1.5)
    if side < _SMALLEST_TILE:
        least = n_bytes * max(workers, 1) * (1.5 * _SMALLEST_TILE + 2 * LARGEST_MARGIN) ** 2
        raise OptionError(
            f"a memory of {memory / 1e6:.0f} MB for labels and catalogue with {workers} worker(s): expected at least "
            f"{least / 1e6:.0f} MB; allow more, or take fewer workers"
        )
    return min(side, BLOCK)


_Options = TypeVar("_Options", bound=CatalogOptions)


def read_psf_files(options: _Options) -> _Options:
    """The same options, with FWHM and index for each PSF that is the name of a file.

    Raises
    ------
    InputError
        A file cannot be read, or is not an image of one star.
    """
    given = options.measuring.psf
    if given is None:
        return options
    read = {band: _read(one) for band, one in given.items()} if isinstance(given, Mapping) else _read(given)
    return replace(options, measuring=replace(options.measuring, psf=read))


def _read(given: str | float) -> str | float:
    try:
        MoffatPsf.parse(given, "pixel", 1.0)
        return given
    except OptionError:
        # What begins like a number is meant as one, unless there is a file of that name.
        if str(given)[:1] in "0123456789.-+" and not Path(str(given)).is_file():
            raise
    image = read_image(given)
    if image.n_bands != 1:
        raise InputError(f"{given}: expected the image of one star in one band, found {image.n_bands}")
    try:
        psf = psf_of_star(image.data[..., 0])
    except InputError as error:
        raise InputError(f"{given}: {error}") from error
    width = f"{psf.fwhm:.4g}px" if image.pixel_scale is None else f"{psf.fwhm * image.pixel_scale:.4g}arcsec"
    return f"{width},{psf.beta:.4g}"
