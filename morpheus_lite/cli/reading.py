"""Input options of several commands: the image, its bands, noise and zero-points."""

import math
from collections.abc import Callable
from typing import Any

import click

from morpheus_lite.errors import OptionError

dq_bits_option = click.option(
    "--dq-bits",
    metavar="BITS|NAMES|any",
    help="Bits of the masks that make a pixel bad: 1,16 or SAT,CR or ~DETECTED (default: as header and camera say).",
)
"""Which bits of masks are bad: for every command that reads images."""

_OPTIONS = (
    click.option(
        "--band", "bands", multiple=True, metavar="NAME=FILE[EXT]", help="One band of an image kept in several files."
    ),
    click.option("--band-names", metavar="A,B,...", help="Names of the bands, in order, when the file has none."),
    click.option("--rms", multiple=True, metavar="[NAME=]FILE", help="Noise (standard deviation) plane."),
    click.option("--weight", multiple=True, metavar="[NAME=]FILE", help="Inverse-variance plane."),
    click.option("--dq", multiple=True, metavar="[NAME=]FILE", help="Mask of bad pixels; none: do without."),
    dq_bits_option,
    click.option("--zero-point", multiple=True, metavar="NAME=MAG", help="AB magnitude of one data unit."),
)


def image_options(command: Callable) -> Callable:
    """Add the options that tell how an image is read."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def reading_of(chosen: dict[str, Any]) -> dict[str, Any]:
    """Collect the values of `image_options` as keyword arguments of `read_image`."""
    reading: dict[str, Any] = {}
    if chosen["band_names"]:
        reading["bands"] = list(names(chosen["band_names"]))
    reading |= {plane: plane_option(f"--{plane}", chosen[plane]) for plane in ("rms", "weight", "dq") if chosen[plane]}
    if chosen["dq_bits"]:
        reading["dq_bits"] = chosen["dq_bits"]
    if chosen["zero_point"]:
        points = pairs("--zero-point", chosen["zero_point"])
        reading["zero_points"] = {band: number(f"--zero-point {band}", text) for band, text in points.items()}
    return reading


def names(text: str) -> tuple[str, ...]:
    """``"a, b"`` as names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def plane_option(option: str, values: tuple[str, ...]) -> str | dict[str, str]:
    """One plane for all bands, or one for each: ``FILE`` or ``NAME=FILE ...``."""
    if len(values) == 1 and "=" not in values[0]:
        return values[0]
    return pairs(option, values)


def pairs(option: str, values: tuple[str, ...]) -> dict[str, str]:
    """``("A=x", "B=y")`` as a dict, each name once."""
    found: dict[str, str] = {}
    for value in values:
        name, separator, item = value.partition("=")
        if not separator or not name or not item:
            raise OptionError(f"{option} {value}: expected NAME=VALUE, such as {option} F160W=...")
        if name in found:
            raise OptionError(f"{option} names {name} twice: {found[name]} and {item}")
        found[name] = item
    return found


def number(option: str, text: str) -> float:
    """A finite number, or an error that quotes the text."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise OptionError(f"{option}={text}: expected a finite number")
    return value
