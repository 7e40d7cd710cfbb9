"""Detectors to compare: sep and photutils as their users run them, and the models of this package."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from astropy.convolution import convolve_fft
from photutils.segmentation import SourceFinder, make_2dgaussian_kernel

from morpheus_lite.core.image import SkyImage
from morpheus_lite.evaluation import Result, make_result

MINIMUM_AREA = 5
"""Pixels of the smallest detection, as is the default of SExtractor."""


@dataclass
class Detector:
    """A tool with one threshold.

    Parameters
    ----------
    name : str
        What to call it.
    run : callable
        Takes a SkyImage and a threshold, returns a `Result`.
    thresholds : numpy.ndarray
        Those to try for a purity, ascending.
    usual : float
        The threshold that its users take.
    seconds : list of float
        Wall-clock time of each run so far.
    """

    name: str
    run: Callable[[SkyImage, float], Result]
    thresholds: np.ndarray
    usual: float
    seconds: list[float] = field(default_factory=list)

    def __call__(self, image: SkyImage, threshold: float) -> Result:
        """Detect, and note how long it took."""
        start = time.perf_counter()
        result = self.run(image, threshold)
        self.seconds.append(time.perf_counter() - start)
        return result


def stack(image: SkyImage, *, weighting: str = "variance") -> np.ndarray:
    """All bands added up, in units of the noise of the sum.

    Parameters
    ----------
    image : SkyImage
        With RMS planes.
    weighting : {"variance", "noise"}
        ``"variance"``: the mean in units of flux density, weighted by the inverse variance: best for sources as blue
        as the sky is noisy; ``"noise"``: the sum of the signal-to-noise ratios of the bands.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(y, x)``; unit variance where only noise is, 0 where no band is valid.
    """
    flux = 10 ** (-0.4 * (np.array(image.zero_points, dtype=float) - 31.4))
    data, rms = image.data * flux, image.rms * flux
    usable = image.valid & (rms > 0)
    weight = np.where(usable, 1 / np.where(usable, rms, 1) ** (2 if weighting == "variance" else 1), 0)
    variance = (weight**2 * rms**2).sum(axis=2)
    return ((weight * data).sum(axis=2) / np.sqrt(np.where(variance > 0, variance, 1))).astype(np.float32)


def sep_on_stack(weighting: str) -> Detector:
    """sep with ``filter_type="conv"`` and its other defaults, on the stack of all bands."""
    import sep

    def run(image: SkyImage, threshold: float) -> Result:
        plane = np.ascontiguousarray(stack(image, weighting=weighting))
        objects, labels = sep.extract(plane, threshold, minarea=MINIMUM_AREA, filter_type="conv", segmentation_map=True)
        table = {"label": np.arange(1, len(objects) + 1), "x": objects["x"], "y": objects["y"]}
        return make_result(labels, table)

    return Detector(f"sep, {weighting} stack", run, np.arange(0.8, 4.01, 0.1), 1.5)


def photutils_on(band: str | None) -> Detector:
    """photutils' SourceFinder on one band, or on the stack of all, smoothed as its guide does."""
    kernel = make_2dgaussian_kernel(3.0, size=5)

    def run(image: SkyImage, threshold: float) -> Result:
        chosen = image if band is None else image.take([image.index(band)])
        smooth = convolve_fft(stack(chosen), kernel)
        finder = SourceFinder(n_pixels=MINIMUM_AREA, progress_bar=False)
        found = finder(smooth, threshold)
        return make_result(np.zeros(image.shape, np.int32) if found is None else found.data)

    return Detector(f"photutils, {band or 'stack'}", run, np.arange(0.75, 4.01, 0.25), 1.5)


def morpheus(model: str, *, score: str = "log_odds", stride: int | None = None) -> Detector:
    """A model of this package with the segmentation of the pipeline; the threshold is on a score of each detection.

    Parameters
    ----------
    model : str
        Name or directory.
    score : str
        One of `Result.source_scores`.
    stride : int, optional
        Step between windows; by default the model's own.
    """
    import morpheus_lite as ml

    loaded = ml.load_model(model)
    seen: dict[int, Result] = {}

    def detect(image: SkyImage) -> Result:
        seen_image = image.select(loaded.bands) if loaded.bands else image
        maps = ml.classify(seen_image, loaded, stride=stride)
        labels = ml.deblend(ml.segment(maps, image), image)
        return make_result(labels, ml.measure(labels, image, maps), probability=maps.probability)

    def run(image: SkyImage, threshold: float) -> Result:
        # The threshold only picks from what was found: the network runs once per field.
        if id(image) not in seen:
            seen[id(image)] = detect(image)
        result = seen[id(image)]
        return result if threshold == -np.inf else result.keep(result.source_scores()[score] >= threshold)

    quantiles = np.concatenate([[-np.inf], np.geomspace(0.5, 2000, 60)])
    return Detector(f"morpheus {model}", run, quantiles, -np.inf)
