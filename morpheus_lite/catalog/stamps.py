"""Everything that is measured on the stamp of one source: in one call of the compiled loops, else by NumPy."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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


def stamp_measurer(
    detection: CorrelatedNoise,
    bands: Sequence[BandNoise],
    radii: Sequence[float],
    psfs: Sequence[MoffatPsf],
    options: MeasureOptions,
    *,
    from_space: bool,
) -> Callable[[Stamp], Measured]:
    """The function that measures a stamp.

    Parameters
    ----------
    detection, bands, radii, options
        As `~morpheus_lite.catalog.photometry.measure_photometry` takes them.
    psfs, from_space
        As `~morpheus_lite.catalog.total_flux.correct_to_total` takes them.

    Returns
    -------
    callable
        From a stamp to what `measure_photometry`, `correct_to_total` and, if the options want it,
        `~morpheus_lite.catalog.nonparametric.measure_structure` tell of it. What cannot be told is missing, or NaN.
    """
    if kernels.compiled is not None and len(bands) <= _MOST_BANDS:
        return _Loops(detection, bands, radii, psfs, options, from_space)
    return partial(_measure, detection, bands, radii, psfs, options, from_space)


def _measure(
    detection: CorrelatedNoise,
    bands: Sequence[BandNoise],
    radii: Sequence[float],
    psfs: Sequence[MoffatPsf],
    options: MeasureOptions,
    from_space: bool,
    stamp: Stamp,
) -> Measured:
    central = central_curve(stamp) if options.structure else None
    light = measure_photometry(stamp, detection, bands, radii, options, central=central)
    kron = options.kron_scale * light["kron_radius"]
    light |= correct_to_total(stamp, light, kron, detection, psfs, from_space=from_space)
    return light if central is None else light | measure_structure(stamp, central, light["snr"], detection)


class _Loops:
    """`_measure` in one call: holds what is the same for all stamps as the compiled loops take it."""

    def __init__(
        self,
        detection: CorrelatedNoise,
        bands: Sequence[BandNoise],
        radii: Sequence[float],
        psfs: Sequence[MoffatPsf],
        options: MeasureOptions,
        from_space: bool,
    ) -> None:
        self._options, n_bands = options, len(bands)
        # Widths of PSFs that are not known are in units of the size of the source.
        assumed, by_size = assumed_psfs(psfs, 1.0, from_space), not all(np.isfinite(psf.fwhm) for psf in psfs)
        grid, n_fitted = total_flux._GRID, len(assumed[0][1])
        self._tables = [profiles_behind(*shape) for _, of_bands in assumed for shape, _ in of_bands]
        given: list[Any] = [
            noise := _noise_table([*((band.sky, band.gain) for band in bands), (detection, None)]),
            radii,
            nonparametric._SHARES,
            total_flux._PARTS,
            total_flux._BEYOND,
            [width for _, of_bands in assumed for _, width in of_bands],
            [prior for prior, _ in assumed],
            grid.radii,
            grid.log_prior,
        ]
        self._given = [np.ascontiguousarray(one, dtype=np.float64) for one in given]
        self._given.append(np.array([table.ctypes.data for table in self._tables], dtype=np.uintp))
        self._addresses = np.array([one.ctypes.data for one in self._given], dtype=np.uintp)
        # In the order of `Settings` in _kernels.c.
        self._settings = np.array(
            [
                *(options.kron_scale, options.kron_min_radius, photometry._REACH, photometry._LARGEST_MOMENT),
                *(photometry._NOTHING, photometry._HALF_LIGHT, photometry._WINDOW_REACH, photometry._NARROWEST),
                *(curve_of_growth._STEP, curve_of_growth._HALF, curve_of_growth._N_EXACT, options.structure),
                *(nonparametric._EXTENT, nonparametric._SMOOTHING, nonparametric._SMALLEST_REACH),
                *(nonparametric._STEEPNESS, nonparametric._MOST_DOUBT, nonparametric._CENTRING, nonparametric._RINGS),
                *(LEAST_SNR[name] for name in ("concentration", "asymmetry", "gini", "m20")),
                *(total_flux._INNERMOST, total_flux._REACH, total_flux._RING_FLOOR, total_flux._SMALL_FWHM),
                *(total_flux.PIXEL_FWHM, total_flux._DOUBT, total_flux._FLOOR),
                *(len(total_flux._PARTS), len(total_flux._BEYOND), len(assumed), n_fitted, by_size),
                *(len(grid.radii), grid.n_sizes, *grid.log_prior.shape, grid.smallest, grid.tried, grid.step),
                *(len(radii), len(nonparametric._SHARES), noise.shape[1], options.local_background),
            ],
            dtype=np.float64,
        )
        self._shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_NUMBERS, ()) | dict.fromkeys(_PAIRS, (2,))
        self._shapes |= {name: (2 + len(radii), n_bands) for name in ("flux", "fluxerr", "covered")}
        self._shapes |= {"light_covered": (n_bands + 1,), "wings_error": (n_bands,), "corrections": (n_bands, 2)}
        self._shapes |= dict.fromkeys(("growth_radii", "growth"), (N_RADII,))
        self._ends = np.cumsum([np.prod(shape, dtype=int) for shape in self._shapes.values()]).tolist()

    def __call__(self, stamp: Stamp) -> Measured:
        options, one, shape = self._options, stamp.ellipse, stamp.light.shape
        background = np.zeros(shape[2] + 1)
        if options.local_background:
            background = local_background(stamp, options.kron_scale * kron_radius(stamp, options.kron_min_radius))
        found = np.empty(self._ends[-1])
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
        starts = [0, *self._ends]
        values = {
            name: found[start:end].reshape(of) if of else found[start]
            for (name, of), start, end in zip(self._shapes.items(), starts, self._ends, strict=False)
        }
        return values | {"background": background}


def _noise_table(noises: Sequence[tuple[CorrelatedNoise, float | None]]) -> np.ndarray:
    """Noise of sums as `noise_factor` in _kernels.c reads it, with the gain: a row each."""
    table = np.zeros((len(noises), 3 + 2 * max(len(noise.sides) for noise, _ in noises)))
    for row, (noise, gain) in zip(table, noises, strict=True):
        n = len(noise.sides)
        row[:3] = n, noise.slope, 1 / gain if gain else 0.0
        row[3 : 3 + 2 * n] = np.log([*noise.sides, *noise.factors])
    return table
