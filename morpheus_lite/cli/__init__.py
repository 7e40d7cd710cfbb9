"""The ``morpheus`` command: parse, call one public function, report; no science."""

from morpheus_lite.cli.main import main

__all__ = ["main"]
