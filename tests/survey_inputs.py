"""Small tiles of a survey, and places that they can be fetched from."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.models.registry import Model, load_model

BANDS = ("F160W", "F125W", "F606W", "F850LP")
SHAPE = (60, 64)
FAST = ClassifyOptions(model="hausen2020", stride=30, products=("catalog",))


def tile_wcs(offset: tuple[float, float] = (0, 0), scale: float = 0.06) -> WCS:
    """A gnomonic WCS; ``offset`` is where the tile begins, in pixels ``(y, x)`` of the whole."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 53.16, -27.78
    wcs.wcs.crpix = 100.5 - offset[1], 100.5 - offset[0]
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    return wcs


def sky(shape: tuple[int, int] = SHAPE, seed: int = 1, n_sources: int = 2) -> np.ndarray:
    """Noise and round sources: float32, shape ``(y, x)``."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(0, 0.01, shape)
    y, x = np.indices(shape)
    for _ in range(n_sources):
        at = rng.uniform(12, np.array(shape) - 12)
        pixels += 0.5 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 18)
    return pixels.astype(np.float32)


def write_tile(
    path: Path,
    *,
    bands: tuple[str, ...] = BANDS,
    scale: float = 0.06,
    offset: tuple[float, float] = (0, 0),
    **options: object,
) -> Path:
    """A tile with all bands in one file, as `sky` makes them."""
    header = tile_wcs(offset, scale).to_header()
    pixels = sky(**options)  # type: ignore[arg-type]
    hdus = [fits.ImageHDU(pixels, header, name=band) for band in bands]
    for hdu in hdus:
        hdu.header["ABZP"] = 25.9
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    return path


@functools.cache
def _loaded(name: str, device: str, precision: str) -> Model:
    return load_model(name, device=device, precision=precision)


def kept_model(name: str, *, device: str = "auto", precision: str = "float32", engine: str = "auto") -> Model:
    """A model, loaded and compiled once for all tests of this process."""
    return _loaded(name, device, precision)


@contextmanager
def keeping_models() -> Iterator[None]:
    """Surveys in this process share their models, as those on long-lived workers do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("morpheus_lite.survey.worker.load_model", kept_model)
        yield


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Files, whole or by range, as real stores give them."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if not wanted or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, last = wanted.removeprefix("bytes=").split("-")
        part = content[int(first) : int(last or len(content) - 1) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """A directory over HTTP, on loopback."""
    handler = functools.partial(_Ranges, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
