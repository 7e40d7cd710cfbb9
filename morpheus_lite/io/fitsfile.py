"""FITS files: where an image lies (``img.fits[SCI,1]``), opening and reading it; the record of a run in a header."""

import bz2
import gzip
import io
import json
import lzma
import math
import os
import re
import tempfile
import warnings
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from itertools import product
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.labels import FilePixels
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, OptionError, reading, reason_of, warn
from morpheus_lite.io.untrusted import check_hdus, guard, load_headers, scan_headers

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
            raise InputError(f"{path} is a directory; expected a FITS file (for all images in it: morpheus batch)")
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


guard()

_COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_ZIP = b"PK\x03\x04"
_OTHERS = {start.encode("latin-1"): kind for start, kind in FACTS["signatures"].items()}
"""What other files begin with, and what they are."""
_ASINH = 2.5 / np.log(10)
_LARGEST_ASINH = 100.0
_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def open_fits(path: str, *, scaled: bool = False) -> fits.HDUList:
    """Open a file and check that it is a whole FITS file.

    A file compressed as a whole (.gz, .bz2, .xz, or .zip with one file in it) is decompressed into memory, because it
    has no sections; every other file stays where it is. URLs are opened with fsspec.

    Parameters
    ----------
    path : str
        Path or URL.
    scaled : bool
        Whether ``data`` of the HDUs is scaled by BSCALE and BZERO. Pixels that `read_section` reads always are.

    Raises
    ------
    InputError
        There is no such file, it is not FITS, it is truncated, or a header claims what the file does not hold.
    """
    Location(path).require_file()
    with ExitStack() as opened:
        with reading(path, form=" as FITS", reason=_reason), warnings.catch_warnings(action="ignore"):
            content = _content(path)
            with Path(content).open("rb") if isinstance(content, str) else nullcontext(content) as stream:
                scan_headers(stream, path)
            hdus = opened.enter_context(fits.open(content, memmap=False, do_not_scale_image_data=not scaled))
            load_headers(hdus, path)
            missing = _missing_bytes(hdus)
        if missing < 0 and len(hdus) == 1:
            warn(f"{path} ends within a block of 2880 bytes, which FITS does not allow")
        elif missing:
            within = "it ends within a block of 2880 bytes, so that HDUs after its last one may be missing"
            where = "it ends before its last pixel" if missing > 0 else within
            raise InputError(f"{path} is truncated: {where}; copy or download it again")
        with reading(path):
            check_hdus(hdus, path)
        opened.pop_all()
    return hdus


def _content(path: str) -> str | BinaryIO:
    """Get the input of `astropy.io.fits.open`: the path itself, an open URL, or the decompressed bytes."""
    remote = Location(path).is_remote
    with _remote(path) if remote else Path(path).open("rb") as stream:
        magic = stream.read(8)
        stream.seek(0)
        if magic.startswith(_ZIP):
            return io.BytesIO(_unzipped(stream))
        for start, opener in _COMPRESSED.items():
            if magic.startswith(start):
                with opener(stream, "rb") as file:
                    return io.BytesIO(file.read())
        for start, kind in _OTHERS.items():
            if magic.startswith(start[:8]):
                raise ValueError(f"it is {kind}; expected FITS, plain or as .gz, .bz2, .xz, .zip or .fz")
    return _remote(path) if remote else path


def _unzipped(stream: BinaryIO) -> bytes:
    """The one file in a ZIP archive."""
    try:
        with zipfile.ZipFile(stream) as archive:
            files = [entry for entry in archive.infolist() if not entry.is_dir() and "__MACOSX" not in entry.filename]
            if len(files) != 1:
                names = ", ".join(entry.filename for entry in files[:5]) or "none"
                raise ValueError(f"the ZIP archive holds {len(files)} files ({names}), expected one: unpack it")
            return archive.read(files[0])
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"the ZIP archive is damaged or truncated ({error}); copy or download it again") from error


