"""The example stands beside the package: neither knows the other."""

import re
from pathlib import Path

import emri

EXAMPLE = Path(emri.__file__).parent
ROOT = EXAMPLE.parents[1]


def test_the_package_and_its_requirements_do_not_mention_the_example():
    files = [ROOT / "setup.cfg", *sorted((ROOT / "morpheus_lite").rglob("*.py"))]
    assert len(files) > 50
    assert [path.name for path in files if re.search(r"\bemri\b", path.read_text(encoding="utf-8"))] == []


def test_the_example_does_not_import_the_package():
    importing = re.compile(r"^\s*(import|from) morpheus_lite", re.MULTILINE)
    assert [path.name for path in EXAMPLE.glob("*.py") if importing.search(path.read_text(encoding="utf-8"))] == []


def test_what_is_stored_for_the_example_is_small():
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.suffix in (".npz", ".png", ".json")) < 8e6
