"""The benchmarks, which no other test runs, still start, and what they use of the package is there."""

import ast
import re
import runpy
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pydoc import locate

import pytest

FOLDER = Path(__file__).parent / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_says_how_it_is_used(script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    try:
        runpy.run_path(str(FOLDER / script), run_name="__main__")
    except SystemExit as stop:
        assert stop.code in (0, None)
        assert "usage" in capsys.readouterr().out
    except ModuleNotFoundError as error:
        assert error.name.partition(".")[0] != "morpheus_lite" and not (FOLDER / f"{error.name}.py").exists()
        pytest.skip(f"{error.name} is not installed")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_names_what_is_there(script):
    nodes = list(ast.walk(ast.parse((FOLDER / script).read_text())))
    imports = [one for one in nodes if isinstance(one, ast.ImportFrom) and one.module.startswith("morpheus_lite")]
    texts = {one.value for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    if any("survey" in one.module for one in imports) and find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    for one in imports:
        module = import_module(one.module)
        missing = [alias.name for alias in one.names if not hasattr(module, alias.name)]
        assert [name for name in missing if find_spec(f"{one.module}.{name}") is None] == []
    assert [text for text in texts if re.fullmatch(r"morpheus_lite(\.\w+)+", text) and not locate(text)] == []
