"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("MORPHEUS_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real data and golden outputs that are not part of the project; skips without it."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("no shared data beside the checkout")
    return SHARED
