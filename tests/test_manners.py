"""The package behaves: quick to import, quiet, complete."""

import ast
import subprocess
import sys
from collections import defaultdict
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest

import morpheus_lite

ROOT = Path(morpheus_lite.__file__).parent
FIELD = Path(__file__).parents[1] / "examples" / "data" / "demo_field.fits"
HEAVY = {"keras", "tensorflow", "dask", "distributed", "matplotlib", "galsim", "photutils", "skimage"}


def loaded_by(statement):
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"import sys\n{statement}\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import morpheus_lite", "import morpheus_lite.cli.main"])
def test_import_is_light(statement):
    assert not loaded_by(statement) & HEAVY


def test_help_does_not_load_the_heavy_libraries():
    statement = "from morpheus_lite.cli import main\nimport contextlib, io\n"
    statement += "with contextlib.redirect_stdout(io.StringIO()): main(['--help'])"
    assert not loaded_by(statement) & HEAVY


def test_only_model_training_and_pretrained_need_keras():
    rooms = ("inference.sliding_window", "catalog", "io", "segmentation.detection")
    statement = "import " + ", ".join(f"morpheus_lite.{room}" for room in rooms)
    assert not loaded_by(statement) & {"keras", "tensorflow", "matplotlib", "dask"}


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """What the products of the demo field loaded, and where they are."""
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("classified")
    return folder, run_by(f"classify {FIELD} -o {folder} --name demo --device cpu --products maps,catalog")


def run_by(arguments):
    """Top-level modules in a fresh interpreter after a command that succeeds."""
    code = f"import sys\nfrom morpheus_lite.cli import main\nassert main({arguments.split()!r}) == 0\n"
    code += "print(); print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_classify_on_a_cpu_needs_no_tensorflow(classified):
    assert not classified[1] & {"keras", "tensorflow", "matplotlib"} and "openvino" in classified[1]


def test_openvino_does_not_report_that_it_is_used(classified):
    assert "openvino_telemetry" not in classified[1]


def test_the_pipeline_imports_nothing_slow():
    code = "import sys, morpheus_lite.pipeline.classify\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "scipy.optimize",
        "scipy.signal",
        "scipy.sparse",
        "skimage",
        "astropy.nddata",
        "photutils",
        "matplotlib",
    }


def test_maps_alone_need_nothing_that_measures_or_draws(tmp_path):
    pytest.importorskip("openvino")
    loaded = run_by(f"classify {FIELD} -o {tmp_path} --device cpu --products maps --planes mean")
    assert not loaded & {"keras", "tensorflow", "matplotlib"}


def test_catalog_needs_no_tensorflow(classified, tmp_path):
    folder, _ = classified
    loaded = run_by(f"catalog {FIELD} --maps {folder / 'demo_morpheus.fits'} -o {tmp_path / 'again.ecsv'}")
    assert not loaded & {"keras", "tensorflow", "openvino"}


def test_batch_on_a_cpu_needs_no_tensorflow(tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("distributed")
    assert not run_by(f"batch {FIELD} -o {tmp_path} --workers 0 --no-merge") & {"keras", "tensorflow"}


def test_every_public_name_is_there_and_documented():
    for name in morpheus_lite.__all__:
        assert getattr(morpheus_lite, name) is not None
        if callable(getattr(morpheus_lite, name)):
            assert getattr(morpheus_lite, name).__doc__, f"{name} has no docstring"


@pytest.mark.parametrize(
    "call",
    [
        lambda image, maps, path: morpheus_lite.segment(image),
        lambda image, maps, path: morpheus_lite.colorize(image),
        lambda image, maps, path: morpheus_lite.measure(image.valid[..., 0].astype(int), image.data, maps),
        lambda image, maps, path: morpheus_lite.measure(image.valid[..., 0].astype(int), maps, image),
        lambda image, maps, path: morpheus_lite.measure_correlated_noise(image.data, image.valid[..., 0]),
        lambda image, maps, path: morpheus_lite.write_catalog(image, path),
        lambda image, maps, path: morpheus_lite.write_regions(maps, path),
        lambda image, maps, path: morpheus_lite.write_maps(maps, image, path),
        lambda image, maps, path: morpheus_lite.write_report(maps, image, image.valid[..., 0], None, path),
    ],
)
def test_the_wrong_argument_is_named(call, tmp_path):
    seen = np.ones((4, 4), dtype=bool)
    image = morpheus_lite.SkyImage(np.zeros((4, 4, 1), np.float32), ("1",), seen[..., None])
    maps = morpheus_lite.Classification(np.full((4, 4, 5), 0.2, np.float32), seen.astype(np.int32), seen)
    with pytest.raises(morpheus_lite.InputError, match=r"^\w+ takes a \w+ here, not a \w+"):
        call(image, maps, tmp_path / "out.fits")
    assert not list(tmp_path.iterdir())


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        morpheus_lite.nonsense


def test_every_subpackage_is_in_the_distribution():
    setup = ROOT.parent / "setup.cfg"
    if not setup.is_file():
        pytest.skip("not running from a checkout")
    parser = ConfigParser()
    parser.read(setup)
    listed = set(parser["options"]["packages"].split())
    present = {".".join(init.parent.relative_to(ROOT.parent).parts) for init in ROOT.rglob("__init__.py")} | {
        "morpheus_lite._weights"
    }
    assert listed == present


ALLOWED = {"log"}
"""Each module's own logger."""


def test_no_public_name_is_defined_twice():
    homes = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for name in defined_names(ast.parse(path.read_text())):
            if not name.startswith("_") and name not in ALLOWED:
                homes[name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def defined_names(module):
    """Names that the code of a module defines at its top level, without those it imports."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
