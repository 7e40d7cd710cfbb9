"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine may be slow at any moment. What lands is judged by examples that do not change from run to run; new
# ones are tried on the developers' machines.
settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

DATA = Path(__file__).parent / "data"
SHARED = Path(os.environ.get("MORPHEUS_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real data and golden outputs that are not part of the project; skips without it.

    With ``MORPHEUS_REQUIRE_SHARED`` set, as on a machine that has the folder, its absence is a failure.
    """
    if (SHARED / "golden").is_dir():
        return SHARED
    if os.environ.get("MORPHEUS_REQUIRE_SHARED"):
        pytest.fail(f"{SHARED} is required here and is not there")
    pytest.skip("no shared data beside the checkout")


@pytest.fixture(scope="module", params=["openvino", "tensorflow"])
def engine(request) -> str:
    """What runs a network: each of both in turn; skips OpenVINO where it is not installed."""
    if request.param == "openvino":
        pytest.importorskip("openvino")
    return request.param


@pytest.fixture(scope="session")
def sim_field() -> Path:
    """A simulated four-band field of 120 x 130 px, for which the published package's outputs are known."""
    return DATA / "golden" / "sim_a.fits"
