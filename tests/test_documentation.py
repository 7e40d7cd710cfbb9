"""The documentation says what is: options, pages, files, names."""

import pkgutil
import re
from pathlib import Path

import click
import pytest

from morpheus_lite.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OF_OTHERS = {
    "--port",
    "--nthreads",
    "--nworkers",
    "--protocol",
    "--tls-ca-file",
    "--action",
    "--gpus",
    "--rm",
    "--create-namespace",
    "--generate-name",
    "--ml-threshold",
    "--segmentation-algorithm",
    "--release",
    "--sides",
    "--by-kind",
    "--psf",
    "--follow",
    "--side",
    "--tiles",
    "--tile",
    "--across",
    "--overlap",
    "--cost",
    "--second",
    "--third",
    "--seeds",
}
"""Options of other programs, and of the benchmarks."""

if not DOCS.is_dir():
    pytest.skip("not running from a checkout", allow_module_level=True)


def pages():
    written = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts and "decisions" not in path.parts]
    return [ROOT / "README.md", *sorted(written)]


def test_every_option_that_a_page_names_is_there():
    context = click.Context(cli)
    known = set(OF_OTHERS)
    for name in COMMANDS:
        for one in cli.get_command(context, name).get_params(context):
            known |= {*one.opts, *one.secondary_opts}
    known |= {"--version", "--help", "--model"}
    wrong = {}
    for path in pages():
        lines = [
            line
            for line in path.read_text().splitlines()
            if re.search(r"morpheus|^\S?.*`--", line) and "python tests/" not in line
        ]
        named = {option for line in lines for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w<-])", line)}
        if named - known:
            wrong[str(path.relative_to(ROOT))] = sorted(named - known)
    assert wrong == {}


def test_every_file_that_the_readme_links_is_there():
    for link in re.findall(r"\]\(((?!https?:)[^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).is_file(), link


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60


def test_every_page_stands_in_an_index():
    for index in DOCS.glob("*/index.md"):
        listed = set(re.findall(r"^([a-z0-9_]+)$", index.read_text(), re.MULTILINE))
        there = {path.stem for path in index.parent.glob("*.*") if path.suffix in (".md", ".rst")} - {"index"}
        assert there <= listed, f"{index.parent.name}: {sorted(there - listed)}"


def test_every_name_of_the_reference_is_there():
    text = (DOCS / "reference" / "api.rst").read_text()
    directives = re.findall(r"^\.\. (currentmodule|auto(?:class|function|data))::\s*(\S+)", text, re.MULTILINE)
    assert len(directives) > 20
    module = ""
    for kind, name in directives:
        if kind == "currentmodule":
            module = name
        else:
            pkgutil.resolve_name(name if name.startswith("morpheus_lite.") else f"{module}.{name}")
