"""Metadata of the release: one version, one list of dependencies, the commands of the containers."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"astropy-base": "astropy", "matplotlib-base": "matplotlib"}


@pytest.fixture(scope="module")
def setup():
    parser = ConfigParser()
    if not parser.read(ROOT / "setup.cfg"):
        pytest.skip("not running from a checkout")
    return parser


def requirement(text):
    """Name and lowest version of a requirement: ``numpy>=2.0`` or ``numpy >=2.0``."""
    return re.match(r"([A-Za-z0-9_.-]+)\s*(?:>=\s*([\d.]+))?", text).groups()


def test_one_version(setup):
    version = setup["metadata"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f'set version = "{version}"' in (ROOT / "packaging/conda/meta.yaml").read_text()
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version


def test_the_conda_recipe_has_the_dependencies_of_the_package(setup):
    recipe = (ROOT / "packaging/conda/meta.yaml").read_text()
    lines = re.search(r"\n  run:\n((?:    - .*\n)+)", recipe)[1].splitlines()
    found = {CONDA_NAMES.get(name, name): lowest for name, lowest in (requirement(line[6:]) for line in lines)}
    listed = [line for line in setup["options"]["install_requires"].splitlines() if line and line[0] != "#"]
    expected = dict(requirement(line) for line in listed)
    assert found == {"python": setup["options"]["python_requires"][2:], **expected}


def test_every_tested_python_has_its_classifier(setup):
    ran = set(re.findall(r"(?:python_of|echo) (3\.\d+)", (ROOT / ".ci/run").read_text()))
    stated = set(re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"]))
    assert ran == stated


def test_containers_install_what_there_is(setup):
    extras = set(setup["options.extras_require"])
    for name in ("Dockerfile", "morpheus.def"):
        text = (ROOT / "packaging" / name).read_text()
        assert set(re.findall(r"\[(\w+)\]['\"]", text)) <= extras and "python:3.12-slim" in text
