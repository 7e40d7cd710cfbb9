"""The compiled loops measure a stamp as NumPy does, up to rounding."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from reference_stamps import measure_plainly

from morpheus_lite.catalog import CorrelatedNoise, MeasureOptions
from morpheus_lite.catalog.cutouts import Ellipse, Stamp
from morpheus_lite.catalog.photometry import BandNoise
from morpheus_lite.catalog.stamps import StampMeasurer
from morpheus_lite.core.psf import MoffatPsf

SHAPE = (57, 61)
CENTRE = 27.4, 30.2
SKY = CorrelatedNoise(1.0, (1.0, 2.0, 4.0, 8.0), (1.0, 1.2, 1.4, 1.5), 0.1)


def stamp_of(*, n_bands=1, peak=60.0, size=3.0, gaps=False, wings=False, centre=CENTRE, even=True):
    """A galaxy between neighbours, in noise of scatter 1."""
    rng = np.random.default_rng(3)
    y, x = np.indices(SHAPE)
    place = [at - middle for at, middle in zip((y, x), centre, strict=True)]
    galaxy = peak * np.exp(-np.sqrt(place[0] ** 2 * 1.5 + place[1] ** 2 + 0.3 * place[0] * place[1]) / size)
    colours = np.linspace(1, 0.6, n_bands)
    light = galaxy[:, :, None] * colours + rng.normal(size=(*SHAPE, n_bands))
    own = (galaxy > 1.5) | (np.hypot(*place) < 2)
    neighbor = ~own & (np.hypot(y - 40, x - 44) < 6)
    usable = rng.random(light.shape) < 0.95 if gaps else np.ones(light.shape, dtype=bool)
    usable[:, :25, n_bands - 1] &= not gaps
    light, sky = np.where(usable, light, 0), np.ones(n_bands)
    variance = np.broadcast_to(sky, light.shape) if even else rng.uniform(0.8, 1.2, light.shape)
    share = np.full(n_bands, n_bands**-0.5)
    weights = usable * share if gaps else np.broadcast_to(share, light.shape)
    return Stamp(
        *(light, variance, usable, weights, (weights * light).sum(axis=2), (weights**2 * variance).sum(axis=2)),
        *(own, neighbor, usable, Ellipse(*centre, 1.2 * size, size, 0.4), (100, 200)),
        *((0.02 * galaxy[:, :, None] * colours, 0.3) if wings else ()),
    )


def measured(stamp, *, by=None, options=None, radii=(3.0, 5.0), gain=None, psfs=None, from_space=False):
    n_bands = stamp.light.shape[2]
    bands, psfs = [BandNoise(SKY, gain)] * n_bands, psfs or [MoffatPsf(2.5, 3.0)] * n_bands
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return (by or StampMeasurer.__call__)(
            StampMeasurer(SKY, bands, radii, options or MeasureOptions(), psfs, from_space), stamp
        )


STAMPS = {
    "one band": {},
    "three bands": {"n_bands": 3, "even": False},
    "gaps": {"n_bands": 3, "gaps": True},
    "light of neighbours": {"n_bands": 2, "wings": True},
    "beside the edge": {"centre": (1.3, 58.9)},
    "faint": {"peak": 4.0},
    "negative": {"peak": -30.0},
    "bright": {"peak": 2000.0, "size": 5.0},
    "small": {"peak": 200.0, "size": 0.4},
    "many bands": {"n_bands": 70, "even": False, "gaps": True},
}
CALLS = {
    "as it is": {},
    "photons": {"gain": 3.0},
    "local background": {"options": MeasureOptions(local_background=True)},
    "no structure": {"options": MeasureOptions(structure=False), "radii": ()},
    "from space": {"from_space": True},
    "unknown PSF": {"psfs": [MoffatPsf(float("nan"))] * 3},
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", STAMPS)
def test_compiled_and_plain_agree(kind, call):
    stamp, words = stamp_of(**STAMPS[kind]), dict(CALLS[call])
    if "psfs" in words:
        words["psfs"] = words["psfs"][:1] * stamp.light.shape[2]
    fast, plain = measured(stamp, **words), measured(stamp, by=measure_plainly, **words)
    assert set(plain) <= set(fast)
    for name, values in fast.items():
        expected = np.asarray(plain.get(name, np.full(np.shape(values), np.nan)), dtype=float)
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-10, err_msg=name)


def test_a_stamp_is_measured():
    found = measured(stamp_of(n_bands=3, peak=300.0))
    assert found["snr"] > 50
    names = "half_light_radius", "r_petrosian", "concentration", "asymmetry", "gini", "m20", "total_correction"
    assert all(np.isfinite(found[name]) and found[f"{name}_err"] > 0 for name in names)
    assert np.all(found["flux"][1] > found["flux"][2])


def test_numbers_that_mean_nothing_do_not_end_the_process():
    stamp = stamp_of(n_bands=2)
    nothing = np.zeros(SHAPE, dtype=bool)
    measured(replace(stamp, source_mask=nothing))
    measured(replace(stamp, detection=np.full(SHAPE, np.nan), light=np.full(stamp.light.shape, np.nan)))
    measured(replace(stamp, detection=np.full(SHAPE, 1e300), light=np.full(stamp.light.shape, 1e300)))
    measured(replace(stamp, ellipse=Ellipse(-400.0, 900.0, 1e-6, 1e-9, 0.0)))
    measured(replace(stamp, ellipse=Ellipse(*CENTRE, 1e5, 1.0, 0.0)))
