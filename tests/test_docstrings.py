"""The examples in docstrings run and print what they say."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import morpheus_lite

MODULES = [
    "morpheus_lite",
    *(module.name for module in pkgutil.walk_packages(morpheus_lite.__path__, "morpheus_lite.")),
]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("morpheus_lite._weights")])
def test_examples(name):
    found = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0
