"""Change each tuned constant a little, in memory, and say whether the scenes notice.

``python tests/science/mutate.py [PART OF A NAME ...]``. Every constant of the numeric rooms and every default of their
options, except those of `NOT_TUNED`, is multiplied and divided by 1.3 (small whole numbers: one more and one less),
each time in a process of its own. Exit status 1 if one is noticed in neither direction.
"""

import ast
import dataclasses
import importlib
import json
import math
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from freeze import FROZEN
from scenes import SCENES

import morpheus_lite as ml

ROOMS = ("noise", "inference", "segmentation", "catalog")
OPTIONS = (ml.DetectionOptions, ml.DeblendingOptions, ml.MeasureOptions)
SCENES_OF = {
    "noise": ("noise_of_sums", "noise_of_light", "mesh_of_noise", "broken_light"),
    "inference": ("domain",),
    "segmentation": ("detections", "blends"),
    "catalog": ("catalogue", "compact", "partly_covered", "flags", "pulls"),
}
NOT_TUNED = {
    "memory and speed": """
        BATCH REGION TILE_SIDES LARGEST_BOX MOST_PIECES _SIDE MEMORY_OF_A_TILE one_pass._NEAR largest_side
        _BYTES_READ _BYTES_SYMMETRIES _LONGEST _MOST_VOXELS _STRIP _STRIP_WIDTH _MOST_SIZES
    """,
    "rounding and convergence": """
        SCALE _UNIT _NOTHING one_pass._FLOOR _FLOODED _FAR _SETTLED
        _EXACT _SMALLEST_REACH _MOST_DOUBT
    """,
    "definitions": """
        _BORDER N_SYMMETRIES MIN_DISTANCE NANOJANSKY_ZERO_POINT _THINNEST _SIGMA_OF_FWHM _PIXEL
        _MAGNITUDE _SIDES_OF_SUMS segments._N curve_of_growth._HALF
    """,
}
RAISES = 100


def is_tunable(value: Any) -> bool:
    """Whether a value is a number, or a tuple of numbers."""
    if isinstance(value, tuple):
        return bool(value) and all(one is None or is_tunable(one) for one in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def changed(value: Any, factor: float) -> Any:
    """A constant, larger or smaller."""
    if isinstance(value, tuple):
        return tuple(changed(one, factor) for one in value)
    if isinstance(value, float):
        return value * factor
    if value is None:
        return None
    return value + int(math.copysign(1, factor - 1)) if abs(value) <= 16 else round(value * factor)


def constants() -> Iterator[tuple[str, str, Any, Callable[[Any], None]]]:
    """Room, name and value of each constant, and what sets it."""
    for room in ROOMS:
        package = importlib.import_module(f"morpheus_lite.{room}")
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            source = Path(str(module.__file__))
            for statement in ast.parse(source.read_text()).body if source.suffix == ".py" else ():
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                    name = statement.targets[0].id
                    if is_tunable(value := getattr(module, name)):
                        yield room, f"{room}.{found.name}.{name}", value, partial(set_constant, module, name)
    for options in OPTIONS:
        room = "catalog" if options is ml.MeasureOptions else "segmentation"
        for one in dataclasses.fields(options):
            if is_tunable(one.default) and one.default:
                yield room, f"{options.__name__}.{one.name}", one.default, partial(set_default, options, one.name)


def set_constant(home: ModuleType, name: str, new: object) -> None:
    """Set a constant in its module and, if it is public, in those that import it."""
    old = getattr(home, name)
    for module in [one for key, one in sys.modules.items() if key.startswith("morpheus_lite.")]:
        if module is home or (not name.startswith("_") and module.__dict__.get(name) is old):
            setattr(module, name, new)


def set_default(options: type, name: str, new: object) -> None:
    with_default = [one.name for one in dataclasses.fields(options) if one.default is not dataclasses.MISSING]
    defaults = list(options.__init__.__defaults__)
    defaults[with_default.index(name)] = new
    options.__init__.__defaults__ = tuple(defaults)


def differing(room: str) -> int:
    """Number of the first scene that is not as frozen, from 1; 0 if all are."""
    frozen = json.loads(FROZEN.read_text())
    for name in SCENES_OF[room]:
        for key, values in SCENES[name]():
            if not is_same(values, frozen[name][key]):
                return 1 + list(SCENES).index(name)
    return 0


def is_same(found: list, frozen: list) -> bool:
    if found == frozen or len(found) != len(frozen) or any(isinstance(one, str) for one in frozen):
        return found == frozen
    now, then = (np.array(one, dtype=float) for one in (found, frozen))
    return bool(np.allclose(now, then, rtol=1e-5, atol=1e-9, equal_nan=True))


def noticed(room: str, apply: Callable[[Any], None], new: Any) -> str:
    """The scene that notices, in a child process; empty if none does."""
    child = os.fork()
    if not child:
        try:
            warnings.simplefilter("ignore")
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            apply(new)
            code = differing(room)
        except Exception:
            code = RAISES
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "an error" if code == RAISES or code < 0 else list(SCENES)[code - 1] if code else ""


def main(wanted: list[str]) -> int:
    unnoticed, left_out = 0, " ".join(NOT_TUNED.values()).split()
    if changed_already := [room for room in ROOMS if noticed(room, lambda _: None, None)]:
        sys.exit(f"{', '.join(changed_already)}: not as frozen before any change; run pytest tests/science")
    for room, name, value, apply in constants():
        if any(f".{name}".endswith(f".{one}") for one in left_out) or (
            wanted and not any(part in name for part in wanted)
        ):
            continue
        larger, smaller = (noticed(room, apply, changed(value, factor)) for factor in (1.3, 1 / 1.3))
        unnoticed += not larger and not smaller
        print(f"{name:55} {value!s:22.22} up: {larger or '-':16} down: {smaller or '-'}", flush=True)
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
