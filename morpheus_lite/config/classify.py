"""Options of a run from image to products, checked when they are made."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from morpheus_lite.config.schema import CheckedOptions, documented, option
from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.windows import EDGES
from morpheus_lite.errors import OptionError
from morpheus_lite.runtime.resources import parse_memory

if TYPE_CHECKING:  # the commands' help needs the options, and no pixels
    from morpheus_lite.core.image import SkyImage
    from morpheus_lite.core.psf import MoffatPsf

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
        None, unset="those of the file", flag="band-names", length=(1, None), group="Image"
    )
    rms: Planes = option(None, unset="as in the file", metavar="[NAME=]FILE")
    weight: Planes = option(None, unset="as in the file", metavar="[NAME=]FILE")
    dq: Planes = option(None, unset="as in the file", metavar="[NAME=]FILE")
    dq_bits: str | int | tuple[str | int, ...] | None = option(None, unset="as header or camera say", metavar="BITS")
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
        Least source probability at the peak.
    threshold
        Least source probability of every pixel.
    min_area
        Smallest area of a source.
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
        Levels between noise and peak, logarithmic.
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
        Join pieces with a smaller share above the saddle.
    merge_contrast_structured
        The same, where pieces are disk or irregular.

        These are arms and clumps of one galaxy. In between, the limit rises from the one to the other with the
        probability; it falls again for a round piece with the square of its share of its neighbour's light.
    max_knot_area
        Largest knot of a disk or irregular galaxy.

        It is counted down to half of its height above the saddle. Knots are joined with their galaxy, however much they
        stand out. 12 is for a PSF of 2.5 to 3 px.
    max_knot_contrast
        Largest share of a knot's light above the saddle.
    min_knot_probability
        Least probability that a knot is disk or irregular.

        Both the knot and its neighbour have it at their peaks.
    max_spike_contrast
        Join spikes with less of a star's light than this.

        A spike is a piece of a point source that touches a brighter one.
    point_probability
        Probability of point_source that makes a piece a star.

        It is weighted with the light. A star is never joined with a galaxy.
    min_distance
        Least distance between peaks (paper only).

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


LARGEST_MARGIN = 256
"""Pixels around a source's bounding box beyond which nothing counts for its row."""

_SMALLEST_MARGIN = 24
_RADII = {"arcsec": (0.25, 0.5, 1.0), "pixel": (3.0, 5.0, 10.0)}