def _remote(url: str) -> BinaryIO:
    try:
        import fsspec
    except ImportError as error:
        raise InputError(f"{url}: reading URLs needs fsspec: pip install 'morpheus-lite[batch]'") from error
    try:
        return fsspec.open(url, "rb").open()
    # Every kind of store has its own exceptions.
    except Exception as error:
        raise InputError(f"{url} cannot be reached: {' '.join(str(error).split()) or type(error).__name__}") from error


def _missing_bytes(hdus: fits.HDUList) -> int:
    """Count the missing bytes of the last HDU: 0 for none, positive for pixels, negative for padding only."""
    last = hdus[len(hdus) - 1]
    if not hasattr(last, "fileinfo"):  # `check_hdus` refuses it
        return 0
    where = last.fileinfo()
    length, end = where["file"].size, where["datLoc"] + where["datSpan"]
    if length > end:
        where["file"].seek(end)
        # Of an HDU whose header is cut off, even after its first letter, astropy says nothing.
        return 1 if b"XTENSION".startswith(where["file"].read(8)) else 0
    pixels = where["datSpan"] if isinstance(last, fits.CompImageHDU) else last.size
    return max(0, where["datLoc"] + pixels - length) or length - end


def _reason(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return next((meaning for text, meaning in FACTS["reasons"].items() if text in str(error)), reason_of(error))


def describe_hdus(hdus: Sequence[Any]) -> str:
    """One line an HDU, for messages: number, name, version, type and shape in ``(y, x)`` order."""
    lines = []
    for number, hdu in enumerate(hdus):
        shape = " x ".join(str(n) for n in hdu.shape) if is_image(hdu) else "no image"
        version = f",{hdu.ver}" if hdu.ver != 1 else ""
        lines.append(f"  [{number}] {hdu.name or 'no name'}{version}: {shape}")
    return "\n".join(lines)


def is_image(hdu: Any) -> bool:
    """True if an HDU holds pixels in at least one dimension."""
    is_array = isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU)
    return is_array and not isinstance(hdu, fits.GroupsHDU) and bool(hdu.shape) and 0 not in hdu.shape


def find_hdu(hdus: Sequence[Any], ext: Extension, path: str) -> int:
    """Number of the HDU that was asked for.

    Raises
    ------
    InputError
        There is none, or several, or it holds no image.
    """
    if isinstance(ext, int):
        found = [ext] if ext < len(hdus) else []
    else:
        name, version = ext if isinstance(ext, tuple) else (ext, None)
        found = [
            number for number, hdu in enumerate(hdus) if hdu.name.upper() == name.upper() and version in (None, hdu.ver)
        ]
    wanted = Location(path, ext)
    if len(found) > 1:
        raise InputError(f"{wanted} is ambiguous; give the HDU's number. {path} has\n{describe_hdus(hdus)}")
    if not found:
        raise InputError(f"{wanted}: there is no such HDU. {path} has\n{describe_hdus(hdus)}")
    if not is_image(hdus[found[0]]):
        raise InputError(f"{wanted} holds no image. {path} has\n{describe_hdus(hdus)}")
    return found[0]


_PIECE = 256, 1024
"""Least height and width in pixels of what is unpacked at once: each time costs as much as 15 rows."""

_ON_DISK = "/var/tmp"
"""Directory of temporary files that are too large for ``/tmp``, which is in memory on some systems."""


