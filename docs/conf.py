"""Sphinx configuration."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

from figures import network_figure

from morpheus_lite import __version__

project = "morpheus_lite"
author = "the morpheus_lite developers"
copyright = "2026, the morpheus_lite developers"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_click",
    "option_tables",
]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
exclude_patterns = ["_build"]
templates_path = []
html_theme = "furo"
html_title = f"morpheus_lite {release}"
html_static_path = ["_static"]
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
doctest_global_setup = """
import numpy as np
import morpheus_lite as ml
from morpheus_lite import *
from morpheus_lite.models.unet import build_unet
from morpheus_lite.models.unet_config import HAUSEN2020
"""
doctest_test_doctest_blocks = "default"

network_figure.draw(Path(__file__).parent / "_static" / "network.svg")
