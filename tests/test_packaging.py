"""Metadata of the release: one version, one list of dependencies, the commands of the containers."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

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
    assert recipe()["context"]["version"] == version
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version


def recipe():
    """The conda recipe as it is written."""
    return yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text())


def test_the_conda_recipe_has_the_dependencies_of_the_package(setup):
    needed = (requirement(line) for line in recipe()["requirements"]["run"])
    found = {CONDA_NAMES.get(name, name): lowest for name, lowest in needed}
    listed = [line for line in setup["options"]["install_requires"].splitlines() if line and line[0] != "#"]
    expected = dict(requirement(line) for line in listed)
    assert found == {"python": setup["options"]["python_requires"][2:], **expected}


def test_the_conda_recipe_renders():
    rattler_build = pytest.importorskip("rattler_build", reason="py-rattler-build is not installed")
    variants = rattler_build.VariantConfig({"c_compiler": ["gcc"], "c_stdlib": ["sysroot"]})
    (rendered,) = rattler_build.Stage0Recipe.from_file(ROOT / "packaging/conda/recipe.yaml").render(variants)
    made = rendered.recipe.to_dict()
    assert made["source"][0]["url"].endswith(f"/morpheus_lite-{made['package']['version']}.tar.gz")
    assert made["build"]["python"]["entry_points"] == ["morpheus = morpheus_lite.cli:main"]
    assert all((ROOT / name).is_file() for name in made["about"]["license_file"])


def test_every_tested_python_has_its_classifier(setup):
    ran = set(re.findall(r"(?:python_of|echo) (3\.\d+)", (ROOT / ".ci/run").read_text()))
    stated = set(re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"]))
    assert ran == stated


def test_containers_install_what_there_is(setup):
    extras = set(setup["options.extras_require"])
    for name in ("Dockerfile", "morpheus.def"):
        text = (ROOT / "packaging" / name).read_text()
        assert set(re.findall(r"\[(\w+)\]['\"]", text)) <= extras and "python:3.12-slim" in text
