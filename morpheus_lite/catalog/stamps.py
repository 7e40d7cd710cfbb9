"""Everything that is measured on the stamp of one source: in one call of the compiled loops, else by NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from morpheus_lite.catalog import curve_of_growth, kernels, nonparametric, photometry, total_flux
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.nonparametric import LEAST_SNR, STRUCTURE, central_curve, measure_structure
from morpheus_lite.catalog.photometry import BandNoise, Measured, kron_radius, local_background, measure_photometry
from morpheus_lite.catalog.total_flux import N_RADII, assumed_psfs, correct_to_total, profiles_behind
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.noise.correlated import CorrelatedNoise

_MOST_BANDS = 64
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
    detection, bands, radii, options
        As `~morpheus_lite.catalog.photometry.measure_photometry` takes them.
    psfs, from_space
        As `~morpheus_lite.catalog.total_flux.correct_to_total` takes them.
    """

    detection: CorrelatedNoise
    bands: Sequence[BandNoise]
    radii: Sequence[float]
    options: MeasureOptions
    psfs: Sequence[MoffatPsf]
    from_space: bool

    def __call__(self, stamp: Stamp) -> Measured:
        """Measure one as `measure_photometry`, `correct_to_total` and, if the options want it, `measure_structure` do.

        What cannot be told is missing, or NaN.
        """
        if kernels.compiled is None or len(self.bands) > _MOST_BANDS:
            return self._plain(stamp)
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

    def _plain(self, stamp: Stamp) -> Measured:
        options, noise = self.options, self.detection
        central = central_curve(stamp) if options.structure else None
        light = measure_photometry(stamp, noise, self.bands, self.radii, options, central=central)
        kron = options.kron_scale * light["kron_radius"]
        light |= correct_to_total(stamp, light, kron, noise, self.psfs, from_space=self.from_space)
        return light if central is None else light | measure_structure(stamp, central, light["snr"], noise)

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
            *(_noise_table(noises), self.radii, nonparametric._SHARES, total_flux._PARTS, total_flux._BEYOND),
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
            *(photometry._NOTHING, photometry._HALF_LIGHT, photometry._WINDOW_REACH, photometry._NARROWEST),
            *(curve_of_growth._STEP, curve_of_growth._HALF, curve_of_growth._N_EXACT, options.structure),
            *(nonparametric._EXTENT, nonparametric._SMOOTHING, nonparametric._SMALLEST_REACH),
            *(nonparametric._STEEPNESS, nonparametric._MOST_DOUBT, nonparametric._CENTRING, nonparametric._RINGS),
            *(LEAST_SNR[name] for name in ("concentration", "asymmetry", "gini", "m20")),
            *(total_flux._INNERMOST, total_flux._REACH, total_flux._RING_FLOOR, total_flux._SMALL_FWHM),
            *(total_flux.PIXEL_FWHM, total_flux.doubt_of_correction(self.psfs, self.from_space), total_flux._FLOOR),
            *(len(total_flux._PARTS), len(total_flux._BEYOND), len(self._assumed), len(self._assumed[0][1]), by_size),
            *(len(grid.radii), grid.n_sizes, *grid.log_prior.shape, grid.smallest, grid.tried, grid.step),
            *(len(self.radii), len(nonparametric._SHARES), self._given[0].shape[1], options.local_background),
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
