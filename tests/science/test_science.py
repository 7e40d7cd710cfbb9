"""Guard what was tuned: what small scenes give is what it was when each constant was chosen.

A number that changes here is either a fault, or a decision: then `python tests/science/freeze.py` writes the new ones,
and the commit says why. `python tests/science/mutate.py` shows which constants these scenes hold.
"""

import json

import numpy as np
import pytest
from freeze import FROZEN
from scenes import SCENES, field


@pytest.mark.parametrize("name", SCENES)
def test_as_frozen(name):
    found, frozen = dict(SCENES[name]()), json.loads(FROZEN.read_text())[name]
    assert list(found) == list(frozen)
    for key, values in frozen.items():
        if any(isinstance(one, str) for one in values):
            assert found[key] == values, key
        else:
            now, then = (np.array(one, dtype=float) for one in (found[key], values))
            np.testing.assert_allclose(now, then, rtol=1e-5, atol=1e-9, err_msg=f"{name}: {key}")


def test_a_field_from_pixels_to_catalogue():
    """Engines and processors differ in the last digits of the class maps: so may an outline by a pixel."""
    found, frozen = dict(field()), json.loads(FROZEN.read_text())["field"]
    assert found["morphology"] == frozen["morphology"]
    assert found["flags"] == frozen["flags"]
    assert found["parent_label"] == frozen["parent_label"]
    for name, tolerance in {"area": 2.0, "x_centroid": 0.05, "y_centroid": 0.05}.items():
        np.testing.assert_allclose(found[name], frozen[name], rtol=0.02, atol=tolerance, err_msg=name)
    for name in (name for name in frozen if name.startswith(("half_light", "total_flux"))):
        now, then = (np.array(one[name], dtype=float) for one in (found, frozen))
        errors = np.array(frozen.get(name.replace("flux_", "fluxerr_"), 0), dtype=float)
        np.testing.assert_array_less(np.abs(now - then), 0.01 * np.abs(then) + 0.2 * np.nan_to_num(errors) + 0.01, name)
