"""Checks of untrusted files: headers are compared with the content before a library relies on them."""

import itertools
import re
import struct
import tomllib
from collections.abc import Container, Iterator
from contextlib import suppress
from functools import reduce
from math import ceil, isfinite, prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from astropy.io import fits

from morpheus_lite.errors import InputError, reason_of, warn


def _content(stored: Any) -> np.ndarray:
    return np.frombuffer(stored.astype(stored.dtype.newbyteorder("="), copy=False), np.uint8)


def _followed(content: np.ndarray, n_more: int, filling: int) -> np.ndarray:
    """Bytes that lie in memory before ``n_more`` others."""
    memory = np.zeros(content.size + n_more, np.uint8)  # untouched pages of zeros cost nothing
    memory[: content.size] = content
    if filling:
        memory[content.size :] = filling
    memory.flags.writeable = False
    return memory[: content.size]


def guard() -> None:
    """Put the guarded decoders in the place of astropy's; nothing where an astropy keeps them elsewhere."""
    with suppress(ImportError):
        from astropy.io.fits.hdu.compressed import _codecs, _tiled_compression

        class Rice(_codecs.Rice1):
            def decode(self, buf: Any) -> np.ndarray:
                # Every pixel of a block takes at most 4 bytes, and the end is looked for after each block.
                stored = _followed(_content(buf), 8 * self.blocksize + 64, 0xFF)
                decoded = _codecs.decompress_rice_1_c(stored, self.blocksize, self.bytepix, self.tilesize)
                return np.frombuffer(decoded, f"i{self.bytepix}")

        class HCompress(_codecs.HCompress1):
            def decode(self, buf: Any) -> np.ndarray:
                content = _content(buf)
                # No plane of bits takes more than 2 bits of a pixel; how many there are is said behind the sizes.
                planes = int(content[22:25].max(initial=0))
                stored = _followed(content, planes * self.nx * self.ny // 4 + 1024, 0)
                settings = (self.nx, self.ny, self.scale, self.smooth, self.bytepix)
                return np.frombuffer(_codecs.decompress_hcompress_1_c(stored, *settings), "i4")

        guarded = {"RICE_1": Rice, "RICE_ONE": Rice, "HCOMPRESS_1": HCompress}
        _tiled_compression.ALGORITHMS.update(guarded)


_KNOWN = (
    fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU, fits.BinTableHDU, fits.TableHDU, fits.hdu.base.NonstandardExtHDU,
)  # fmt: skip
_NEEDED = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|GROUPS|TFIELDS|THEAP|T[A-Z]{3,4}\d+|Z[A-Z]+\d*|EXTNAME|EXTVER|BSCALE|BZERO"
    r"|BLANK|BUNIT|EXPTIME|FILTER\d?|[A-Z]*(MAG|ZP|ZERO|PHOT|FLUX)[A-Z]*|C(TYPE|UNIT|RVAL|RPIX|DELT|ROTA)\d|(CD|PC)\d_\d"
    r"|P[VS]\d_\d+|[AB]P?_(ORDER|\d_\d)|LONPOLE|LATPOLE|RADESYS|EQUINOX|WCSAXES|(CP|D2IM)(DIS|ERR)\d|(DP|D2IM)\d.*"
)
"""Keywords whose loss would change what is read."""

_COUNT = re.compile(rb"(BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|ZNAXIS) *= *([+-]?\d+)[ /]")
_BLOCK, _MOST_BLOCKS, _MOST_COUNTED = 2880, 10000, 999
_COUNTED = (b"NAXIS", b"TFIELDS", b"ZNAXIS")

_FORM = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])([LXBIJKAEDCM]?)")
_BYTES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_Settings = dict[str, tuple[int, Container[int]]]
_RICE: _Settings = {"BLOCKSIZE": (32, range(1, 4097)), "BYTEPIX": (4, (1, 2, 4))}
_SETTINGS: dict[Any, _Settings] = {"RICE_1": _RICE, "RICE_ONE": _RICE, "HCOMPRESS_1": {"SMOOTH": (0, (0, 1))}}
"""Settings of compressions: their defaults, and the values that the C code survives."""

