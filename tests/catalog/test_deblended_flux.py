"""Fractional ownership of blended pixels: light is conserved, and goes where it came from."""

from dataclasses import replace

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_photometry import WHITE, gaussian, maps_of, sky

from morpheus_lite import OptionError
from morpheus_lite.catalog import MeasureOptions, measure
from morpheus_lite.catalog.deblended_flux import share_pixels

SHARED = MeasureOptions(structure=False, aperture_radii=(5.0,), aperture_unit="pixel", deblended_flux=True)
SHAPE = (60, 80)


def pair(gap=9.0):
    """A bright wide source and a faint one in its wing; labels cut at the saddle; a third one apart."""
    light = [
        gaussian(SHAPE, 30, 28, 4.0, 20_000),
        gaussian(SHAPE, 30, 28 + gap, 2.0, 3000),
        gaussian(SHAPE, 30, 68, 2.0, 2000),
    ]
    data = sum(light) + np.random.default_rng(1).normal(size=SHAPE)
    parents = np.zeros(SHAPE, np.int32)
    parents[sum(light[:2]) > 1], parents[light[2] > 1] = 1, 2
    _, x = np.indices(SHAPE)
    labels = np.where(parents == 1, np.where(x < 28 + 0.7 * gap, 3, 4), parents).astype(np.int32)
    return data, labels, parents, light


def measured(options=SHARED, **known):
    data, labels, parents, _ = pair()
    return measure(labels, sky(data, **known), maps_of(SHAPE), parents=parents, options=options, noise=WHITE)


@pytest.mark.parametrize("rms", [1.0, None])
def test_light_is_conserved(rms):
    table = measured(rms=rms)
    np.testing.assert_allclose(table["shared_flux_F160W"].sum(), table["segment_flux_F160W"].sum())
    alone = table["n_children"] == 0
    for kind in ("flux", "fluxerr"):
        shared, segment = (np.asarray(table[f"{name}_{kind}_F160W"]) for name in ("shared", "segment"))
        np.testing.assert_array_equal(shared[alone], segment[alone])
    assert np.isfinite(table["shared_fluxerr_F160W"]).all()


def test_shared_light_is_nearer_to_the_truth():
    _, _, _, light = pair()
    table = measured()
    children = table["parent_label"] == 1
    truth = np.array([light[0].sum(), light[1].sum()])
    shared, segment = (np.asarray(table[f"{name}_flux_F160W"])[children] for name in ("shared", "segment"))
    assert abs(shared[1] / truth[1] - 1) < 0.5 * abs(segment[1] / truth[1] - 1)
    assert abs(shared[0] / truth[0] - 1) < 0.05


def test_invalid_pixels_do_not_count():
    data, labels, parents, _ = pair()
    valid = np.ones(SHAPE, bool)
    valid[28:33, 30:34] = False
    image = sky(np.where(valid, data, np.nan), valid=valid)
    table = measure(labels, image, maps_of(SHAPE), parents=parents, options=SHARED, noise=WHITE)
    np.testing.assert_allclose(table["shared_flux_F160W"].sum(), table["segment_flux_F160W"].sum())


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int32, (9, 11), elements=st.integers(0, 3)), st.integers(0, 9))
def test_shares_add_up_to_one(labels, seed):
    names = np.unique(labels[labels > 0])
    if not len(names):
        return
    light = np.random.default_rng(seed).normal(size=labels.shape)
    peaks = np.array([np.argwhere(labels == name)[0] for name in names])
    shares = share_pixels(light, labels, names, peaks)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(axis=0), labels > 0, atol=1e-12)


def test_only_on_request():
    assert not [name for name in measured(replace(SHARED, deblended_flux=False)).colnames if name.startswith("shared")]
    with pytest.raises(OptionError, match="photometry"):
        MeasureOptions(photometry=False, structure=False, deblended_flux=True)
