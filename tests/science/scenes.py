"""Small scenes with known light, each seen through one stage; `frozen.json` holds what they gave when they were frozen.

Every scene is arithmetic on NumPy's random numbers with a fixed seed, so nothing but the package can change the result.
Thresholds that decide (one source or two, flag or not) are crossed by a ladder of sources in small steps: the rung at
which the answer turns is what is frozen.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import QTable
from scipy import ndimage

import morpheus_lite as ml
from morpheus_lite.catalog import CorrelatedNoise
from morpheus_lite.core.labels import LabelStore
from morpheus_lite.inference.domain_check import measure_domain
from morpheus_lite.io import open_image
from morpheus_lite.noise import background_mesh
from morpheus_lite.noise.correlated import scatter_of
from morpheus_lite.noise.detection_image import SourceNoise, light_noise, unbroken_detection_image
from morpheus_lite.noise.overview import measure_image, measure_sections

Numbers = Iterator[tuple[str, list]]
SIDE = 60
FIELD = Path(__file__).parents[1] / "data" / "golden" / "sim_a.fits"
Y, X = np.indices((SIDE, SIDE))


def numbers(values: Iterable) -> list:
    """Values as JSON holds them, NaN as None."""
    flat = np.ravel(np.asarray(u.Quantity(values).value if hasattr(values, "unit") else values))
    return [None if isinstance(one, float) and one != one else one for one in flat.tolist()]


def sky_image(data: np.ndarray, *, rms: float | np.ndarray | None = 1.0, valid: np.ndarray | None = None, **known):
    """An image of one band, ``(y, x)``, or of several, ``(y, x, band)``."""
    data = np.asarray(data, dtype=np.float32)
    data = data[:, :, None] if data.ndim == 2 else data
    valid = np.ones(data.shape, dtype=bool) if valid is None else np.broadcast_to(valid[..., None], data.shape).copy()
    if rms is not None:
        rms = np.asarray(rms, dtype=np.float32)
        rms = np.broadcast_to(rms[:, :, None] if rms.ndim == 2 else rms, data.shape).copy()
    bands = ("F160W", "F125W", "F606W")[: data.shape[2]]
    return ml.SkyImage(np.where(valid, data, 0).astype(np.float32), bands, valid, rms=rms, **known)


def class_maps(shape: tuple[int, int], **planes: np.ndarray | float) -> ml.Classification:
    """Class maps with these probabilities; the rest is background."""
    probability = np.zeros((*shape, 5))
    for name, plane in planes.items():
        probability[..., ml.CLASSES.index(name)] = plane
    probability[..., 4] = 1 - probability.sum(axis=2)
    everywhere = np.ones(shape, dtype=bool)
    probability = probability.astype(np.float32)
    return ml.Classification(probability, np.full(shape, 900, np.int32), everywhere, vote=probability)


def blob(y: float, x: float, width: float, peak: float, ratio: float = 1.0, shape: tuple[int, int] = (SIDE, SIDE)):
    rows, columns = np.indices(shape)
    return peak * np.exp(-((rows - y) ** 2 + ((columns - x) / ratio) ** 2) / (2 * width**2))


def disk(y: float, x: float, scale: float, peak: float, ratio: float = 1.0, shape: tuple[int, int] = (SIDE, SIDE)):
    rows, columns = np.indices(shape)
    return peak * np.exp(-np.hypot(rows - y, (columns - x) / ratio) / scale)


def correlated_sky(shape: tuple[int, int], seed: int, sigma: float = 0.7) -> np.ndarray:
    sky = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")
    return sky / sky.std()


# Noise


def noise_of_sums() -> Numbers:
    """Correlated noise around sources whose light goes on beyond their labels, in three sizes of image."""
    for seed, (height, width) in enumerate(((200, 240), (150, 150), (136, 136), (64, 90))):
        data = correlated_sky((height, width), seed)
        labels = np.zeros(data.shape, np.int32)
        for number, (y, x) in enumerate(np.random.default_rng(seed).uniform(20, min(data.shape) - 20, (4, 2)), start=1):
            source = disk(y, x, 3, 60, shape=data.shape)
            data += source
            labels[source > 6] = number
        noise = ml.measure_correlated_noise(sky_image(data), labels if seed == 0 else np.zeros_like(labels))["F160W"]
        yield f"{height}x{width}", [noise.sigma, *noise.sides, *noise.factors, noise.slope, *noise.factor([7.0, 5e4])]
    for step in (0.11, 0.14):
        steps = np.round(np.random.default_rng(5).normal(size=(90, 90)) / step)
        yield (
            f"steps of {step}",
            [
                ml.measure_correlated_noise(sky_image(steps, rms=None), np.zeros(steps.shape, np.int32))["F160W"].sigma,
                scatter_of(np.random.default_rng(6).poisson(1.5, 5000).astype(float), upper=True),
            ],
        )


def noise_of_light() -> Numbers:
    """Noise of smoothed light by its level, in a galaxy with photon noise and in small ones."""
    shape = (140, 150)
    galaxy = disk(70, 75, 20, 400, shape=shape)
    light = galaxy + np.random.default_rng(2).normal(size=shape) * np.sqrt(1 + 0.3 * galaxy)
    light = ndimage.gaussian_filter(light, 0.8)
    own = galaxy > 3
    sky = light_noise([(light, own.astype(np.int32))])
    noise = SourceNoise(light, own, sky)
    yield "galaxy", [sky.scatter, sky.roughness, *(noise.at(level) for level in np.geomspace(0.1, 400, 40))]
    found = []
    for area in range(40, 100, 4):  # a step of brightness with so many pixels
        part = np.zeros(shape, dtype=bool)
        part.ravel()[np.flatnonzero((light > 8.5 * sky.scatter) & (light < 10 * sky.scatter))[:area]] = True
        found.append(SourceNoise(light, part, sky).at(9 * sky.scatter))
    yield "by area", found


def _mesh(image: ml.SkyImage, labels: np.ndarray | None = None) -> list:
    sources = None if labels is None else LabelStore.of(labels)
    noise = measure_sections(image, labels=sources, workers=1)
    snr, valid = background_mesh.normalize(image, noise)
    seen = background_mesh.subtract(image, noise, sky_noise=True)
    planes = [noise.background, noise.sigma, [*noise.photons], [len(void) for void in noise.void]]
    sums = [snr[valid].std(dtype=float), valid.sum(), np.abs(seen.data).sum(dtype=float)]
    sums.append(0 if seen.rms is None else seen.rms.sum(dtype=float))
    return [*np.concatenate([np.ravel(plane) for plane in planes]).tolist(), *np.array(sums, float).tolist()]


def mesh_of_noise() -> Numbers:
    """Background and noise of a mesh: sources, slopes, holes, noise planes with photons, counts, areas without data."""
    shape = (256, 384)
    rng = np.random.default_rng(11)
    y, x = np.indices(shape)
    sky = rng.normal(size=shape)
    light, labels = np.zeros(shape), np.zeros(shape, np.int32)
    for number, (row, column) in enumerate(rng.uniform(0, 1, (70, 2)) * shape, start=1):
        source = blob(row, column, 4, 60, shape=shape)
        light += source
        labels[source > 1.5] = number
    yield "sources", _mesh(sky_image(sky + light, rms=None))
    yield "less sources", _mesh(sky_image(sky + light, rms=None), labels)
    for rise in (1.7, 2.3, 4.0):
        yield f"slope {rise}", _mesh(sky_image(sky + rise / 128 * x + 0.4 * rise / 128 * y, rms=None))
    for rise in (0.25, 0.35):
        yield f"slope {rise} less", _mesh(sky_image(sky + rise / 128 * x + light, rms=None), labels)
    for tilt in (0.5, 1.0, 1.5, 2.0, 3.0):  # a wave: slopes that differ from box to box
        yield f"wave {tilt}", _mesh(sky_image(sky + 6 * x / 128 + tilt * np.sin(y / 50) * x / 60, rms=None))
    # The share of the pixels of a box that are valid, across the least there must be.
    holes = np.ones(shape, dtype=bool)
    for k, share in enumerate((0.14, 0.17, 0.23, 0.28, 0.8, 0.9)):
        box = np.s_[128 * (k // 3) : 128 * (k // 3 + 1), 128 * (k % 3) : 128 * (k % 3 + 1)]
        holes[box] = rng.uniform(size=(128, 128)) < share
    yield "holes", _mesh(sky_image(sky + 3 * (x // 128) + 8 * (y // 128), rms=None, valid=holes))
    steep = np.sqrt(1 + 0.05 * light)
    for photons in (0.02, 0.05, 0.2):
        rms = np.sqrt(1 + photons * light)
        yield f"photons {photons}", _mesh(sky_image(sky * rms + light, rms=rms))
    for faint in (4.0, 5.0, 6.0):
        weak = light * faint / 60
        yield f"photons of {faint}", _mesh(sky_image(sky * steep + weak, rms=np.sqrt(1 + 0.3 * weak)))
    for rise in (
        0.06,
        0.075,
        0.085,
        0.095,
        0.105,
        0.115,
        0.125,
        0.15,
    ):  # of the variance, under the median bright pixel
        rms = np.sqrt(1 + rise / 17.3 * light)
        yield f"rise {rise}", _mesh(sky_image(sky + light, rms=rms))
    for mark in (0.85e6, 1.15e6):
        rms = np.ones(shape)
        rms[::7, ::5] = mark
        yield f"mark {mark}", _mesh(sky_image(sky, rms=rms))
    for rate in (0.02, 0.1, 0.3, 1.0):
        yield f"counts {rate}", _mesh(sky_image(rng.poisson(rate, shape), rms=None))
    for columns in (6, 7, 8, 9, 11):  # four times as many sampled pixels of one value, side by side
        filled = sky.copy()
        filled[20:28, 10 : 10 + 2 * columns] = -0.5
        yield f"area of {columns}", _mesh(sky_image(filled, rms=None))
    for share in (0.18, 0.22, 0.28, 0.35):  # of a box, as bright as it gets
        full = sky.copy()
        full[: round(128 * share), :128] = 9.0
        yield f"saturated {share}", _mesh(sky_image(full, rms=None))
    for n_near in (100, 120, 130, 155, 165, 200):  # sampled pixels with the value next to that of half of a box
        steps = np.round(sky, 3)
        steps[:64, :128] = 0.0
        rows, columns = np.divmod(np.arange(n_near), 64)
        steps[66 + 2 * rows, 2 * columns] = 0.001
        yield f"{n_near} neighbours", _mesh(sky_image(steps, rms=None))


def broken_light() -> Numbers:
    """Light of a source across the edge of a band, as bright in it as it may be taken to be, and brighter."""
    for ratio in (2.0, 16.0, 17.0, 22.0, 30.0):
        light = blob(30, 30, 5, 40)
        data = np.stack([light, ratio * light], axis=2)
        image = sky_image(data + np.random.default_rng(1).normal(size=data.shape))
        image.valid[:, 36:, 1] = False
        seen = unbroken_detection_image(image, light > 3, (None, None))
        yield f"ratio {ratio}", [seen.sum(), seen[30, 38]]


# Inference


def domain() -> Numbers:
    """What the network sees of PSF and noise: sharp sources and wide ones, bright and faint, and stars."""
    shape = (330, 330)
    y, x = np.mgrid[20:320:30, 20:320:30].reshape(2, -1)

    def measured(peaks: np.ndarray, widths: np.ndarray) -> list:
        rng = np.random.default_rng(3)
        data = correlated_sky(shape, 4, 0.6)
        for row, column, peak, width in zip(y, x, peaks, widths, strict=False):
            row, column = row + rng.uniform(-0.5, 0.5), column + rng.uniform(-0.5, 0.5)
            box = np.s_[row.astype(int) - 14 : row.astype(int) + 15, column.astype(int) - 14 : column.astype(int) + 15]
            data[box] += blob(14 + row % 1, 14 + column % 1, width, peak, shape=(29, 29))
        image = open_image(sky_image(data, zero_points=(25.0,)))
        found = measure_domain(image, (), measure_image(image))
        return [len(found.get("psf_fwhm", ())), *(value for row in found.values() for value in row)]

    widths = np.linspace(1.0, 3.5, 100)
    yield "sharp to wide", measured(np.full(100, 400.0), widths)
    yield "bright ones are wide", measured(np.geomspace(60, 4000, 100), widths)
    yield "faint ones are sharp", measured(np.geomspace(22, 60, 100), widths)
    yield "stars", measured(np.geomspace(60, 4000, 100), np.full(100, 1.2))
    yield "wide stars", measured(np.full(100, 400.0), np.full(100, 2.3))


# Segmentation


def detections() -> Numbers:
    """Sources of graded probability, size and significance."""
    shape = (80, 160)
    plane = np.full(shape, 0.02)
    for k in range(14):  # peaks from 0.45 to 0.97
        plane[4:9, 4 + 11 * k : 10 + 11 * k] = 0.3 + 0.02 * k
        plane[6, 7 + 11 * k] = 0.45 + 0.04 * k
    for k in range(9):  # areas from 1 to 9
        plane[20 + np.arange(k + 1) // 3, 4 + 11 * k + np.arange(k + 1) % 3] = 0.95
    wide = blob(55, 80, 9, 0.98, 3.0, shape)
    plane = np.maximum(plane, wide)
    labels = ml.segment(class_maps(shape, spheroid=plane), method="probability")
    yield "areas", np.bincount(labels.ravel())[1:].tolist()
    yield "first pixels", np.unique(labels, return_index=True)[1].tolist()


def _pieces(light: np.ndarray, level: float, maps: ml.Classification | None = None, seed: int = 1) -> list:
    """Areas of the pieces of a source in sky of scatter 1: the source itself has no noise, so that a rung is exact."""
    labels = (light > level).astype(np.int32)
    light = light + np.random.default_rng(seed).normal(size=light.shape) * (labels == 0)
    pieces = ml.deblend(labels, light, method="multithreshold", classification=maps)
    return [int(area) for area in np.unique(pieces[pieces > 0], return_counts=True)[1]]


def _ladder(rungs: Iterable[float], light: Callable, maps: Callable | None = None, level: float = 3.0) -> list:
    """Number of pieces on each rung, then the areas of the pieces on the middle one."""
    found = []
    for rung in rungs:
        source = light(rung)
        found.append(_pieces(source, level, None if maps is None else maps(rung, source)))
    return [*map(len, found), *found[len(found) // 2]]


def _disk_everywhere(rung: float, light: np.ndarray) -> ml.Classification:
    return class_maps(light.shape, disk=0.98)


def _star_everywhere(rung: float, light: np.ndarray) -> ml.Classification:
    return class_maps(light.shape, point_source=0.98)


def _right_is_star(rung: float, light: np.ndarray) -> ml.Classification:
    right = X > 26
    return class_maps(light.shape, disk=np.where(right, 0.95 - rung, 0.95), point_source=np.where(right, rung, 0))


def _partly_disk(rung: float, light: np.ndarray) -> ml.Classification:
    return class_maps(light.shape, disk=rung * 0.98, spheroid=0.98 * (1 - rung))


def blends() -> Numbers:
    """Where two pieces of light become two sources, by each of the rules of deblending."""
    steps, bright = np.linspace(0, 1, 25), blob(30, 20, 4, 4000)
    bar = 60.0 * ((np.abs(Y - 30) < 5) & (X > 8) & (X < 55))

    def pair(far: float) -> np.ndarray:
        return bright + blob(30, 20 + far, 4, 3000)

    yield "depth", _ladder(np.geomspace(2, 60, 40), lambda a: a * (blob(30, 24, 3, 2) + blob(30, 34, 3, 1)), level=1.0)
    yield "share that stands out", _ladder(8.0 + 4 * steps, pair)
    yield (
        "spike",
        _ladder(
            np.geomspace(20, 600, 40), lambda peak: blob(30, 22, 2.5, 3000) + blob(30, 36, 2.5, peak), _star_everywhere
        ),
    )
    yield (
        "clump",
        _ladder(
            9.0 + 16 * steps,
            lambda far: disk(30, 20, 4, 800) + blob(30, 20 + far, 3.2, 150),
            _disk_everywhere,
            level=5.0,
        ),
    )
    yield "bright clump", _ladder(9.0 + 12 * steps, pair, _disk_everywhere)
    yield (
        "area of a knot",
        _ladder(1.6 + 0.6 * steps, lambda width: disk(30, 26, 8, 300) + blob(30, 44, width, 200), _disk_everywhere),
    )
    yield (
        "light of a knot",
        _ladder(
            np.geomspace(100, 12000, 40), lambda peak: disk(30, 26, 5, 300) + blob(30, 46, 1.3, peak), _disk_everywhere
        ),
    )
    yield (
        "probability of a knot",
        _ladder(0.6 + 0.4 * steps, lambda p: disk(30, 26, 8, 300) + blob(30, 44, 1.3, 200), _partly_disk),
    )
    yield "probability of a star", _ladder(0.2 + 0.7 * steps, lambda p: pair(11.35), _right_is_star)
    yield (
        "contrast",
        _ladder(np.geomspace(40, 1000, 40), lambda peak: blob(30, 20, 3.5, 20000) + blob(30, 42, 1.2, peak), level=0.1),
    )
    yield "area", _ladder(np.geomspace(3, 200, 50), lambda peak: bar + blob(30, 20, 3, 2000) + blob(30, 44, 0.6, peak))
    yield (
        "levels",
        _ladder(6.5 + 2.0 * steps, lambda far: blob(30, 20, 3, 5e4) + blob(30, 20 + far, 3, 4e4), _star_everywhere),
    )
    yield (
        "smoothing",
        _ladder(3.2 + 1.5 * steps, lambda far: blob(30, 20, 1.2, 5e3) + blob(30, 20 + far, 1.2, 4.5e3), level=5.0),
    )
    crowd = sum(blob(30 + 44 * (k // 6), 30 + 44 * (k % 6), 9, 100 + k, shape=(240, 290)) for k in range(30))
    pieces = ml.deblend((crowd > 0.02).astype(np.int32), crowd, method="paper")
    yield "by peaks", np.bincount(pieces.ravel()).tolist()


# Catalogue


def columns(table: QTable, prefix: str = "", wanted: tuple[str, ...] = ("",)) -> Numbers:
    """The columns of a catalogue whose names hold one of these parts."""
    for name in table.colnames:
        if any(part in name for part in wanted):
            is_text = table[name].dtype.kind in "US"
            yield prefix + name, table[name].tolist() if is_text else numbers(table[name])


def _galaxies(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Light of 12 galaxies and stars and a close pair, their labels, and planes of class probabilities."""
    rng = np.random.default_rng(seed)
    light, labels = np.zeros(shape), np.zeros(shape, np.int32)
    planes = {name: np.zeros(shape) for name in ("spheroid", "disk", "irregular", "point_source")}
    for k in range(12):
        y, x = 32 + 60 * (k // 4) + rng.uniform(-2, 2), 32 + 60 * (k % 4) + rng.uniform(-2, 2)
        ratio = (1.0, 0.6, 1.5)[k % 3]
        peak = 25 * 1.7**k
        source = (disk(y, x, 1.2 + 0.25 * k, peak, ratio, shape), blob(y, x, 1.4, peak, 1.0, shape))[k % 4 == 3]
        light += source
        labels[source > 2] = k + 1
        planes[list(planes)[k % 4]][source > 1] = 0.6 + 0.03 * k
    pair = blob(152, 46, 2.5, 300, shape=shape)
    light += pair
    labels[(pair > 2) & (pair > light - pair)] = 13
    return ndimage.gaussian_filter(light, 0.8), labels, planes


def catalogue() -> Numbers:
    """Rows of galaxies of rising light and size, with and without neighbours, holes, a gain and a sky that is left."""
    shape = (188, 256)
    light, labels, planes = _galaxies(shape, 21)
    data = light + correlated_sky(shape, 22) + 0.3
    bands = np.stack([data, 0.5 * data + correlated_sky(shape, 23), 2 * data], axis=2)
    valid = np.ones(shape, dtype=bool)
    valid[32:36, 90:96] = valid[90:, 150:153] = False
    image = sky_image(bands, rms=np.array([1.0, 1.1, 2.0]), valid=valid, zero_points=(25.0, 26.0, None))
    maps = class_maps(shape, **planes)
    noise = {band: CorrelatedNoise(1.0, (1.0, 8.0), (1.0, 1.8), 0.1) for band in image.bands}
    options = ml.MeasureOptions(aperture_radii=(3, 6), aperture_unit="pixel", psf_fwhm=3.0, deblended_flux=True)
    parents = np.where(labels == 13, 9, labels)
    yield from columns(
        ml.measure(labels, image, maps, maps="probability", options=options, noise=noise, parents=parents)
    )
    # The sky of one band without a noise plane; a background that is measured around each source; a gain.
    one = sky_image(data + 0.02 * np.indices(shape)[1], rms=None)
    options = ml.MeasureOptions(
        aperture_radii=(5,), aperture_unit="pixel", local_background=True, background="none", gain=4.0
    )
    alone = ml.measure(labels, one, maps, maps="probability", options=options)
    wanted = ("flux", "kron", "total", "_win", "half_light", "r_petrosian", "flags")
    yield from columns(alone, "alone ", wanted)


def pulls() -> Numbers:
    """Fluxes of 16 equal sources of known light, over their errors: mean and scatter, and their totals."""
    shape = (200, 200)
    for name, flux in (("faint", 400.0), ("bright", 40_000.0)):
        rng = np.random.default_rng(31)
        light, labels = np.zeros(shape), np.zeros(shape, np.int32)
        for k, (y, x) in enumerate(50 * np.mgrid[:4, :4].reshape(2, -1).T + 25 + rng.uniform(-0.5, 0.5, (16, 2))):
            source = disk(y, x, 2.0, 1.0, shape=shape)
            source = ndimage.gaussian_filter(source / source.sum(), 1.3) * flux
            light += source
            labels[source > 1.5] = k + 1
        image = sky_image(light + correlated_sky(shape, 32))
        for psf in (3.06, None):
            options = ml.MeasureOptions(aperture_radii=(5,), aperture_unit="pixel", psf_fwhm=psf, structure=False)
            table = ml.measure(labels, image, class_maps(shape, disk=0.9), maps="probability", options=options)
            for kind in ("kron", "total"):
                value, error = (np.asarray(table[f"{kind}_{part}_F160W"]) for part in ("flux", "fluxerr"))
                pull = (value - flux) / error
                yield f"{name} {kind} {psf}", numbers([pull.mean(), pull.std(), value.mean(), error.mean()])


def flags() -> Numbers:
    """Flags across the limits: equal brightest pixels, holes at the peak, apertures with little sky, thin sources."""
    shape = (60, 460)
    data, labels = np.random.default_rng(41).normal(size=shape), np.zeros(shape, np.int32)
    valid = np.ones(shape, dtype=bool)
    for k in range(18):
        source = blob(30, 15 + 25 * k, 2.5, 40 if k < 14 else (14, 18, 22, 27)[k - 14], shape=shape)
        labels[source > 3] = k + 1
        data += source
        box = np.s_[30, 15 + 25 * k : 15 + 25 * k + k % 7 + 1] if k < 7 else np.s_[30:31, 15 + 25 * k :][0:0]
        if k < 7:  # 1, 2, ... 7 pixels share the largest value
            data[box] = 60
        elif k < 14:  # a hole beside the peak, ever larger
            hole = np.hypot(*(np.indices(shape) - np.array([30, 15 + 25 * k + 1 + 0.5 * (k - 7)])[:, None, None]))
            valid[hole <= 0.5 * (k - 7)] = False
        else:
            data[30, 15 + 25 * k : 15 + 25 * k + 5] = data[30, 15 + 25 * k]
    image = sky_image(data, valid=valid)
    maps = class_maps(shape, spheroid=0.9)
    options = ml.MeasureOptions(aperture_radii=(3, 9), aperture_unit="pixel", local_background=True, background="none")
    noise = {"F160W": CorrelatedNoise(1.0)}
    table = ml.measure(labels, image, maps, maps="probability", options=options, noise=noise)
    yield from columns(table)
    thin = np.zeros(shape, np.int32)
    for k in range(12):
        thin[20 : 21 + k // 2, 5 + 30 * k : 9 + 32 * k] = k + 1
    paper = ml.MeasureOptions.paper()
    yield from columns(ml.measure(thin, image, maps, maps="probability", options=paper), "thin ")


def compact() -> Numbers:
    """Sources narrower than a pixel, and one whose sky is all but covered by its neighbour."""
    shape = (40, 200)
    data, labels = np.random.default_rng(51).normal(size=shape), np.zeros(shape, np.int32)
    for k in range(5):
        source = blob(20.2, 20.3 + 40 * k, 0.4 + 0.1 * k, 900, shape=shape)
        data, labels[source > 1] = data + source, k + 1
    wanted = ("_win", "half_light", "kron_flux", "total_flux")
    options = ml.MeasureOptions(aperture_radii=(3,), aperture_unit="pixel", background="none")
    maps = class_maps(shape, point_source=0.9)
    yield from columns(ml.measure(labels, sky_image(data), maps, maps="probability", options=options), "", wanted)
    ring = blob(30, 30, 0.6, 100) + 40 * np.exp(-((np.hypot(Y - 30, X - 30) - 4) ** 2))
    core = (np.hypot(Y - 30, X - 30) < 1.5).astype(np.int32)
    table = ml.measure(core, sky_image(ring), class_maps((SIDE, SIDE), disk=0.9), maps="probability", options=options)
    yield from columns(table, "ring, ", wanted)
    options = replace(options, local_background=True)
    for n_sky in (30, 45, 55, 70, 90, 110, 140):
        around = np.full((40, 40), 2, np.int32)
        around[16:25, 16:25] = 1
        around.flat[:n_sky] = 0
        image = sky_image(data[:, :40] + 0.5, rms=None)
        table = ml.measure(around, image, class_maps((40, 40), disk=0.9), maps="probability", options=options)
        yield from columns(table, f"{n_sky} pixels of sky, ", wanted)


def partly_covered() -> Numbers:
    """A source of which a band has ever more."""
    light = blob(30, 30, 6, 60)
    data = np.stack([light, 2 * light], axis=2) + np.random.default_rng(61).normal(size=(SIDE, SIDE, 2))
    options = ml.MeasureOptions(aperture_radii=(3,), aperture_unit="pixel", background="none", structure=False)
    for n_columns in range(20, 28):
        image = sky_image(data)
        image.valid[:, n_columns:, 1] = False
        image.data[:, n_columns:, 1] = 0
        maps = class_maps((SIDE, SIDE), disk=0.9)
        table = ml.measure((light > 2).astype(np.int32), image, maps, maps="probability", options=options)
        yield from columns(table, f"{n_columns} columns, ", ("flux", "flags", "covered"))


def field() -> Numbers:
    """The way of `morpheus classify` for a simulated field of four bands, with the model ``hst``."""
    image = ml.read_image(FIELD)
    result = ml.classify(image, model="hst")
    labels = ml.deblend(ml.segment(result), image)
    table = ml.measure(labels, image, result)
    wanted = ("x_centroid", "y_centroid", "area", "flags", "parent_label", "morphology", "half_light_radius")
    yield from columns(table, wanted=(*wanted, "total_flux"))


SCENES: dict[str, Callable[[], Numbers]] = {
    one.__name__: one
    for one in (
        noise_of_sums,
        noise_of_light,
        mesh_of_noise,
        broken_light,
        domain,
        detections,
        blends,
        catalogue,
        pulls,
        flags,
        compact,
        partly_covered,
    )
}
