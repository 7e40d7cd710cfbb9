"""A field of nine stars whose places and fluxes are known, and what the files of cameras are made of."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.io import read_image
from morpheus_lite.models.registry import choose_model, load_model
from morpheus_lite.pipeline.classify import classify_file

SIZE = 120
"""Side of the field in pixels."""
SIGMA = 1.3
"""Of the stars, which are Gaussian, in pixels."""
X = np.tile([20.3, 60.3, 100.3], 3)
Y = np.repeat([19.8, 59.8, 99.8], 3)
FLUX = 600.0 * 1.5 ** np.arange(9)
"""Of each star, in data units; the noise of a pixel is 1."""


def stars(scale: float = 1.0) -> np.ndarray:
    """The stars without noise, shape ``(120, 120)``."""
    y, x = np.mgrid[:SIZE, :SIZE]
    peaks = FLUX / (2 * np.pi * SIGMA**2)
    square = (x - X[:, None, None]) ** 2 + (y - Y[:, None, None]) ** 2
    return scale * np.sum(peaks[:, None, None] * np.exp(-square / (2 * SIGMA**2)), axis=0)


def noise(seed: int = 1) -> np.ndarray:
    """Noise of 1 per pixel."""
    return np.random.default_rng(seed).normal(size=(SIZE, SIZE))


def field(scale: float = 1.0, seed: int = 1) -> np.ndarray:
    """Stars and noise."""
    return stars(scale) + noise(seed)


def header(scale: float = 0.06, **cards: Any) -> fits.Header:
    """A header with a celestial WCS, north up, of a pixel scale in arcseconds, and further cards."""
    made = fits.Header()
    made.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=53.1, CRVAL2=-27.8, CRPIX1=60.0, CRPIX2=60.0)
    made.update(CD1_1=-scale / 3600, CD1_2=0.0, CD2_1=0.0, CD2_2=scale / 3600)
    made.update(cards)
    return made


def image(data: np.ndarray, cards: fits.Header | None = None, name: str | None = None) -> fits.ImageHDU:
    """An HDU of float32."""
    return fits.ImageHDU(np.asarray(data, np.float32), cards, name=name)


def plane(value: Any, name: str, cards: fits.Header | None = None) -> fits.ImageHDU:
    """An HDU of one value, or of an array of any type, kept as it is."""
    data = np.asarray(value)
    return fits.ImageHDU(data if data.ndim else np.full((SIZE, SIZE), data), cards, name=name)


def write(path: Path, *hdus: Any, primary: dict[str, Any] | None = None) -> Path:
    """A file of these HDUs behind an empty primary one, which has cards at most."""
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(primary or {})), *hdus]).writeto(path)
    return path


@cache
def _loaded(name: str) -> Any:
    return load_model(name)


def classify_case(
    source: Any, *, reading: dict[str, Any] | None = None, **options: Any
) -> tuple[QTable, SimpleNamespace]:
    """Run `classify_file` with the model that is taken by itself.

    Parameters
    ----------
    source
        What `classify_file` takes.
    reading : dict, optional
        Keyword arguments of `read_image`.
    **options
        Fields of `ClassifyOptions`.

    Returns
    -------
    table : QTable
        The catalogue.
    info : SimpleNamespace
        ``image``, the `SkyImage`, and ``products``, what `classify_file` returned.
    """
    read = read_image(source, **(reading or {}))
    model = _loaded(str(choose_model(read.bands, read.pixel_scale)))
    with TemporaryDirectory() as folder:
        chosen = ClassifyOptions(**{"products": ("catalog",), **options})
        products = classify_file(source, folder, chosen, read_options=reading, model=model)
    assert products.table is not None
    return products.table, SimpleNamespace(image=read, products=products)


def star_rows(table: QTable, within: float = 1.0) -> np.ndarray:
    """Row of the source nearest to each star, shape ``(9,)``; -1 where none is within so many pixels."""
    if not len(table):
        return np.full(len(X), -1)
    x, y = np.asarray(table["x_centroid_win"], float), np.asarray(table["y_centroid_win"], float)
    distance = np.nan_to_num(np.hypot(x - X[:, None], y - Y[:, None]), nan=np.inf)
    return np.where(distance.min(axis=1) < within, distance.argmin(axis=1), -1)


def check_stars(table: QTable, band: str, scale: float = 1.0, tolerance: float = 0.05) -> None:
    """Fail unless the sources are the nine stars: each within 0.05 px of its place, and of its flux in data units."""
    rows = star_rows(table, within=0.05)
    assert len(table) == 9
    assert np.all(rows >= 0), f"stars {np.flatnonzero(rows < 0)} were not found"
    flux = np.asarray(table[f"kron_flux_{band}"], float)[rows]
    np.testing.assert_allclose(flux, scale * FLUX, rtol=tolerance)