class UnpackedPlane:
    """Pixels of a tile-compressed plane in a temporary file without a name, unpacked when they are first read.

    Processes that are forked later share the file: what one has unpacked, the others need not.

    Parameters
    ----------
    hdu : astropy.io.fits.CompImageHDU
        Opened by `open_fits`.
    index : tuple of int
        Position of the plane on the axes before the last two.

    Raises
    ------
    OSError
        There is no room or no permission.
    """

    def __init__(self, hdu: fits.CompImageHDU, index: tuple[int, ...]) -> None:
        self._index, self._whole = index, Window(0, 0, *hdu.shape[-2:])
        self._sides = tuple(-(-least // n) * n for least, n in zip(_PIECE, map(int, hdu.tile_shape[-2:]), strict=True))
        n_pieces = self._whole.height // self._sides[0] + 1, self._whole.width // self._sides[1] + 1
        dtype, n_bytes = hdu.section.dtype, math.prod(self._whole.shape) * hdu.section.dtype.itemsize
        directory = _ON_DISK if "TMPDIR" not in os.environ and os.access(_ON_DISK, os.W_OK) else None
        with tempfile.TemporaryFile(dir=directory, prefix=".morpheus-", buffering=0) as temporary:
            os.truncate(temporary.fileno(), n_bytes + math.prod(n_pieces))
            file = os.dup(temporary.fileno())
        weakref.finalize(self, os.close, file)
        self._pixels = FilePixels(file, self._whole.shape, dtype)
        self._is_unpacked = FilePixels(file, n_pieces, np.dtype(np.uint8), n_bytes)

    def read(self, hdu: fits.CompImageHDU, window: Window) -> np.ndarray:
        """Pixels of a window as they are stored, from the same HDU, which may have been opened again."""
        height, width = self._sides
        rows = range(window.y // height, -(-(window.y + window.height) // height))
        for y, x in product(rows, range(window.x // width, -(-(window.x + window.width) // width))):
            piece = Window(y * height, x * width, height, width).intersection(self._whole)
            if not self._is_unpacked.read(Window(y, x, 1, 1)):
                self._pixels.write(piece, hdu.section[(*self._index, *piece.slices)])
                self._is_unpacked.write(Window(y, x, 1, 1), np.ones((1, 1)))
        return self._pixels.read(window)


def read_section(hdu: Any, index: tuple[int, ...], window: Window, *, stored: np.ndarray | None = None) -> np.ndarray:
    """Pixels of one window of one plane, scaled.

    An uncompressed image on disk is memory-mapped for the length of this call only, so that pages of a huge
    file do not stay in memory; a tile-compressed one is decompressed just where the window is.

    Parameters
    ----------
    hdu : astropy.io.fits image HDU
        Opened by `open_fits`.
    index : tuple of int
        Position on the axes before the last two.
    window : Window
        Which part to read.
    stored : numpy.ndarray, optional
        Its pixels as they are stored, if they have been read.

    Returns
    -------
    numpy.ndarray
        Shape ``(y, x)``, big-endian if stored so; BSCALE and BZERO applied, BLANK replaced by NaN, and `linear`. It may
        be a view of the file: take a copy of what is kept.
    """
    where: tuple[Any, ...] = (*index, *window.slices)
    file = hdu.fileinfo()["file"]
    if stored is None and (isinstance(hdu, fits.CompImageHDU) or file.file_like):
        stored = hdu.section[where]
    elif stored is None:
        dtype = np.dtype(_TYPES[hdu.header["BITPIX"]])
        stored = np.memmap(file.name, dtype, mode="r", offset=hdu.fileinfo()["datLoc"], shape=hdu.shape)[where]
    return linear(apply_scale(stored, hdu.header), hdu.header, hdu.name)


def apply_scale(stored: np.ndarray, header: Mapping[str, Any]) -> np.ndarray:
    """Stored numbers by BSCALE and BZERO of their header, NaN where they are BLANK."""
    scale, zero, blank = header.get("BSCALE", 1), header.get("BZERO", 0), header.get("BLANK")
    is_whole = stored.dtype.kind in "iu"
    values = stored
    if scale == 1 and is_whole and float(zero).is_integer():
        values = _shifted(stored, int(zero))
    elif (scale, zero) != (1, 0):
        values = stored * np.float64(scale) + zero
    if blank is not None and is_whole and (empty := stored == blank).any():
        values = np.where(empty, np.nan, values.astype(np.float64))
    return values


def _shifted(stored: np.ndarray, zero: int) -> np.ndarray:
    """Whole numbers plus a whole number, exactly: float64 does not hold 64-bit integers, which BZERO makes unsigned."""
    if zero == 0:
        return stored
    if zero == 2**63 and stored.dtype.itemsize == 8:
        return stored.astype(np.int64).view(np.uint64) ^ np.uint64(2**63)
    if stored.dtype.itemsize == 8 or abs(zero) >= 2**62:
        return stored.astype(np.float64) + zero
    return stored.astype(np.int64) + zero


def linear(values: np.ndarray, header: Mapping[str, Any], name: str) -> np.ndarray:
    """Pixels whose header says that they are asinh magnitudes, as what was measured.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape.
    header : mapping
        Of the HDU.
    name : str
        What to call it in messages.

    Returns
    -------
    numpy.ndarray
        The same where the header has no BSOFTEN and BOFFSET.

    Raises
    ------
    InputError
        The values cannot be such magnitudes: they were undone before, and the keywords left in the header.

    Notes
    -----
    Stacks of Pan-STARRS hold v = a asinh((flux - BOFFSET) / (2 BSOFTEN)), where a = 2.5 / ln 10 (Waters et al. 2020).
    """
    offset, softening = header.get("BOFFSET"), header.get("BSOFTEN")
    if not isinstance(offset, int | float) or not isinstance(softening, int | float):
        return values
    if softening <= 0 or values.dtype.kind != "f":
        return values
    if np.nanmax(np.abs(values), initial=0) > _LARGEST_ASINH:
        raise InputError(
            f"{name or 'the image'}: BSOFTEN and BOFFSET say that the pixels are asinh magnitudes, but they reach "
            f"{np.nanmax(np.abs(values)):.4g}; delete the keywords if this has been undone"
        )
    return offset + 2 * softening * np.sinh(values.astype(np.float64) / _ASINH)


RECORD = "MORPHRUN"
"""Keyword of the whole record, as JSON."""

_RESERVED = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "END", "COMMENT", "HISTORY", "CONTINUE", "HIERARCH")
_MAX_TEXT = 200


def header_of_run(provenance: Mapping[str, Any]) -> fits.Header:
    """Cards that record a run.

    Parameters
    ----------
    provenance : mapping
        Text, numbers, and mappings or lists of these; anything else is recorded as text.

    Returns
    -------
    astropy.io.fits.Header
        One card a value, the path to it in the comment, long texts cut, what is not ASCII escaped; of values whose
        keywords would be the same, the first has a card. The card `RECORD` holds all of it.

    Examples
    --------
    >>> header_of_run({"model": "hausen2020", "options": {"stride": 3}})["STRIDE"]
    3
    """
    record = plain(provenance)
    header = fits.Header()
    for path, value in leaves(record):
        keyword, length = _keyword(path)
        if keyword.removeprefix("HIERARCH ") in header:
            continue
        is_plain = isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
        text = value if is_plain else _printable("none" if value is None else str(value), length)
        comment = _printable(".".join(path), 24) if length > 20 and len(repr(text)) < 36 else ""
        header[keyword] = text, comment
    # An apostrophe before a slash is read back as the end of the text and the start of a comment.
    header[RECORD] = json.dumps(record, ensure_ascii=True, allow_nan=True).replace("'", r"\u0027")
    return header


def run_of_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance that `header_of_run` recorded; empty where there is none."""
    try:
        record = json.loads(header.get(RECORD, "{}"))
    except (TypeError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def plain(value: Any) -> Any:
    """A value made of what JSON knows: mappings, lists, text, numbers, booleans and None.

    Bytes of file names that are not text are escaped.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple | set | frozenset):
        return [plain(one) for one in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value).encode(errors="backslashreplace").decode()


def leaves(record: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value of nested mappings with the keys that lead to it."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _keyword(path: tuple[str, ...]) -> tuple[str, int]:
    """Keyword of a value, and how long its text may be."""
    last = _letters(path[-1])
    if len(last) <= 8 and not last.startswith((*_RESERVED, RECORD)):
        return last, _MAX_TEXT
    # A HIERARCH card cannot be continued: keyword and value share 80 characters.
    return "HIERARCH MORPHEUS " + " ".join(_letters(part) for part in path)[:36].strip(), 16


def _letters(text: str) -> str:
    return re.sub(r"[^A-Z0-9_-]", "_", text.upper()) or "_"


def _printable(text: str, length: int) -> str:
    text = text.encode("ascii", "backslashreplace").decode().replace("'", "`")
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= length else text[: length - 3] + "..."
