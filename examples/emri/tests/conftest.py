"""Makes the example importable: it is no part of the installed package."""

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2]
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Templates that tests make are kept for this run only."""
    patch = pytest.MonkeyPatch()
    patch.setenv("EMRI_CACHE", str(tmp_path_factory.mktemp("emri")))
    yield
    patch.undo()
