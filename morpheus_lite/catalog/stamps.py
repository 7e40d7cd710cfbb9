"""Everything that is measured on the stamp of one source, in one call of the compiled loops."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from morpheus_lite.catalog import curve_of_growth, kernels, photometry, total_flux
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.photometry import BandNoise, Measured, kron_radius, local_background
from morpheus_lite.catalog.total_flux import N_RADII, assumed_psfs, profiles_behind
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.noise.correlated import CorrelatedNoise

LEAST_SNR = {"concentration": 20.0, "asymmetry": 20.0, "gini": 30.0, "m20": 50.0}
"""Signal-to-noise ratio of the segment below which a quantity is that of the noise more than of the source.

Above, the pulls against values without noise are off by at most half of their width, and 0.8 to 1.6 wide, those of M20
up to 2.2 (`python tests/benchmarks/structure.py --seed 3`).
"""

STRUCTURE = tuple(f"{name}{kind}" for name in ("r_petrosian", *LEAST_SNR) for kind in ("", "_err"))
"""Names of what is told of the structure, and of the errors."""

# Half of a Gaussian's light lies within 1.1774 sigma.
_HALF_LIGHT = 1.1774
# Sigma: the window has fallen to 3e-4 there.
_WINDOW_REACH = 4.0
_NARROWEST = 1.0
_EXTENT = 1.5
# Of the Petrosian radius, as Lotz et al. (2004) have it.
_SMOOTHING = 0.2
_SMALLEST_REACH = 4.0
_STEEPNESS = 3.0
"""Fall of the logarithm of the brightness with that of the radius, at the Petrosian radius of an exponential disk."""
_MOST_DOUBT = 1.0
_CENTRING = 0.01
"""Error of an asymmetry from the steps of the search for its centre."""
_RINGS = 12
"""Rings that the light profile is measured in, to tell where noise adds to the differences of a source."""
_SHARES = np.append(0.0, np.geomspace(0.003, 3, 16))

_NUMBERS = (
    *("kron_radius", "kron_hidden", "half_light_radius", "half_light_radius_err", "snr"),
    *("total_correction", "total_correction_err", *STRUCTURE),
)
_PAIRS = "centroid_err", "centroid_win", "centroid_win_err"


@dataclass(frozen=True, eq=False)
class StampMeasurer:
    """Measure stamps: what holds for all of them.

    Parameters
    ----------
    detection : CorrelatedNoise
        Noise of the detection image, whose light gives the Kron ellipse, the half-light radius and the structure.
    bands : sequence of BandNoise
        Of each band.
    radii : sequence of float
        Radii of the circles in pixels.
    options : MeasureOptions
        Kron parameters, local background, structure.
    psfs : sequence of MoffatPsf
        PSF of each band. If the width of one is not known, widths up to that of the source are tried for all alike.
    from_space : bool
        Whether the PSFs are diffraction patterns, with the wings of such.

    Notes
    -----
    The windowed centroid lies where ``sum(w f (x - x0)) = 0`` under a Gaussian window with the half-light radius of the
    source, as SExtractor's XWIN_IMAGE; its error is ``2 sqrt(sum(w^2 var (x - x0)^2)) / sum(w f)`` times the factor of
    correlated noise for the window's area.

    For the total light, that in ten elliptical rings, out to 1.5 Kron ellipses or as far as they are whole, is compared
    with Sersic profiles (n 0.5 to 5.6, sizes 0.12 to 2.5 times the half-light radius that is seen) behind the PSF of
    the detection image: that of the bands, each by its share in the light. PSFs are Gaussian and Moffat, Moffat of the
    index that is known, or those of a space telescope. The factor of a band is one over the mean share inside of the
    Kron ellipse behind its own PSF, each profile weighing by its likelihood; its error holds the spread of the shares,
    a share of the correction, and a floor for the pixels that the ellipse cuts.

    Definitions of the structure are those of Lotz, Primack & Madau (2004) and Conselice (2003) as statmorph
    (Rodriguez-Gomez et al. 2019) has them: Gini and M20 over the pixels brighter, after smoothing with 0.2 elliptical
    Petrosian radii, than the light at that radius; asymmetry about the centre that makes it smallest. Its noise term is
    the mean absolute difference of two pixels of noise, from the noise planes rather than from a patch of sky, so that
    it needs nothing far away; pixels of neighbours, which hold their opposites, have none. Where a source differs from
    itself, noise adds less than that, by how much depends on where it does: the asymmetry is the mean of both extremes,
    and its error holds half of their difference.
    """

    detection: CorrelatedNoise
    bands: Sequence[BandNoise]
    radii: Sequence[float]
    options: MeasureOptions
    psfs: Sequence[MoffatPsf]
    from_space: bool

    def __call__(self, stamp: Stamp) -> Measured:
        """Measure one.

        Returns
        -------
        dict
            In the names of the catalogue where it has one; NaN where it cannot be told:

            - ``flux, fluxerr, covered``: float64, shape ``(aperture, band)``: segment, Kron ellipse, then the circles;
              in data units, of what is covered, NaN where nothing is; and the share of the pixels that has data.
            - ``light_covered``: float64, shape ``(band + 1,)``: share of the light in the Kron ellipse, as the
              detection image has it, that lies on pixels with data in each band, and in any; where the light is not
              positive, the share of the pixels.
            - ``kron_radius``, and ``kron_hidden``: share of the Kron ellipse on pixels of other sources.
            - ``half_light_radius, half_light_radius_err``: in pixels, of the detection image.
            - ``snr``: light of the segment over its noise, in the detection image.
            - ``centroid_err``: float64, shape ``(2,)``: noise of the centre of the ellipse along x and y, in pixels.
            - ``centroid_win, centroid_win_err``: the same of the windowed centroid, in pixels of the stamp; NaN where
              the window does not settle within a half-light radius of where it began.
            - ``background``: float64, shape ``(band + 1,)``: sky that was subtracted per pixel, in each band and in the
              detection image.
            - ``wings_error``: float64, shape ``(band,)``: error of the light of neighbours that was subtracted in the
              Kron ellipse.
            - ``total_correction, total_correction_err``: total light over that in the Kron ellipse, of the detection
              image; ``corrections``: the same in each band, float64, shape ``(band, 2)``.
            - ``growth_radii, growth``: float64, shape ``(N_RADII,)``: circles of the area of the ellipses, in pixels,
              and the share of all of the light within, in the detection image, of the mean of all profiles that fit.
            - ``r_petrosian``: circular Petrosian radius in pixels, where the brightness is 0.2 of the mean within;
              ``concentration``: ``5 log10(r80 / r20)`` of the light within 1.5 Petrosian radii; ``asymmetry``:
              difference from the source turned by 180 degrees, within 1.5 Petrosian radii, less what the noise gives;
              ``gini``: inequality of the pixels' light, 0 if all are alike, 1 if one has all; ``m20``: log10 of the
              second moment of the brightest pixels with 20 % of the light, relative to that of all; and ``..._err``,
              what the noise makes of them, to first order. NaN below the `LEAST_SNR` of each.
        """
        options, one, shape = self.options, stamp.ellipse, stamp.light.shape
        background = np.zeros(shape[2] + 1)
        if options.local_background:
            background = local_background(stamp, options.kron_scale * kron_radius(stamp, options.kron_min_radius))
        found = np.empty(self._parts[-1][2])
        planes = stamp.covered, stamp.usable, stamp.detection, stamp.detection_variance
        done = kernels.call_kernel(
            "measure_stamp",
            *(self._settings, self._addresses, *shape, stamp.light),
            *(*kernels.with_step(stamp.variance), *kernels.with_step(stamp.weights)),
            *map(np.ascontiguousarray, (*planes, stamp.source_mask, stamp.neighbor_mask)),
            *(stamp.wings, stamp.wings_error, np.array([one.y, one.x, one.a, one.b, one.theta]), background, found),
        )
        if not done:
            raise MemoryError(f"no memory to measure a source in {shape[0]} x {shape[1]} px")
        values = {name: found[first:end].reshape(of) if of else found[first] for name, first, end, of in self._parts}
        return values | {"background": background}

    @cached_property
    def _parts(self) -> list[tuple[str, int, int, tuple[int, ...]]]:
        """Quantities in what `measure_stamp` of _kernels.c finds: name, first and last number, and shape."""
        n_bands = len(self.bands)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_NUMBERS, ()) | dict.fromkeys(_PAIRS, (2,))
        shapes |= dict.fromkeys(("flux", "fluxerr", "covered"), (2 + len(self.radii), n_bands))
        shapes |= {"light_covered": (n_bands + 1,), "wings_error": (n_bands,), "corrections": (n_bands, 2)}
        shapes |= dict.fromkeys(("growth_radii", "growth"), (N_RADII,))
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        ends = np.cumsum(sizes).tolist()
        return [(name, end - size, end, of) for (name, of), size, end in zip(shapes.items(), sizes, ends, strict=True)]

    @cached_property
    def _assumed(self) -> list:
        # Widths of PSFs that are not known are in units of the size of the source.
        return assumed_psfs(self.psfs, 1.0, self.from_space)

    @cached_property
    def _given(self) -> list[np.ndarray]:
        """Arrays in the order of `Given` in _kernels.c."""
        bands = [profile for _, of_bands in self._assumed for profile in of_bands]
        tables = np.array([profiles_behind(*shape).ctypes.data for shape, _ in bands], dtype=np.uintp)
        noises = [*((band.sky, band.gain) for band in self.bands), (self.detection, None)]
        numbers = (
            *(_noise_table(noises), self.radii, _SHARES, total_flux._PARTS, total_flux._BEYOND),
            *([width for _, width in bands], [prior for prior, _ in self._assumed]),
            *(total_flux._GRID.radii, total_flux._GRID.log_prior),
        )
        return [*(np.ascontiguousarray(one, dtype=np.float64) for one in numbers), tables]

    @cached_property
    def _addresses(self) -> np.ndarray:
        return np.array([one.ctypes.data for one in self._given], dtype=np.uintp)

    @cached_property
    def _settings(self) -> np.ndarray:
        """Numbers in the order of `Settings` in _kernels.c."""
        options, grid = self.options, total_flux._GRID
        by_size = not all(np.isfinite(psf.fwhm) for psf in self.psfs)
        numbers = (
            *(options.kron_scale, options.kron_min_radius, photometry._REACH, photometry._LARGEST_MOMENT),
            *(photometry._NOTHING, _HALF_LIGHT, _WINDOW_REACH, _NARROWEST),
            *(curve_of_growth._STEP, curve_of_growth._HALF, curve_of_growth._N_EXACT, options.structure),
            *(_EXTENT, _SMOOTHING, _SMALLEST_REACH, _STEEPNESS, _MOST_DOUBT, _CENTRING, _RINGS),
            *(LEAST_SNR[name] for name in ("concentration", "asymmetry", "gini", "m20")),
            *(total_flux._INNERMOST, total_flux._REACH, total_flux._RING_FLOOR, total_flux._SMALL_FWHM),
            *(total_flux.PIXEL_FWHM, total_flux.doubt_of_correction(self.psfs, self.from_space), total_flux._FLOOR),
            *(len(total_flux._PARTS), len(total_flux._BEYOND), len(self._assumed), len(self._assumed[0][1]), by_size),
            *(len(grid.radii), grid.n_sizes, *grid.log_prior.shape, grid.smallest, grid.tried, grid.step),
            *(len(self.radii), len(_SHARES), self._given[0].shape[1], options.local_background),
        )
        return np.array(numbers, dtype=np.float64)


def _noise_table(noises: Sequence[tuple[CorrelatedNoise, float | None]]) -> np.ndarray:
    """Noise of sums as `noise_factor` in _kernels.c reads it, with the gain: a row each."""
    table = np.zeros((len(noises), 3 + 2 * max(len(noise.sides) for noise, _ in noises)))
    for row, (noise, gain) in zip(table, noises, strict=True):
        n = len(noise.sides)
        row[:3] = n, noise.slope, 1 / gain if gain else 0.0
        row[3 : 3 + 2 * n] = np.log([*noise.sides, *noise.factors])
    return table
