"""Bad columns and pixels do not change what a source is."""

import numpy as np
import pytest
from star_fields import galaxy

import morpheus_lite as ml
from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.core.image import SkyImage

CELL, N = 48, 36


def classes(model: str, valid: np.ndarray, light: np.ndarray) -> list[str]:
    """Class of the source in the middle of each cell, by the light of its pixels."""
    data = light + np.random.default_rng(1).normal(size=light.shape)
    image = SkyImage(data[:, :, None].astype(np.float32), ("F160W",), valid[:, :, None])
    probability = np.nan_to_num(ml.classify(image, model).probability)
    found = []
    for y, x in np.ndindex(N // 6, 6):
        middle = np.s_[y * CELL + 16 : y * CELL + 33, x * CELL + 16 : x * CELL + 33]
        own = probability[middle] * np.where(valid[middle], np.maximum(data[middle], 0), 0)[..., None]
        found.append(CLASSES[np.delete(own.sum(axis=(0, 1)), BACKGROUND).argmax()])
    return found


@pytest.mark.parametrize(("model", "least"), [("hst", 34), ("any", 33)])
def test_spheroids_with_a_bad_column_stay_spheroids(model, least):
    rng = np.random.default_rng(3)
    cells = [galaxy(CELL, rng.uniform(3, 7), 4, rng.uniform(2, 10), 0.9) for _ in range(N)]
    light = np.block([cells[row * 6 : row * 6 + 6] for row in range(6)])
    valid = np.ones(light.shape, bool)
    for number, (y, x) in enumerate(np.ndindex(6, 6)):
        column = x * CELL + CELL // 2 + rng.integers(-2, 3)
        valid[y * CELL : (y + 1) * CELL, column : column + number % 3 + 1] = False
    # Not bridged: 27 and 25.
    assert classes(model, valid, light).count("spheroid") >= least
