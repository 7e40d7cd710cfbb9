"""Docstrings: their examples run and print what they say, and their first lines say what a thing is or does."""

import ast
import doctest
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import morpheus_lite

MODULES = [
    "morpheus_lite",
    *(module.name for module in pkgutil.walk_packages(morpheus_lite.__path__, "morpheus_lite.")),
]


QUESTIONS = {"What", "Which", "Whether", "How", "Where", "Who", "Whose"}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("morpheus_lite._weights")])
def test_examples(name):
    found = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0


def test_first_lines_name_the_thing_or_say_what_it_does():
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in Path(morpheus_lite.__file__).parent.rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
        first = [text.splitlines()[0] for node in nodes if (text := ast.get_docstring(node))]
        assert [line for line in first if line.split()[0] in QUESTIONS] == [], path
