"""Tile: one image of a survey, as a descriptor that costs nothing to send: paths and options, never pixels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morpheus_lite.config.classify import ReadOptions
from morpheus_lite.config.schema import read_values
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io import open_image
from morpheus_lite.io.fitsfile import Location
from morpheus_lite.io.image_reader import ImageSource

NOISE_PLANES = ("rms", "weight", "dq")
"""Fields of `ReadOptions` that are planes, and so may be files."""

TILES = "tiles"
"""The directory of the tiles' directories."""

LONGEST_TILE_NAME = 120

_DEFAULTS = ReadOptions()
_NAME = re.compile(r"^[\w+-][\w.+-]*$")

Paths = str | Mapping[str, str]
"""One file with all bands, or one for each band."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One image of a survey.

    Parameters
    ----------
    name : str
        What the tile is called: letters, digits and ``_ . + -``. Its products lie in a directory of this name.
    image : str or mapping from band to str
        Path or URL, with ``[EXT]`` if need be; one with all bands, or one per band.
    read_options : mapping
        Fields of `~morpheus_lite.config.classify.ReadOptions`.
    options : mapping
        Fields of `~morpheus_lite.config.classify.ClassifyOptions` that differ for this tile, by name, or of
        ``detection``, ``deblending`` and ``measuring`` a mapping of those that do.
    tract, patch : str
        What the survey calls the parts of the sky that the tile is, which the merged catalogue repeats; empty without.
    """

    name: str
    image: Paths
    read_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    tract: str = ""
    patch: str = ""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or len(self.name) > LONGEST_TILE_NAME:
            raise OptionError(
                f"tile name {self.name!r}: expected at most {LONGEST_TILE_NAME} letters, digits and _ . + -, not "
                "beginning with a dot; name the tile in a manifest"
            )
        values = read_values(_DEFAULTS, self.read_options, f"tile {self.name}")
        object.__setattr__(self, "read_options", {path[0]: value for path, value in values.items()})

    @property
    def locations(self) -> dict[str, Location]:
        """Every file of the tile by its role: ``image``, ``image:F160W``, ``rms``, ``weight:F160W``, ..."""
        found = _by_role("image", self.image)
        for plane in NOISE_PLANES:
            found |= _by_role(plane, self.read_options.get(plane))
        return found

    def open(self) -> ImageSource:
        """Open the image; its pixels stay where they are."""
        return open_image(self.image, **self.read_options)

    def directory(self, root: Path) -> Path:
        """Directory of the products, below that of the survey."""
        return root / TILES / self.name


def _by_role(role: str, paths: Any) -> dict[str, Location]:
    if isinstance(paths, str):
        return {role: Location.parse(paths)}
    if isinstance(paths, Mapping):
        return {f"{role}:{band}": Location.parse(path) for band, path in paths.items()}
    return {}


def check_names(tiles: list[Tile], origin: str) -> list[Tile]:
    """The tiles, if each has a name of its own.

    Names that differ only in upper and lower case count as the same: on some file systems they are.

    Raises
    ------
    InputError
        There are none, or two have the same name.
    """
    if not tiles:
        raise InputError(f"{origin}: there is no tile in it")
    seen: dict[str, Tile] = {}
    for tile in tiles:
        other = seen.setdefault(tile.name.lower(), tile)
        if other is not tile:
            raise InputError(
                f"{origin}: two tiles are called {tile.name}: {other.image} and {tile.image}; give them names of their "
                "own in a manifest"
            )
    return tiles