@documented
@dataclass(frozen=True)
class MeasureOptions(CheckedOptions):
    """Options of `~morpheus_lite.catalog.measure`.

    Parameters
    ----------
    photometry
        Kron, aperture and total fluxes and radii.
    structure
        Concentration, asymmetry, Gini, M20, Petrosian radius.

        Needs photometry.
    aperture_radii
        Radii of the apertures.

        Pixels are for images without a WCS.
    aperture_unit
        Unit of the apertures and the PSF.
    kron_scale
        Semi-axis of the Kron ellipse.

        See Kron (1980).
    kron_min_radius
        Least first moment of the ellipse.
    psf_fwhm
        FWHM of the PSF behind total fluxes.

        It is in the unit of the apertures (arcsec, or pixels without a WCS). Not given, each band takes its PSF, or
        what is usual for its filter; where none is known, all widths are tried.
    psf
        PSF of a band: FWHM and index, or an image.

        The FWHM is in the unit of the apertures, unless it ends in ``px`` or ``arcsec``; the file is an image of a
        star, on the pixels of the image unless it has a scale of its own. If it is wider than 3.5 px, one-pass models
        see the image binned.
    match_psf
        Add aperture fluxes on one PSF, the widest, for colours.

        The columns are ``matched_flux_<radius>_<band>``; NaN in bands whose PSF (FWHM and index) is neither given nor
        measured on stars. Without this they are there where the PSFs of several bands are given. Needs photometry.
    gain
        Electrons per data unit.

        The photon noise of the sources is added to the errors; RMS planes are taken to hold it.
    deblended_flux
        Add fluxes in which the pieces of a source share its pixels.

        The columns are ``shared_flux_<band>``. Needs photometry.
    background
        Subtract a mesh, nothing or a level.

        A mesh has boxes of 128 pixels; a level is in data units.
    local_background
        Subtract what is left of the sky around each source.
    saturation
        Data value from which pixels are saturated.
    min_class_confidence
        Least probability of the class that morphology names.

        Below it ``morphology`` is ``uncertain``; 0 always names the most probable class.
    class_prior
        Shares of the classes in the sky, or equal.

        For models with a calibration of sources, whose own shares ``meta['class_prior']`` states. A number for each of
        the four source classes; their sum does not matter.
    largest_side
        Longest source measured beyond its segment.

        Longer ones get NaN there, and the flag TOO_LARGE.
    outside_domain
        Set the flag OUTSIDE_DOMAIN of every source: whoever ran the model knows.

        It is set too where the provenance of the class maps says that the image lies outside (``domain``).

    Raises
    ------
    OptionError
        A value out of range.

    Examples
    --------
    >>> MeasureOptions(aperture_radii=(2, 4), aperture_unit="pixel").aperture_names(None)
    ('2px', '4px')
    """

    photometry: bool = True
    structure: bool = True
    aperture_radii: tuple[float, ...] | None = option(
        None, unset="0.25,0.5,1 arcsec, or 3,5,10 px", metavar="R,R,...", above=0, length=(1, None)
    )
    aperture_unit: str = option("arcsec", choices=("arcsec", "pixel"))
    kron_scale: float = option(2.5, above=0, unit="first moments", metavar="R")
    kron_min_radius: float = option(1.4, above=0, unit="source axes", metavar="R")
    psf_fwhm: float | None = option(None, unset="each band's own", above=0)
    psf: float | str | Mapping[str, float | str] | None = option(
        None, unset="its stars'", metavar="[NAME=]FWHM[,BETA]|FILE"
    )
    match_psf: bool = False
    gain: float | Mapping[str, float] | None = option(
        None, unset="the header's, unless there is an RMS", metavar="[NAME=]E", above=0
    )
    deblended_flux: bool = False
    background: str | float | None = option(
        None, unset="mesh; none for hausen2020", metavar="mesh|none|LEVEL", choices=("mesh", "none")
    )
    local_background: bool = False
    saturation: float | None = option(None, unset="SATURATE")
    min_class_confidence: float = option(0.5, low=0, high=1, metavar="P")
    class_prior: str | Mapping[str, float] | None = option(None, unset="the model's", metavar="CLASS=P,...|equal")
    largest_side: int = option(1024, low=1, unit="pixels")
    outside_domain: bool = option(False, flag="")

    def __post_init__(self) -> None:
        for name in ("gain", "psf"):
            if isinstance(given := getattr(self, name), Mapping):
                from morpheus_lite.core.image import canonical_band

                object.__setattr__(self, name, {canonical_band(str(band)): one for band, one in given.items()})
        super().__post_init__()
        if self.deblended_flux and not self.photometry:
            raise OptionError("deblended_flux: the fluxes need photometry=True")
        if self.class_prior is not None:
            from morpheus_lite.core.source_calibration import shares_of_prior

            shares_of_prior(self.class_prior)

    @classmethod
    def paper(cls) -> "MeasureOptions":
        """Options for the columns that need only the segments: those of Hausen & Robertson (2020), and fluxes."""
        return cls(photometry=False, structure=False)

    @property
    def matched(self) -> bool:
        """True if there are aperture fluxes on one PSF."""
        given = len(self.psf) if isinstance(self.psf, Mapping) else 0
        return self.photometry and (self.match_psf or given > 1)

    def background_of(self, *, by_votes: bool) -> str | float | None:
        """Choose what is subtracted, by whether rank votes find the sources; None leaves the image as it is."""
        return self.background if self.background is not None or by_votes else "mesh"

    def check_image(self, name: str, bands: Sequence[str], pixel_scale: float | None) -> None:
        """Refuse an image that the options do not fit, before any of its pixels is read.

        Raises
        ------
        OptionError
            As `aperture_radii_in_pixels`, or a gain of a band that the image does not have.
        """
        self.aperture_radii_in_pixels(pixel_scale)
        self.given_psfs(bands, pixel_scale)
        for what, given in (("gain", self.gain), ("psf", self.psf)):
            strange = sorted(set(given) - set(bands)) if isinstance(given, Mapping) else []
            if strange:
                raise OptionError(f"{what} of {', '.join(strange)}: {name} has the bands {', '.join(bands)}")

    def aperture_radii_in_pixels(self, pixel_scale: float | None) -> tuple[float, ...]:
        """Radii of the circular apertures in pixels.

        Raises
        ------
        OptionError
            Radii in arcseconds for an image whose pixel scale is not known, or radii beyond `LARGEST_MARGIN`.
        """
        unit, radii = self._apertures(pixel_scale)
        if unit == "arcsec" and pixel_scale is None:
            raise OptionError(
                f"aperture radii {self.aperture_radii} in arcsec: the image has no WCS; give them with "
                "aperture_unit='pixel'"
            )
        pixels = tuple(radius / pixel_scale if unit == "arcsec" and pixel_scale else radius for radius in radii)
        if pixels and max(pixels) > LARGEST_MARGIN - 2:
            raise OptionError(f"aperture radius of {max(pixels):.0f} pixels: expected at most {LARGEST_MARGIN - 2}")
        return pixels

    def psf_fwhm_in_pixels(self, pixel_scale: float | None) -> float | None:
        """FWHM of the PSF in pixels; None if unknown."""
        if self.psf_fwhm is None:
            return None
        in_arcsec = self.aperture_unit == "arcsec" and pixel_scale is not None
        return self.psf_fwhm / pixel_scale if in_arcsec and pixel_scale else self.psf_fwhm

    def given_psfs(self, bands: Sequence[str], pixel_scale: float | None) -> "tuple[MoffatPsf | None, ...]":
        """PSF of each band, in pixels; None where none is given.

        Raises
        ------
        OptionError
            A PSF cannot be read, or is in arcsec for an image without a pixel scale.
        """
        from morpheus_lite.core.psf import MoffatPsf

        texts = [self.psf.get(band) if isinstance(self.psf, Mapping) else self.psf for band in bands]
        return tuple(None if text is None else MoffatPsf.parse(text, self.aperture_unit, pixel_scale) for text in texts)

    def aperture_names(self, pixel_scale: float | None) -> tuple[str, ...]:
        """Names of the apertures in column names: ``0p5`` is 0.5 arcsec, ``3px`` is 3 pixels."""
        unit, radii = self._apertures(pixel_scale)
        suffix = "px" if unit == "pixel" else ""
        return tuple(f"{radius:g}".replace(".", "p") + suffix for radius in radii)

    def _apertures(self, pixel_scale: float | None) -> tuple[str, tuple[float, ...]]:
        if self.aperture_radii is not None:
            return self.aperture_unit, self.aperture_radii
        unit = "pixel" if pixel_scale is None else self.aperture_unit
        return unit, _RADII[unit]

    def margins(self, heights: np.ndarray, widths: np.ndarray, pixel_scale: float | None) -> np.ndarray:
        """Pixels around bounding boxes of these sizes that count for a source's row: int64, shape ``(source,)``.

        As wide as the box is long, at least wide enough for the apertures, and never above `LARGEST_MARGIN`: a piece
        of a mosaic that holds the box and this margin gives the row that the whole mosaic gives.
        """
        radii = self.aperture_radii_in_pixels(pixel_scale)
        least = max([_SMALLEST_MARGIN, *(math.ceil(radius) + 2 for radius in radii)])
        return np.clip(np.maximum(heights, widths), least, LARGEST_MARGIN).astype(np.int64)

    def saturation_levels(self, image: "SkyImage") -> list[float | None]:
        """Data value of each band from which a pixel is saturated, None where nothing says."""
        if self.saturation is not None:
            return [self.saturation] * image.n_bands
        headers = (image.meta.get("bands", {}).get(band, {}).get("header", {}) for band in image.bands)
        return [_positive(header.get("SATURATE")) for header in headers]