_MOST_PER_BYTE = 8192
"""No algorithm makes more bytes of one: PLIO_1 writes 4,095 pixels of 4 bytes as two."""


class _Column(NamedTuple):
    """A column of a binary table: name, first byte in a row, bytes, and bytes of an element in the heap or 0."""

    name: str
    start: int
    width: int
    element: int


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises
    ------
    InputError
        It cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {reason_of(error)}; expected a TOML file in UTF-8") from error


def scan_headers(stream: BinaryIO, path: str) -> None:
    """Scan the headers of a file, as far as HDUs can be found by what they say.

    Parameters
    ----------
    stream : binary file
        The file, at its beginning, where it is again afterwards.
    path : str
        Where it was read from.

    Raises
    ------
    InputError
        A header claims more axes or columns than FITS allows, to which astropy would count, or has no end.
    """
    for hdu in itertools.count():
        cards = _scan(stream, f"{path}[{hdu}]")
        if cards is None:
            break
        for keyword in _COUNTED:
            if not 0 <= cards.get(keyword, 0) <= _MOST_COUNTED:
                name = f"{path}[{hdu}]: {keyword.decode()}"
                raise InputError(f"{name} is {cards[keyword]}; FITS allows 0 to {_MOST_COUNTED}")
        axes = [cards.get(b"NAXIS%d" % axis, 0) for axis in range(1, cards.get(b"NAXIS", 0) + 1)]
        n_values = cards.get(b"PCOUNT", 0) + prod(axes[1:] if axes[:1] == [0] else axes)
        n_bytes = abs(cards.get(b"BITPIX", 0)) // 8 * cards.get(b"GCOUNT", 1) * n_values if axes else 0
        if not 0 <= n_bytes < 2**62:
            break
        stream.seek(-(-n_bytes // _BLOCK) * _BLOCK, 1)
    stream.seek(0)


def _scan(stream: BinaryIO, where: str) -> dict[bytes, int] | None:
    """The structural numbers of a header, the first of each keyword; None where the file ends before the header."""
    cards: dict[bytes, int] = {}
    for _ in range(_MOST_BLOCKS):
        block = stream.read(_BLOCK)
        for card in (block[start : start + 80] for start in range(0, len(block), 80)):
            if card.startswith(b"END     "):
                return cards
            if match := _COUNT.match(card):
                keyword, value = match[1], int(match[2])
                # Of a keyword that is there twice, astropy may count to either.
                impossible = keyword in _COUNTED and not 0 <= value <= _MOST_COUNTED
                if not impossible and cards.get(keyword, value) != value:
                    raise InputError(f"{where}: {keyword.decode()} appears twice, as {cards[keyword]} and as {value}")
                cards[keyword] = value if impossible else cards.get(keyword, value)
        if len(block) < _BLOCK:
            return None
    raise InputError(f"{where}: the header has no END in {_MOST_BLOCKS * _BLOCK} bytes; it is not FITS, or is damaged")


def load_headers(hdus: fits.HDUList, path: str) -> None:
    """Read the headers of a file that was opened, one by one.

    Raises
    ------
    InputError
        The pixels of an HDU end before they begin: astropy would look for the next header there, and find the same one.
    """
    for number, hdu in enumerate(hdus):
        if hdu.size < 0:
            said = f"{path}[{number}]: its header says {hdu.size} bytes of pixels"
            raise InputError(f"{said}; NAXISn, PCOUNT and GCOUNT are 0 or more")


def check_hdus(hdus: fits.HDUList, path: str) -> None:
    """Raise `InputError` where an HDU is not what it claims to be, naming the card.

    Cards that cannot be parsed are errors where they matter to how the file is read; others are dropped, with a
    warning.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        As opened, with all headers read. Pixels are not looked at; of compressed images the tables of tiles are.
    path : str
        Where they were read from.
    """
    for number, hdu in enumerate(hdus):
        where = f"{path}[{number}]"
        if not isinstance(hdu, _KNOWN):
            raise InputError(f"{where} is not a standard FITS HDU, or its header is damaged; copy or download it again")
        _check_cards(hdu.header, where)
        if isinstance(hdu, fits.CompImageHDU | fits.BinTableHDU):
            _check_table(hdu, where)
        if isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
            _check_image(hdu.header, where)


def _check_cards(header: fits.Header, where: str) -> None:
    lost: dict[int, str] = {}
    for number, card in enumerate(header.cards):
        try:
            # They are parsed here.
            card.value  # noqa: B018
            card.comment  # noqa: B018
        except Exception as error:
            keyword = header._cards[number].keyword
            if _NEEDED.fullmatch(keyword):
                problem = f"{where}: the card {keyword} cannot be parsed ({reason_of(error)})"
                raise InputError(f"{problem}; correct it in the header") from error
            lost[number] = keyword
    for number in reversed(lost):
        del header[number]
    if lost:
        names = ", ".join(dict.fromkeys(lost.values()))
        warn(f"{where}: the card(s) {names} cannot be parsed and are left out")


def _check_image(header: fits.Header, where: str) -> None:
    if header["BITPIX"] not in (8, 16, 32, 64, -32, -64):
        raise InputError(f"{where}: BITPIX is {header['BITPIX']!r}; expected 8, 16, 32, 64, -32 or -64")
    for axis in range(1, whole(header, "NAXIS", where, most=999) + 1):
        whole(header, f"NAXIS{axis}", where)
    for keyword in ("BSCALE", "BZERO"):
        card_number(header, keyword, where)
    if header["BITPIX"] > 0 and "BLANK" in header:
        whole(header, "BLANK", where, least=-(2**63))


def card_number(header: fits.Header, keyword: str, where: str, default: float = 0.0) -> float:
    """The finite number that a card holds, or the default without the card; else an `InputError` that names it."""
    value = header.get(keyword, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InputError(f"{where}: {keyword} is {value!r}; expected a number")
    return float(value)


def whole(
    header: fits.Header, keyword: str, where: str, default: int | None = None, *, least: int = 0, most: int = 2**63 - 1
) -> int:
    """The whole number that a card holds, or the default without the card; else an `InputError` that names it."""
    value = header.get(keyword, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"{where}: {keyword} is {value!r}; expected a whole number from {least} to {most}")
    return value


def _check_table(hdu: Any, where: str) -> None:
    """Columns as wide as the rows, whose descriptors stay inside of the heap."""
    place = hdu.fileinfo()
    file = place["file"]
    file.seek(place["hdrLoc"])
    # Of a compressed image, astropy shows the header of the image; the table has one of its own.
    header = fits.Header.fromstring(file.read(place["datLoc"] - place["hdrLoc"]))
    width, n_rows = whole(header, "NAXIS1", where), whole(header, "NAXIS2", where)
    columns = list(_columns(header, where))
    if sum(column.width for column in columns) != width:
        raise InputError(f"{where}: the columns take {sum(c.width for c in columns)} bytes, but NAXIS1 says {width}")
    first = whole(header, "THEAP", where, width * n_rows, least=width * n_rows)
    heap = width * n_rows + whole(header, "PCOUNT", where) - first
    if not any(column.element for column in columns):
        return
    file.seek(place["datLoc"])
    rows = np.frombuffer(file.read(width * n_rows), np.uint8)
    if rows.size != width * n_rows:
        raise InputError(f"{where} is truncated: it ends before the last row of its table; copy or download it again")
    rows = rows.reshape(n_rows, width)
    tiles: dict[str, np.ndarray] = {}
    for column in (column for column in columns if column.element):
        kind = ">i4" if column.width == 8 else ">i8"
        found = np.ascontiguousarray(rows[:, column.start : column.start + column.width]).view(kind).astype(np.int64)
        length, start = found[:, 0], found[:, 1]
        # No product of these overflows: the heap is smaller than the file.
        inside = (length >= 0) & (start >= 0) & (start <= heap) & (length <= heap)
        if not (inside & (start + length * np.where(inside, column.element, 0) <= heap) | (length == 0)).all():
            raise InputError(f"{where}: column {column.name} points outside of the table's data; the file is damaged")
        tiles[column.name] = found
    if isinstance(hdu, fits.CompImageHDU):
        _check_tiles(header, where, n_rows, tiles, heap, file, place["datLoc"] + first)


def _columns(header: fits.Header, where: str) -> Iterator[_Column]:
    start = 0
    for number_ in range(1, whole(header, "TFIELDS", where, most=999) + 1):
        form = header.get(f"TFORM{number_}")
        match = _FORM.match(form) if isinstance(form, str) else None
        if match is None:
            raise InputError(f"{where}: TFORM{number_} is {form!r}, which is not a column format")
        repeat, letter, element = int(match[1] or 1), match[2], match[3]
        width = -(-repeat // 8) if letter == "X" else repeat * _BYTES[letter]
        has_heap = letter in "PQ" and repeat > 0
        if has_heap and (repeat > 1 or not element):
            raise InputError(f"{where}: TFORM{number_} is {form!r}; expected at most one array, of a known type")
        yield _Column(str(header.get(f"TTYPE{number_}")), start, width, _BYTES.get(element, 1) if has_heap else 0)
        start += width


def _check_tiles(
    header: fits.Header, where: str, n_rows: int, tiles: dict[str, np.ndarray], heap: int, file: BinaryIO, start: int
) -> None:
    """A tile-compressed image whose tiles are as many as its size says, with settings that the C code survives."""
    n_axes = whole(header, "ZNAXIS", where, least=1, most=999)
    shape = [whole(header, f"ZNAXIS{axis}", where, most=2**31 - 1) for axis in range(1, n_axes + 1)]
    sides = [
        whole(header, f"ZTILE{axis}", where, length if axis == 1 else 1, least=1, most=2**31 - 1)
        for axis, length in enumerate(shape, 1)
    ]
    n_tiles = prod(ceil(length / side) for length, side in zip(shape, sides, strict=True))
    if n_tiles != n_rows:
        raise InputError(f"{where}: ZNAXISn and ZTILEn make {n_tiles} tiles, but the table has {n_rows}")
    n_bytes = prod(shape) * abs(whole(header, "ZBITPIX", where, least=-64, most=64)) // 8
    if n_bytes > _MOST_PER_BYTE * (heap + n_rows):
        raise InputError(f"{where}: ZNAXISn claim {n_bytes} bytes of pixels, which {heap} bytes cannot hold")
    table = tiles.get("COMPRESSED_DATA")
    if table is None:
        raise InputError(f"{where}: the table of tiles has no column COMPRESSED_DATA with descriptors")
    if str(header.get("ZQUANTIZ")).startswith("SUBTRACTIVE"):
        whole(header, "ZDITHER0", where, least=1, most=10000)
    algorithm, settings = header.get("ZCMPTYPE"), _settings(header)
    for name, (default, known) in _SETTINGS.get(algorithm, {}).items():
        value = settings.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value not in known:
            raise InputError(f"{where}: the compression setting {name} is {value!r}, which does not exist")
    check = {"HCOMPRESS_1": _is_hcompress, "PLIO_1": _is_list}.get(algorithm)
    if check is None:
        return
    lengths = [np.minimum(side, length - np.arange(0, length, side)) for length, side in zip(shape, sides, strict=True)]
    n_pixels = reduce(np.multiply.outer, lengths[::-1]).ravel()
    for (length, first), size in zip(table.tolist(), n_pixels.tolist(), strict=True):
        file.seek(start + first)
        if length and not check(file.read(25), length, size):
            raise InputError(f"{where}: a tile is no {algorithm} of its size; the file is damaged")


def _settings(header: fits.Header) -> dict[str, Any]:
    numbers = itertools.takewhile(lambda number: f"ZNAME{number}" in header, itertools.count(1))
    return {str(header[f"ZNAME{number}"]).upper(): header.get(f"ZVAL{number}") for number in numbers}


def _is_hcompress(begin: bytes, length: int, n_pixels: int) -> bool:
    """True if a tile states the size that memory is reserved for, and no more bit planes than there are."""
    if length < 25 or len(begin) < 25:
        return False
    height, width = struct.unpack(">ii", begin[2:10])
    return height > 0 and width > 0 and height * width == n_pixels and max(begin[22:25]) <= 64


def _is_list(begin: bytes, length: int, n_pixels: int) -> bool:
    """True if a PLIO list, of 16-bit words, ends within the tile."""
    if length < 4 or len(begin) < 10:
        return False
    words = struct.unpack(">5h", begin[:10])
    n_words, first = (words[2], 3) if words[2] > 0 else ((words[4] << 15) + words[3], words[1])
    return 0 < n_words <= length and 0 <= first <= n_words


WCS_NUMBER = re.compile(
    r"C(RVAL|RPIX|DELT|ROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|[AB]P?_(\d_\d|DMAX)|LONPOLE|LATPOLE|EQUINOX|(CP|D2IM)ERR[12]"
)
"""Keywords of a WCS that hold a number."""

_LOOKUPS = {"CPDIS": "WCSDVARR", "D2IMDIS": "D2IMARR"}


def check_wcs(header: fits.Header, hdus: fits.HDUList | None) -> None:
    """Raise `ValueError` where the WCS of a header is not one that wcslib can be given.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the image.
    hdus : astropy.io.fits.HDUList or None
        The file, where tables of distortion would lie.
    """
    if any(str(header.get(f"CTYPE{axis}", "")).rstrip().endswith("-TAB") for axis in (1, 2)):
        # wcslib trusts these tables, and aborts the process where they are broken.
        raise ValueError("places on the sky from a -TAB table are not supported; fit a projection such as TAN")
    where = "the WCS"
    for keyword in dict.fromkeys(header):
        if WCS_NUMBER.fullmatch(keyword):
            card_number(header, keyword, where)
    records = [card.keyword for card in header.cards if card.field_specifier]
    if len(records) > len(set(records)):
        # wcslib frees the memory of a repeated one twice.
        twice = next(record for record in records if records.count(record) > 1)
        raise ValueError(f"{twice} appears twice")
    for keyword in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"):
        whole(header, keyword, where, 0, most=9)
    if "AXISCORR" in header:
        whole(header, "AXISCORR", where, least=1, most=2)
    for table in () if hdus is None else hdus:
        if table.name in _LOOKUPS.values() and any(f"{kind}{axis}" in header for kind in _LOOKUPS for axis in (1, 2)):
            _check_lookup(table, f"the distortion table {table.name},{table.ver}")


def _check_lookup(table: Any, where: str) -> None:
    if not isinstance(table, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU) or len(table.shape) != 2:
        raise ValueError(f"{where} is not a two-dimensional image")
    for axis in (1, 2):
        card_number(table.header, f"CRPIX{axis}", where)
        card_number(table.header, f"CRVAL{axis}", where)
        if not card_number(table.header, f"CDELT{axis}", where, 1.0):
            raise ValueError(f"{where}: CDELT{axis} is 0")
    if not np.isfinite(table.data).all():
        raise ValueError(f"{where} holds values that are not numbers")
