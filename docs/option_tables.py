"""A directive that lists options as their dataclass declares them: ``.. options:: package.module.Class``."""

from importlib import import_module

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from morpheus_lite.config.schema import Declared, declared


class OptionTable(Directive):
    """A table of the options of a dataclass, with those of the dataclasses in it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        rows = [("Command line", "In Python and manifests", "Meaning")]
        rows += [_row(one) for one in declared(getattr(import_module(module), name))]
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 25 25 50", ""]
        for row in rows:
            lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(row)]
        node = nodes.Element()
        self.state.nested_parse(StringList(lines, "options"), self.content_offset, node)
        return node.children


def _row(one: Declared) -> tuple[str, str, str]:
    default = one.bounds.get("unset") if one.default is None else one.default
    is_flag = one.hint is bool and not one.default
    shown = (
        ",".join(map(str, default)) if isinstance(default, tuple) else {True: "on", False: "off"}.get(default, default)
    )
    words = [one.bounds.get("help", ""), one.bounds.get("more", "")]
    words += [] if is_flag else [f"{one.expected[0].upper()}{one.expected[1:]}; default: {shown}."]
    flag = f"``--{'no-' if one.default is True else ''}{one.flag}``" if one.flag else "(none)"
    return flag, f"``{'.'.join(one.path)}``", " ".join(filter(None, words))


def setup(app) -> dict:
    """Register the directive."""
    app.add_directive("options", OptionTable)
    return {"parallel_read_safe": True}
