"""Location of an image: a file and the HDU in it, as the user writes them (``img.fits[SCI,1]``)."""

import os
import re
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from morpheus_lite.errors import InputError, OptionError

Extension = int | str | tuple[str, int]
"""An HDU of a file: its number, its name, or its name and version."""

_SUFFIX = re.compile(r"^(?P<path>.+?)\[(?P<ext>[^\[\]]*)\]$")
_ENDINGS = re.compile(r"(\.fits|\.fit|\.fts|\.asdf)?(\.gz|\.fz|\.bz2|\.xz|\.zip)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Location:
    """A FITS file, and the HDU in it if one was named.

    Parameters
    ----------
    path : str
        Path of the file.
    ext : int, str, (str, int) or None
        HDU by number, by name, or by name and version; None leaves the choice to the reader.
    """

    path: str
    ext: Extension | None = None

    @classmethod
    def parse(cls, source: str | os.PathLike) -> "Location":
        """Read a path with an optional ``[EXT]``, ``[1]`` or ``[NAME,ver]`` behind it.

        A file whose name really ends in brackets is taken as it is.

        Raises
        ------
        OptionError
            The brackets hold something else.

        Examples
        --------
        >>> Location.parse("goods.fits[SCI,1]")
        Location(path='goods.fits', ext=('SCI', 1))
        """
        text = os.fspath(source)
        if not isinstance(text, str):
            raise OptionError(f"path {source!r}: expected text, not bytes")
        match = _SUFFIX.match(text)
        if match is None or Path(text).exists():
            return cls(text)
        return cls(match["path"], parse_extension(match["ext"]))

    @property
    def is_remote(self) -> bool:
        """True if the path is a URL, such as ``s3://bucket/img.fits``."""
        return "://" in self.path

    def require_file(self) -> None:
        """Raise `InputError` unless there is a file; of a URL nothing is known before it is opened."""
        path = Path(self.path)
        if self.is_remote:
            return
        if path.is_dir():
            raise InputError(f"{path} is a directory; expected a FITS file (a batch of images is another command)")
        if not path.exists():
            where = "" if path.parent.is_dir() else f" (there is no directory {path.parent} either)"
            raise InputError(f"{path}: no such file{where}; check the path")

    @property
    def stem(self) -> str:
        """Name of the file without its endings."""
        return _ENDINGS.sub("", Path(self.path).name) or self.path

    def __str__(self) -> str:
        if self.ext is None:
            return self.path
        ext = f"{self.ext[0]},{self.ext[1]}" if isinstance(self.ext, tuple) else self.ext
        return f"{self.path}[{ext}]"


def parse_extension(ext: object) -> Extension:
    """An HDU by number, by name, or by ``"NAME,version"``.

    Raises
    ------
    OptionError
        It is none of these.
    """
    if isinstance(ext, Integral) and not isinstance(ext, bool) and int(ext) >= 0:
        return int(ext)
    if isinstance(ext, tuple) and len(ext) == 2 and isinstance(ext[0], str) and isinstance(ext[1], Integral):
        return ext[0], int(ext[1])
    if isinstance(ext, str) and ext.strip():
        name, _, version = (part.strip() for part in ext.strip().rpartition(","))
        if name and version.isdigit() and "," not in name:
            return name, int(version)
        if not name:
            return int(version) if version.isdigit() else version
    raise OptionError(f"HDU [{ext}] is not understood: expected a number, a name, or NAME,version")
