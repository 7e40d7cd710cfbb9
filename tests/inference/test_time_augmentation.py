"""Uncertainty from the eight orientations of a tile."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from test_one_pass import BoxModel, classify_tiles, sky

import morpheus_lite as ml
from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.classification import entropy
from morpheus_lite.errors import OptionError
from morpheus_lite.inference.one_pass import OnePass, predict_symmetric, workers_in
from morpheus_lite.io import open_image, read_maps
from morpheus_lite.io.maps import MapFile


def softmax(score):
    odds = np.exp(score - score.max(axis=-1, keepdims=True))
    return (odds / odds.sum(axis=-1, keepdims=True)).astype(np.float32)


def pixelwise(snr, valid):
    """A network that looks at single pixels: the same in every orientation."""
    return softmax((snr * valid) @ np.array([[1, -1, 0, 2, 0.5], [0, 1, 3, -2, 0]], np.float32))


def lopsided(snr, valid):
    """One that looks at its neighbours to the right and above, too, and not alike."""
    return pixelwise(snr + 2 * np.roll(snr, -1, axis=2) + np.roll(snr, -1, axis=1), valid)


def tile(seed, shape=(2, 8, 12, 2)):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, shape).astype(np.float32), rng.uniform(size=shape) > 0.1


def test_a_symmetric_network_has_no_doubts_of_its_own():
    snr, valid = tile(1)
    found = predict_symmetric(pixelwise, snr, valid)
    np.testing.assert_allclose(found.probability, pixelwise(snr, valid), atol=1e-6)
    np.testing.assert_allclose(found.entropy, entropy(pixelwise(snr, valid)), atol=1e-6)
    assert found.tta_disagreement.max() < 1e-6


@given(seed=st.integers(0, 1000), height=st.integers(1, 5), width=st.integers(1, 5))
def test_the_disagreement_is_a_part_of_the_entropy(seed, height, width):
    found = predict_symmetric(lopsided, *tile(seed, (1, height, width, 2)))
    assert found.tta_disagreement.min() >= 0 and (found.tta_disagreement <= found.entropy + 1e-6).all()
    np.testing.assert_array_equal(found.entropy, entropy(found.probability))
    assert found.entropy.max() <= 1 + 1e-6
    np.testing.assert_allclose(found.probability.sum(axis=-1), 1, atol=1e-5)


def test_it_is_the_mean_over_all_orientations():
    snr, valid = tile(3)
    members = []
    for flip in (lambda a: a, lambda a: a[:, ::-1]):
        for transpose in (lambda a: a, lambda a: a.swapaxes(1, 2)):
            for mirror in (lambda a: a, lambda a: a[:, :, ::-1]):
                answer = lopsided(*(transpose(flip(mirror(a))) for a in (snr, valid)))
                members.append(mirror(flip(transpose(answer))))
    members = np.array(members)
    assert len(np.unique(members.round(4).reshape(8, -1), axis=0)) == 8
    found = predict_symmetric(lopsided, snr, valid)
    np.testing.assert_allclose(found.probability, members.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.entropy - found.tta_disagreement, entropy(members).mean(axis=0), atol=1e-6)
    assert found.tta_disagreement.max() > 0.01


def test_turning_the_sky_turns_the_answer():
    snr, valid = tile(4)
    found = predict_symmetric(lopsided, snr, valid)
    turned = predict_symmetric(lopsided, *(np.rot90(a, axes=(1, 2)) for a in (snr, valid)))
    np.testing.assert_allclose(np.rot90(found.tta_disagreement, axes=(1, 2)), turned.tta_disagreement, atol=1e-6)


def test_a_margin_that_is_cut_off_does_not_matter():
    snr, valid = tile(5)
    inner = predict_symmetric(lambda s, v: pixelwise(s, v)[:, 2:-2, 2:-2], snr, valid)
    whole = predict_symmetric(pixelwise, snr, valid)
    np.testing.assert_allclose(inner.probability, whole.probability[:, 2:-2, 2:-2], atol=1e-6)


def test_entropy_goes_from_one_class_to_all_alike():
    assert entropy(np.eye(5, dtype=np.float32)).max() == 0
    assert entropy(np.full(5, 0.2, np.float32)) == pytest.approx(1)


class LopsidedModel(BoxModel):
    """A stand-in for a network that is not the same in every orientation."""

    def predict(self, snr, valid):
        """Probabilities of five classes."""
        return softmax(3 * np.tanh(super().predict(snr + np.roll(snr, 1, axis=2), valid) / 10))


@settings(max_examples=8, deadline=None)
@given(st.integers(24, 90), st.integers(24, 90), st.integers(8, 100), st.integers(1, 3))
def test_maps_of_uncertainty_do_not_depend_on_tiles_nor_on_where_they_are(
    tmp_path_factory, height, width, tile, workers
):
    image = sky((height, width))
    image.valid[:5, :7] = False
    whole = classify_tiles(image, LopsidedModel(), uncertainty=True, tile=200)
    path = tmp_path_factory.mktemp("maps") / "maps.fits"
    inferer = OnePass(LopsidedModel(), uncertainty=True, tile=tile, workers=workers)
    with MapFile(path, image.shape, inferer.kinds, wcs=None, provenance=inferer.record) as maps:
        inferer.fill(open_image(image), maps)
    again, _, record = read_maps(path)
    for name in ("probability", "entropy", "tta_disagreement"):
        np.testing.assert_allclose(getattr(again, name), getattr(whole, name), atol=1e-6, err_msg=name)
        assert np.isnan(getattr(again, name)[:5, :7]).all()
    np.testing.assert_allclose(whole.entropy[5:], entropy(whole.probability)[5:], atol=2e-6)
    assert whole.tta_disagreement[5:].max() > 1e-3 and record["symmetries"] == 8


def test_nobody_pays_for_what_was_not_asked_for():
    plain = classify_tiles(sky((40, 40)), LopsidedModel())
    assert plain.entropy is None and plain.tta_disagreement is None and "symmetries" not in plain.provenance
    memory = 1e9
    assert workers_in(memory, LopsidedModel(), 2, uncertainty=True, tile=400) <= workers_in(
        memory, LopsidedModel(), 2, tile=400
    )


def test_uncertainty_is_written_with_the_maps_and_read_back(tmp_path):
    image = sky((30, 40))
    maps = classify_tiles(image, LopsidedModel(), uncertainty=True)
    for compress in (False, True):
        path = ml.write_maps(image, maps, tmp_path / "maps.fits", compress=compress, overwrite=True)
        np.testing.assert_array_equal(read_maps(path)[0].tta_disagreement, maps.tta_disagreement)
    with fits.open(ml.write_maps(image, maps, tmp_path / "new.fits")) as hdus:  # as version 0.1 wrote them
        hdus["ENTROPY"].data = hdus["ENTROPY"].data - hdus["TTA_DISAGREEMENT"].data
        hdus["ENTROPY"].name, hdus["TTA_DISAGREEMENT"].name = "ALEATORIC", "EPISTEMIC"
        hdus.writeto(tmp_path / "old.fits")
    old = read_maps(tmp_path / "old.fits")[0]
    np.testing.assert_allclose(old.entropy, maps.entropy, atol=1e-6)
    np.testing.assert_allclose(old.tta_disagreement, maps.tta_disagreement, atol=1e-6)
    only = ml.write_maps(image, maps, tmp_path / "only.fits", planes=["mean", "tta_disagreement"])
    assert read_maps(only)[0].entropy is None


def test_a_file_is_classified_with_uncertainty(tmp_path, sim_field):
    options = ClassifyOptions(model="hst", uncertainty=True, products=("maps",))
    products = ml.classify_file(sim_field, tmp_path, options)
    found, labels, record = read_maps(products.paths["maps"])
    assert record["symmetries"] == 8 and labels.max() > 0
    source = found.source_probability > 0.5
    assert found.tta_disagreement.min() >= 0 and found.tta_disagreement.max() < 1
    assert found.entropy[source].mean() > 2 * found.entropy[~source].mean()  # sky is easy
    with pytest.raises(OptionError, match="variance over them is in its maps"):
        ml.classify_file(sim_field, tmp_path / "b", ClassifyOptions(model="hausen2020", uncertainty=True))
