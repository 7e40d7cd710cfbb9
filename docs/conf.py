"""Sphinx configuration."""

import os
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

from figures import network_figure

from morpheus_lite import __version__
from morpheus_lite.models.network_config import HAUSEN2020, OnePassConfig
from morpheus_lite.models.registry import read_info

HERE = Path(__file__).parent
# For the kernels that run the pages: the command, the files of `example_files`.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
os.environ["IPYTHONDIR"] = str(HERE / "_build" / "ipython")
startup = HERE / "_build" / "ipython" / "profile_default" / "startup"
startup.mkdir(parents=True, exist_ok=True)
shutil.copy(HERE / "kernel_startup.py", startup)
os.environ["MORPHEUS_EXAMPLES"] = str(HERE.parent / "examples" / "data")

project = "morpheus_lite"
author = "the morpheus_lite developers"
copyright = "2026, the morpheus_lite developers"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_click",
    "option_tables",
]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_render_markdown_format = "myst"
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
templates_path = []
html_theme = "furo"
html_title = f"morpheus_lite {release}"
html_static_path = ["_static"]
html_css_files = ["wide_outputs.css"]
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
doctest_global_setup = """
import numpy as np
import morpheus_lite as ml
from morpheus_lite import *
from morpheus_lite.models.networks import build_unet
from morpheus_lite.models.network_config import HAUSEN2020
"""
doctest_test_doctest_blocks = "default"


def _answers(host: str) -> bool:
    """True if the documentation of other packages can be linked from here."""
    with suppress(OSError), socket.create_connection((host, 443), timeout=2):
        return True
    return False


if _answers("docs.astropy.org"):
    intersphinx_mapping = {
        "astropy": ("https://docs.astropy.org/en/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "photutils": ("https://photutils.readthedocs.io/en/stable/", None),
        "python": ("https://docs.python.org/3/", None),
    }

STATIC = HERE / "_static"
network_figure.draw(STATIC / "network.svg", HAUSEN2020)
network_figure.draw(STATIC / "onepass.svg", OnePassConfig.from_dict(read_info("hst").network))
