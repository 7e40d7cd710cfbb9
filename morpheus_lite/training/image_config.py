"""Configuration of one observed image for training: pixels, labels, classes, and the part held out."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from morpheus_lite.config.classify import Planes, ReadOptions
from morpheus_lite.config.schema import documented, option
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import OptionError

SIDES = ("left", "right", "top", "bottom")
"""Where a held-out part may lie; the first row of the array is at the bottom, as in every viewer of FITS images."""

SOURCES = "sources"
"""In place of a side where sources are held out all over the image."""

_PATHS = ("image", "labels", "classes", "class_map", "sources", "corrections", "unlabelled", "rms", "weight", "dq")
_KINDS = (
    "classes (a table with a class for each label) with labels, class_map (a class for each pixel), sources "
    "(positions and classes), or corrections (saved by the report) with labels"
)


@documented
@dataclass(frozen=True, kw_only=True)
class ImageConfig(ReadOptions):
    """An observed image to train on, ``[[images]]`` in TOML. Paths are relative to the configuration file.

    Parameters
    ----------
    image
        FITS file with all bands, ``FILE[EXT]`` too, or a table from band to file.
    labels
        FITS file with the label map, 0 for sky. Needed with ``classes`` and ``corrections``; without it a class map's
        own segmentation or its connected source pixels are taken, and sources of a list are labelled by thresholding
        around them.
    classes
        Table with a row for each label whose class is known: ``label``, and ``class`` or ``p_spheroid`` ... A catalogue
        of this package is one.
    class_map
        FITS file with a class for each pixel: the maps that ``morpheus classify`` writes, or a plane of whole numbers
        in the order of `morpheus_lite.core.classes.CLASSES`, others where not known.
    sources
        Table with ``x, y`` (0-based pixels) or ``ra, dec`` (degrees, ICRS), and ``class`` or ``p_spheroid`` ...
    corrections
        File of corrections that the report saved; ``labels`` are then the class maps of the same run. Sources that
        nobody corrected or confirmed teach what is source and what is sky, but no class.
    unlabelled
        FITS file with a mask, not 0 where nothing is known: no pixel there counts.
    held_out
        Which part is never trained on, but validated and calibrated with: a side and a fraction such as ``"right
        0.25"``, a share of the sources whose class is known with the sky around them, such as ``"sources 0.3"``,
        ``"all"`` or ``"none"``.
    share
        How often patches are cut from this image, compared with the others.

    Raises
    ------
    OptionError
        Classes are not given in exactly one way, or a value is impossible.
    """

    image: str | Mapping[str, str] = option(length=(1, None))
    labels: str | None = None
    classes: str | None = None
    class_map: str | None = None
    sources: str | None = None
    corrections: str | None = None
    unlabelled: str | None = None
    held_out: str = "right 0.25"
    share: float = option(1.0, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.image:
            raise OptionError("image = {}: expected a file for each band")
        given = [name for name in ("classes", "class_map", "sources", "corrections") if getattr(self, name)]
        if len(given) != 1:
            raise OptionError(f"{self.name}: {' and '.join(given) or 'no classes'} given; expected one of {_KINDS}")
        if (self.classes or self.corrections) and not self.labels:
            raise OptionError(f"{self.name}: {given[0]} are for the labels of a label map; give labels as well")
        self.parts((100, 100))

    @property
    def read_options(self) -> dict[str, Any]:
        """Keyword arguments of `~morpheus_lite.read_image`."""
        return {one.name: getattr(self, one.name) for one in fields(ReadOptions)}

    @property
    def name(self) -> str:
        """Name of the image in messages."""
        return self.image if isinstance(self.image, str) else ", ".join(self.image.values())

    @property
    def held_out_sources(self) -> float | None:
        """Share of the sources that are held out; None where a part of the image is."""
        side, share = self._held_out()
        return share if side == SOURCES else None

    def parts(self, shape: tuple[int, int]) -> tuple[Window | None, Window | None]:
        """The part to train on and the part held out, for a height and width; None for an empty one."""
        whole = Window(0, 0, *shape)
        if self.held_out in ("all", "none"):
            return (None, whole) if self.held_out == "all" else (whole, None)
        side, share = self._held_out()
        if side == SOURCES:
            return whole, whole
        (height, width), is_across = shape, side in ("top", "bottom")
        length = height if is_across else width
        held = min(max(round(share * length), 1), length - 1)
        cut = held if side in ("left", "bottom") else length - held
        if is_across:
            pieces = Window(0, 0, cut, width), Window(cut, 0, height - cut, width)
        else:
            pieces = Window(0, 0, height, cut), Window(0, cut, height, width - cut)
        return pieces[::-1] if side in ("left", "bottom") else pieces

    def _held_out(self) -> tuple[str, float]:
        """Side (or `SOURCES`) and share that are held out."""
        side, _, fraction = self.held_out.partition(" ")
        if side in ("all", "none"):
            return side, 1.0
        try:
            share = float(fraction)
        except ValueError:
            share = 0.0
        if side not in (*SIDES, SOURCES) or not 0 < share < 1:
            raise OptionError(
                f"{self.name}: held_out={self.held_out!r}; expected a side ({', '.join(SIDES)}) and a fraction between "
                "0 and 1, as in 'right 0.25', a share of the sources, as in 'sources 0.3', or 'all' or 'none'"
            )
        return side, share

    def anchored(self, folder: Path) -> "ImageConfig":
        """The same with paths that are relative to a folder."""
        values = {name: getattr(self, name) for name in _PATHS}
        return replace(self, **{name: _anchored(value, folder) for name, value in values.items() if value})


def _anchored(value: Planes, folder: Path) -> Planes:
    if isinstance(value, Mapping):
        return {band: str(folder / path) for band, path in value.items()}
    return value if not isinstance(value, str) or "://" in value or value == "none" else str(folder / value)
