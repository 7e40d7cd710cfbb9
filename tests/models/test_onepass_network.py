"""One-pass networks: what reaches a pixel, what folding keeps, what missing bands mean."""

from dataclasses import replace

import numpy as np
import pytest

from morpheus_lite.errors import ModelError
from morpheus_lite.models.network_config import OnePassConfig, stage_margins
from morpheus_lite.models.networks import build_onepass

BANDS = ("F160W", "F125W", "F606W")
FIXED = OnePassConfig(down=((2, 4), (1, 6)), intermediate=(2, 8), up=((1, 6), (2, 4)), bands=BANDS)
ANY = replace(FIXED, bands=(), stem=(1, 4))
CONFIGS = {
    "fixed": FIXED,
    "any band": ANY,
    "one pixel per cell": replace(FIXED, cell=1),
}


def random_network(config, seed=0):
    """A network in which every weight matters, moving statistics included."""
    rng = np.random.default_rng(seed)
    model = build_onepass(config)
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            gamma, beta, mean, variance = (rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights())
            layer.set_weights([gamma, beta - 1, mean - 1, variance])
    return model


def sky(shape, seed=0, n_bands=3):
    rng = np.random.default_rng(seed)
    snr = (rng.standard_normal((1, *shape, n_bands)) * 10).astype(np.float32)
    return snr, np.ones_like(snr)


def margin_of(config):
    """Margin of a tile, in whole positions of the coarsest stage."""
    return -(-stage_margins(config)["input"] // config.factor) * config.factor


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_tile_equals_the_whole_inside_its_margin(config):
    model, margin = random_network(config), margin_of(config)
    snr, valid = sky((96, 128))
    whole = model.predict([snr, valid], verbose=0)
    y, x = 2 * config.factor, config.factor
    part = model.predict([snr[:, y:, x:], valid[:, y:, x:]], verbose=0)
    assert margin % config.factor == 0 and margin < 64
    np.testing.assert_allclose(part[:, margin:, margin:], whole[:, y + margin :, x + margin :], atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_nothing_beyond_the_halo_reaches_a_pixel(config):
    model, margin = random_network(config), margin_of(config)
    snr, valid = sky((160, 160))
    before = model.predict([snr, valid], verbose=0)
    snr[:, 80, 80] += 1e4
    changed = np.abs(model.predict([snr, valid], verbose=0) - before).max(axis=(0, 3)) > 1e-6
    rows, columns = np.nonzero(changed)
    reach = max(np.abs(rows - 80).max(), np.abs(columns - 80).max())
    assert 0.5 * margin < reach <= margin  # and the halo is not wasteful


def test_any_band_takes_any_number_and_any_order():
    model = random_network(ANY)
    snr, valid = sky((32, 32), n_bands=5)
    everything = model.predict([snr, valid], verbose=0)
    order = [3, 0, 4, 1, 2]
    np.testing.assert_allclose(model.predict([snr[..., order], valid], verbose=0), everything, atol=1e-4)
    fewer = model.predict([snr[..., :2], valid[..., :2]], verbose=0)
    valid[..., 2:] = 0
    np.testing.assert_allclose(model.predict([snr * valid, valid], verbose=0), fewer, atol=1e-4)
    assert np.abs(fewer - everything).max() > 1e-3


@pytest.mark.parametrize("config", [FIXED, ANY], ids=["fixed", "any band"])
def test_values_under_invalid_pixels_do_not_matter(config):
    model = random_network(config)
    snr, valid = sky((32, 32))
    valid[:, 5:20, 5:20] = 0
    clean = model.predict([snr * valid, valid], verbose=0)
    np.testing.assert_allclose(model.predict([snr, valid], verbose=0), clean, atol=1e-5)


def test_configuration_round_trip_and_refusals():
    assert OnePassConfig.from_dict(ANY.to_dict()) == ANY
    with pytest.raises(ModelError, match="missing down"):
        OnePassConfig.from_dict({"up": [[1, 4]], "intermediate": [1, 4]})
    with pytest.raises(ModelError, match="unknown depth"):
        OnePassConfig.from_dict({**FIXED.to_dict(), "depth": 3})
    with pytest.raises(ModelError, match="expected the same number"):
        replace(FIXED, up=((1, 4),))
    with pytest.raises(ModelError, match="positive"):
        replace(FIXED, stretches=(1.0, 0.0))
    with pytest.raises(ModelError, match=r"intermediate .*expected whole numbers, at least 1"):
        replace(FIXED, intermediate=(1, 0))
