"""Count the modules and functions of the package that one command executes.

Run: ``python tests/benchmarks/executed_modules.py classify examples/data/demo_field.fits -o OUT``. Importing a module
does not count, calling a function of it does, in any thread.
"""

import sys
import threading
from pathlib import Path
from types import FrameType

import morpheus_lite
from morpheus_lite.cli.main import main

PACKAGE = Path(morpheus_lite.__file__).parent
OPTIMIZED = 1
"""Flag of code that is a function's, not a module's or a class's."""


def executed(arguments: list[str]) -> dict[str, set[int]]:
    """First lines of the functions that a command calls, by module."""
    called: dict[str, set[int]] = {}
    prefix = f"{PACKAGE}/"

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_flags & OPTIMIZED and code.co_filename.startswith(prefix):
            called.setdefault(code.co_filename.removeprefix(prefix), set()).add(code.co_firstlineno)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        main(arguments)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return called


if __name__ == "__main__":
    found = executed(sys.argv[1:])
    for module, functions in sorted(found.items()):
        print(f"{len(functions):4d}  {module}")
    print(f"{len(found)} modules, {sum(map(len, found.values()))} functions")
