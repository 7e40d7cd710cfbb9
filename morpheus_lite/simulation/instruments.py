"""Telescopes and filters that the simulator can draw, and their diffraction patterns by Fourier transform."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import scipy.fft

_FACTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_TELESCOPES = {name: SimpleNamespace(**optics) for name, optics in _FACTS["telescopes"].items()}

FILTERS = {
    name: SimpleNamespace(**numbers | {"telescope": _TELESCOPES[numbers["telescope"]]})
    for name, numbers in _FACTS["filters"].items()
}
"""Every filter the simulator knows, by name: ``wavelength``, ``width``, ``telescope`` (``diameter``, ...) and the other
values that ``instruments.toml`` explains."""

ROLLS: dict[str, list[int]] = _FACTS["rolls"]
"""Over how many roll angles the images of a camera are averaged in each variant of its PSF."""


ARCSEC = 206264.8
"""Arcsec in a radian."""

_WAVELENGTHS = (-0.43, -0.29, -0.14, 0.0, 0.14, 0.29, 0.43)
"""Wavelengths at which a pattern is computed, in units of the width of the band from its middle: with three, the
spikes of a broad band break up into dots."""


def diffraction(
    band: SimpleNamespace, *, step: float, side: int, roll: float, wavefront: np.ndarray, smoothing: tuple[float, ...]
) -> np.ndarray:
    """Pattern of a point source through one filter, smoothed by pixels and a Gaussian.

    Parameters
    ----------
    band : SimpleNamespace
        One of `FILTERS`.
    step : float
        Arcsec between samples.
    side : int
        Samples along a side; the source is on sample ``side // 2``.
    roll : float
        Orientation of the struts in radians.
    wavefront : numpy.ndarray
        Noll coefficients (from the first on) of the aberrations, in waves at 0.6 micron.
    smoothing : tuple of float
        Sigma of a Gaussian, then the widths of any number of square pixels, in arcsec.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(side, side)``, sum about 1.
    """
    # The pattern holds no frequencies above diameter / wavelength (those of the shortest wavelength): two samples per
    # period are enough.
    longest_step = band.wavelength * (1 + _WAVELENGTHS[0] * band.width) * 1e-6 * ARCSEC / (2 * band.telescope.diameter)
    finer = int(np.ceil(step / longest_step))
    n = side * finer
    pattern = np.zeros((n, n), dtype=np.float32)
    for offset in _WAVELENGTHS:
        wavelength = band.wavelength * (1 + offset * band.width)
        # Step in the pupil for which the transform has the wanted step on the sky: it differs between wavelengths.
        metres = wavelength * 1e-6 * ARCSEC / (side * step)
        half = int(np.ceil(band.telescope.diameter / 2 / metres)) + 1
        x, y = np.meshgrid(*[np.arange(-half, half + 1, dtype=np.float32) * np.float32(metres)] * 2)
        open_area = pupil(band.telescope, x, y, roll)
        # The error is a length: in waves it is smaller at longer wavelengths.
        phase = 2 * np.pi * 0.6 / wavelength * aberration(wavefront, x, y, band.telescope.diameter)
        field = np.zeros((n, n), dtype=np.complex64)
        field[: 2 * half + 1, : 2 * half + 1] = open_area * np.exp(1j * phase)
        amplitude = scipy.fft.fft2(field, overwrite_x=True)
        power = amplitude.real**2 + amplitude.imag**2
        pattern += power / power.sum(dtype=np.float64).astype(np.float32) / len(_WAVELENGTHS)
    fy, fx = scipy.fft.fftfreq(n, step / finer), scipy.fft.rfftfreq(n, step / finer)
    response = smoothing_response(fy, smoothing)[:, None] * smoothing_response(fx, smoothing)[None, :]
    smooth = scipy.fft.irfft2(scipy.fft.rfft2(pattern) * response, s=(n, n))
    return scipy.fft.fftshift(smooth[::finer, ::finer]) * finer**2


def smoothing_response(frequency: np.ndarray, smoothing: tuple[float, ...]) -> np.ndarray:
    """Along one axis, what a Gaussian and square pixels leave of each frequency (cycles per arcsec)."""
    sigma, *pixels = smoothing
    response = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    for width in pixels:
        response = response * np.sinc(width * frequency)
    return response.astype(np.float32)


def aberration(wavefront: np.ndarray, x: np.ndarray, y: np.ndarray, diameter: float) -> np.ndarray:
    """Error of the wavefront over the pupil: the sum of Zernike terms 5 to 11 (Noll 1976), in their units."""
    u, v = x / (diameter / 2), y / (diameter / 2)
    square = u * u + v * v
    terms = {
        4: np.sqrt(6) * 2 * u * v,
        5: np.sqrt(6) * (u * u - v * v),
        6: np.sqrt(8) * (3 * square - 2) * v,
        7: np.sqrt(8) * (3 * square - 2) * u,
        8: np.sqrt(8) * (3 * u * u * v - v**3),
        9: np.sqrt(8) * (u**3 - 3 * u * v * v),
        10: np.sqrt(5) * (6 * square * square - 6 * square + 1),
    }
    return sum(np.float32(wavefront[index]) * term for index, term in terms.items())


def pupil(telescope: SimpleNamespace, x: np.ndarray, y: np.ndarray, roll: float) -> np.ndarray:
    """bool: which points (metres from the axis) of the pupil let light through."""
    turned_x, turned_y = x * np.cos(roll) + y * np.sin(roll), y * np.cos(roll) - x * np.sin(roll)
    if telescope.segmented:
        open_area = hexagons(telescope.diameter, turned_x, turned_y)
        struts = np.pi / 2 + np.array([0.0, 2.44, -2.44])
    else:
        radius = np.hypot(x, y) / (telescope.diameter / 2)
        open_area = (radius < 1) & (radius > telescope.obscuration)
        struts = 2 * np.pi * np.arange(telescope.struts) / telescope.struts
    for angle in struts:
        along = turned_x * np.cos(angle) + turned_y * np.sin(angle)
        across = turned_x * np.sin(angle) - turned_y * np.cos(angle)
        open_area &= ~((along > 0) & (np.abs(across) < telescope.strut * telescope.diameter / 2))
    return open_area


def hexagons(diameter: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool: eighteen hexagonal mirrors around the empty place of a nineteenth, ``diameter`` metres across."""
    flat = diameter / 5
    open_area = np.zeros(x.shape, dtype=bool)
    for i in range(-2, 3):
        for j in range(-2, 3):
            if (i, j) == (0, 0) or abs(i + j) > 2:
                continue
            u, v = x - flat * (i + j / 2), y - flat * j * np.sqrt(3) / 2
            sides = [np.abs(u * np.cos(a) + v * np.sin(a)) for a in (0, np.pi / 3, 2 * np.pi / 3)]
            # Gaps of 1.2 % between the mirrors.
            open_area |= np.max(sides, axis=0) < 0.988 * flat / 2
    return open_area