def _positive(level: object) -> float | None:
    usable = isinstance(level, int | float) and not isinstance(level, bool) and math.isfinite(level) and level > 0
    return float(level) if usable else None  # type: ignore[arg-type]


AUTO = "auto"
"""The shipped model that suits the bands and the pixel scale of the image."""
PRODUCTS = ("maps", "catalog", "picture", "stamps", "regions", "report")
CATALOG_FORMATS = ("ecsv", "fits", "parquet", "csv", "vot")
DEBLENDING_OF = {"paper": "paper", "probability": "multithreshold"}
"""Which method of `deblend` goes with each method of `segment`."""
PLANES = tuple(FACTS["maps"])
"""Kinds of planes of the class maps."""
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
    columns: str = option("photutils", choices=("photutils", "sextractor"), group="Products")
    overwrite: bool = option(False, effect="none")


@documented
@dataclass(frozen=True)
class ClassifyOptions(CatalogOptions):
    """Options of `classify_file`.

    Parameters
    ----------
    model
        Shipped model or directory; auto: chosen by the bands.
    stride
        Step between windows of hausen2020.
    edges
        hausen2020: classify the border, or leave it out.
    batch_size
        Windows of hausen2020 per call.
    uncertainty
        Average over 8 orientations (8 times the work), with their scatter.

        For models that see the image in one pass. The planes ENTROPY and TTA_DISAGREEMENT come with it: see
        `morpheus_lite.inference.one_pass`.
    domain_check
        Compare the image with the training images.
    device
        Where the network runs: auto, cpu, gpu or gpu:N.
    engine
        What runs the network.

        auto: OpenVINO on a CPU.
    precision
        Number format in which hst and any calculate.
    memory
        Memory that the run may take; it changes no result.
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

    model: str = option(AUTO, length=(1, None), metavar="NAME", group="Network")
    stride: int | None = option(None, unset="the model's", low=1, unit="pixels")
    edges: str = option("classify", choices=EDGES)
    batch_size: int | None = option(None, unset="the model's", low=1, metavar="N")
    uncertainty: bool = False
    domain_check: bool = True
    device: str = option("auto", length=(1, None), metavar="NAME", effect="none")
    engine: str = option("auto", choices=ENGINES, effect="none")
    precision: str = option("float32", choices=PRECISIONS)
    memory: str | int = option("2GB", metavar="SIZE", effect="none")
    segmentation: str | None = option(
        None, unset="probability; paper for hausen2020", choices=tuple(DEBLENDING_OF), group="Detection"
    )
    detection: Mapping[str, int | float] = option(dict, part_of=DetectionOptions)
    deblending: DeblendingOptions = option(DeblendingOptions, prefix="deblend-", group="Deblending")
    products: tuple[str, ...] = option(
        PRODUCTS[:3], choices=PRODUCTS, length=(1, None), effect="files", group="Products"
    )
    catalog_format: str = option("ecsv", choices=CATALOG_FORMATS)
    planes: tuple[str, ...] | None = option(None, unset="all", choices=PLANES, length=(1, None), effect="files")
    compress: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_memory(self.memory)

    @property
    def needs_sources(self) -> bool:
        """True if any product needs sources: all but maps without their segmentation plane do."""
        return self.measures_sources or self.planes is None or "segmentation" in self.planes

    @property
    def measures_sources(self) -> bool:
        """True if any product needs more of them than their pixels."""
        return self.products != ("maps",)


SURVEY_OPTIONS = ClassifyOptions(products=("maps", "catalog"))
"""What a survey does where nothing else is said."""

NOT_IN_SURVEYS = ("overwrite", "catalog_format", "columns")
"""Options that mean nothing for a tile: its catalogue is Parquet, and merged."""
