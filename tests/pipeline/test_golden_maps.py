"""Class maps at stride 1 are those of the published package."""

import numpy as np
import pytest

import morpheus_lite as ml
from morpheus_lite.models.registry import load_model
from morpheus_lite.pipeline.classify import classify


def compare(folder, name, engine):
    """Classify a golden input as the release did, and hold every map against its own."""
    image = ml.read_image(folder / f"{name}.fits").select(["H", "J", "V", "Z"])
    golden = np.load(folder / f"{name}.npz")
    result = classify(image, load_model("hausen2020", engine=engine), stride=1, edges="leave")
    np.testing.assert_array_equal(result.coverage, golden["n"])
    seen = golden["n"] > 0
    mean, variance, vote = (
        np.stack([golden[label + suffix] for label in ml.CLASSES], axis=2) for suffix in ("_mean", "_var", "")
    )
    assert np.abs(result.probability - mean)[seen].max() < 2e-5
    assert np.abs(result.variance - variance)[seen].max() < 2e-6
    differing = np.abs(result.vote - vote)[seen]
    assert (differing.max(axis=1) > 1e-6).mean() <= 1e-3
    # One vote is 1 / n: 1/900 inside, more near the border.
    assert (differing * golden["n"][seen, None]).max() < 2.001
    assert np.isnan(result.probability[~seen]).all()


def test_simulated_field(sim_field, engine):
    compare(sim_field.parent, "sim_a", engine)


@pytest.mark.shared
def test_real_field(shared, engine):
    compare(shared / "golden" / "morpheus_astro_0.5.1", "xdf_a", engine)
