"""Ways to break a file: single bytes and runs of them, FITS cards, tile tables, JSON, tokens of text, archives."""
# ruff: noqa: E501  (lists of odd values)

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

_BLOCK, _CARD = 2880, 80
_VALUES = (
    "0", "-1", "1", "2", "3", "7", "16", "99", "255", "65536", "2147483647", "2147483648", "-2147483649", "4294967297",
    "9223372036854775807", "99999999999999999999", "1E400", "1E-320", "-0.0", "0.0", "1.5", "-3.25E38", "1D3", "NaN", "nan",
    "INF", "T", "F", "'text'", "''", "'unclosed", "'a''b'", "(1,2)", "1 2", "12:30:45", "'RA---TAB'", "'DEC--TAN-SIP'",
    "'WAVE-TAB'", "'1PB(12)'", "'999999999D'", "'1QJ(3)'", "'10A'", "'0P'", "'x'", "'RICE_1'", "'HCOMPRESS_1'", "'PLIO_1'", "'GZIP_2'",
    "'DITHER'", "'degree'", "'LOOKUP'", "'WCS-TAB'", "'ELECTRONS'", "'1e9999 Jy'", "'mag(AB)'", "'F160W'", "'\\n'", "",
)  # fmt: skip
_KEYWORDS = (
    "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "BITPIX", "PCOUNT", "GCOUNT", "TFIELDS", "TFORM1", "TTYPE1", "TDIM1", "TNULL1",
    "TSCAL1", "TZERO1", "THEAP", "GROUPS", "EXTEND", "SIMPLE", "XTENSION", "EXTNAME", "EXTVER", "BSCALE", "BZERO", "BLANK",
    "BUNIT", "ZIMAGE", "ZNAXIS", "ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2", "ZBITPIX", "ZCMPTYPE", "ZQUANTIZ", "ZDITHER0",
    "ZBLANK", "ZNAME1", "ZVAL1", "ZNAME2", "ZVAL2", "ZVAL3", "ZSCALE", "ZZERO", "CTYPE1", "CTYPE2", "CTYPE3", "CRPIX1", "CRPIX2",
    "CRVAL1", "CRVAL2", "CDELT1", "CDELT2", "CUNIT1", "CUNIT2", "CD1_1", "CD2_2", "PC1_2", "CROTA2", "PV1_1", "PV2_1", "PV1_3",
    "PV2_3", "PS1_0", "PS1_1", "PS1_2", "PS2_0", "PS2_1", "A_ORDER", "B_ORDER", "AP_ORDER", "A_2_0", "A_9_9", "CPDIS1", "CPERR1",
    "DP1", "D2IMDIS1", "D2IMEXT", "AXISCORR", "WCSAXES", "WCSNAME", "LONPOLE", "LATPOLE", "EQUINOX", "RADESYS", "MJD-OBS", "DATE-OBS",
    "FILTER", "FILTER1", "PHOTFLAM", "PHOTPLAM", "PHOTFNU", "EXPTIME", "MAGZERO", "ABZP", "PIXAR_SR", "GAIN", "MORPHRUN", "CONTENT",
    "INHERIT", "CHECKSUM", "DATASUM", "UTYPE", "FLUXMAG0", "TELESCOP", "INSTRUME", "CONTINUE", "HIERARCH A B", "COMMENT", "END",
)  # fmt: skip


def _pick(rng: np.random.Generator, among: Any) -> Any:
    return among[int(rng.integers(len(among)))]


def flip_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes anywhere become others."""
    broken = bytearray(content)
    for place in rng.integers(len(broken), size=int(rng.integers(1, 24))):
        broken[place] = int(rng.integers(256))
    return bytes(broken)


def spoil_run(content: bytes, rng: np.random.Generator) -> bytes:
    """A run of bytes becomes zeros, ones, noise, or something found elsewhere."""
    start = int(rng.integers(len(content)))
    length = int(rng.integers(1, 1 + min(400, len(content) - start)))
    kind = int(rng.integers(4))
    other = int(rng.integers(len(content)))
    run = (bytes(length), b"\xff" * length, rng.bytes(length), content[other : other + length])[kind]
    return content[:start] + run + content[start + length :]


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """The end is missing, a piece of the middle is, or a piece comes twice."""
    first, last = sorted(int(place) for place in rng.integers(len(content) + 1, size=2))
    kind = int(rng.integers(4))
    if kind == 0:
        first, last = first // _BLOCK * _BLOCK, last // _BLOCK * _BLOCK
    pieces = (
        content[:first] + content[last:],
        content[:first],
        content[:first] + content[last:],
        content[:last] + content[first:],
    )
    return pieces[kind]


def headers(content: bytes) -> list[tuple[int, int]]:
    """Where each FITS header begins and ends, found by its first keyword and END."""
    found, place = [], 0
    while place < len(content):
        if content.startswith((b"SIMPLE  =", b"XTENSION="), place):
            for card in range(place, len(content), _CARD):
                if content.startswith(b"END     ", card):
                    end = -(-(card + _CARD) // _BLOCK) * _BLOCK
                    found.append((place, card))
                    place = end - _BLOCK
                    break
        place += _BLOCK
    return found


def card(content: bytes, rng: np.random.Generator) -> bytes:
    """Cards of a header get other values, keywords, places or bytes, come twice, or go; others are put in."""
    for _ in range(int(_pick(rng, (1, 1, 1, 2, 4)))):
        found = headers(content)
        if not found:
            return flip_bytes(content, rng)
        content = _one_card(content, *_pick(rng, found), rng)
    return content


def _one_card(content: bytes, start: int, end: int, rng: np.random.Generator) -> bytes:
    here = start + _CARD * int(rng.integers((end - start) // _CARD))
    old = content[here : here + _CARD]
    value, keyword = _pick(rng, _VALUES).encode(), _pick(rng, _KEYWORDS).encode()
    kind = int(rng.integers(10))
    if kind <= 3:
        new = old[:10] + value.rjust(20) + b" / changed"
    elif kind == 4:
        new = keyword.ljust(8) + old[8:]
    elif kind == 5:
        new = content[start + _CARD * int(rng.integers((end - start) // _CARD)) :][:_CARD]
    elif kind == 6:
        broken = bytearray(old)
        for place in rng.integers(_CARD, size=int(rng.integers(1, 6))):
            broken[place] = int(rng.integers(256))
        new = bytes(broken)
    elif kind == 7:
        new = b" " * _CARD
    else:
        return _put_in(content, end, keyword.ljust(8) + b"= " + value.rjust(20))
    return content[:here] + new[:_CARD].ljust(_CARD) + content[here + _CARD :]


def _put_in(content: bytes, end: int, new: bytes) -> bytes:
    """A card before END, where the block has room for it."""
    room = content[end + _CARD : -(-(end + _CARD) // _BLOCK) * _BLOCK]
    if len(room) < _CARD:
        return content[: end - _CARD] + new.ljust(_CARD) + content[end:]
    return content[:end] + new[:_CARD].ljust(_CARD) + content[end : end + _CARD] + content[end + 2 * _CARD :]


def data(content: bytes, rng: np.random.Generator) -> bytes:
    """Words of what follows a header: tables of tiles and coordinates, pixels, heaps."""
    found = headers(content)
    if not found:
        return flip_bytes(content, rng)
    number = int(rng.integers(len(found)))
    begin = -(-(found[number][1] + _CARD) // _BLOCK) * _BLOCK
    stop = found[number + 1][0] if number + 1 < len(found) else len(content)
    broken = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        near = begin + int(rng.integers(0, max(1, min(stop - begin, int(_pick(rng, (16, 64, 512, 4096)))))))
        word = _pick(rng, (0, 1, -1, 255, 1 << 16, (1 << 31) - 1, -(1 << 31), int(rng.integers(1 << 31))))
        packed = _pick(
            rng, (struct.pack(">i", word), struct.pack(">q", word << 24), struct.pack(">d", np.nan), rng.bytes(1))
        )
        broken[near : near + len(packed)] = packed
    return bytes(broken[: len(content)])


def tokens(content: bytes, rng: np.random.Generator) -> bytes:
    """Words and numbers of a text become others, lines go, come twice or change places."""
    for _ in range(int(_pick(rng, (1, 1, 2, 4)))):
        if rng.random() < 0.3:
            lines = content.split(b"\n")
            first, second = (int(place) for place in rng.integers(len(lines), size=2))
            kind = int(rng.integers(3))
            if kind == 0:
                del lines[first]
            elif kind == 1:
                lines.insert(second, lines[first])
            else:
                lines[first], lines[second] = lines[second], lines[first]
            content = b"\n".join(lines)
            continue
        words = list(re.finditer(rb"[\w.+-]+|[^\w\s]", content))
        if not words:
            return content
        found = _pick(rng, words)
        new = _pick(rng, _WORDS) if rng.random() < 0.8 else _pick(rng, words).group()
        content = content[: found.start()] + new + content[found.end() :]
    return content


_WORDS = (
    b"0", b"-1", b"1e999", b"nan", b"inf", b"99999999999999999999999", b"0.5", b"true", b"null", b'"text"', b"'x'", b"[]", b"{}",
    b"[[1, 2], [3]]", b"", b"\xff\xfe", b"\x00", b"[" * 3000, b'{"a":' * 3000, b"int64", b"object", b"float16", b"string", b"2024-01-01",
    b"\xc3\xa9", b"..", b"/", b"http://127.0.0.1:9/x.fits", b"s3://b", b"a\nb", b"|", b"<", b"&amp;", b"subtype: json", b"!!python/object:os.system", b"1" * 5000,
)  # fmt: skip


def tree(content: bytes, rng: np.random.Generator) -> bytes:
    """A value anywhere in a JSON document becomes another, goes, or comes under another name."""
    try:
        document = json.loads(content)
    except ValueError:
        return tokens(content, rng)
    for _ in range(int(_pick(rng, (1, 1, 2)))):
        places = list(_places(document))
        if not places:
            break
        parent, key = _pick(rng, places)
        kind = int(rng.integers(8))
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent["strange"] = parent.pop(key)
        else:
            values = (
                None,
                True,
                -1,
                0,
                1,
                3,
                7,
                1000,
                100000,
                2**70,
                0.5,
                float("nan"),
                float("inf"),
                "",
                "text",
                [],
                {},
                [[1, 2]],
                [1],
                {"a": 1},
                "\ud800",
                ["a", 1],
                1e308,
            )
            parent[key] = _pick(rng, values)
    return json.dumps(document).encode()


def _places(node: Any) -> Any:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key])


def archive(content: bytes, rng: np.random.Generator) -> bytes:
    """Arrays of an ``.npz`` archive get headers of another type or size, other content, other names, or go."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        members = old.namelist()
        chosen = _pick(rng, members)
        for name in members:
            array = old.read(name)
            if name == chosen:
                kind = int(rng.integers(6))
                if kind == 0:
                    continue
                if kind == 1:
                    name = _pick(rng, ("other.npy", "../up.npy", "x", name + name))
                elif kind == 2:
                    shape = _pick(
                        rng,
                        (
                            b"(1000000000000,)",
                            b"(99999, 99999)",
                            b"(-1,)",
                            b"()",
                            b"(2,)",
                            b"(0,)",
                            b"'x'",
                            b"(1e3,)",
                            b"((1,),)",
                        ),
                    )
                    array = re.sub(rb"\([\d, ]*\)", shape, array, count=1)
                elif kind == 3:
                    array = array.replace(
                        b"<f4", _pick(rng, (b"|O ", b"<f8", b"<U9", b"<c8", b"<i4", b">f4", b"<M8", b"|V4")), 1
                    )
                elif kind == 4:
                    array = array[:-4] + struct.pack("<f", _pick(rng, (np.nan, np.inf, -1e38)))
                else:
                    array = flip_bytes(array, rng)
            new.writestr(name, array, int(_pick(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))))
    return made.getvalue()


def unchanged(content: bytes, rng: np.random.Generator) -> bytes:
    """As it is: whole files are read."""
    return content


FITS: tuple[Mutation, ...] = (card, card, card, card, card, data, data, data, flip_bytes, spoil_run, cut)
TEXT: tuple[Mutation, ...] = (tokens, tokens, tokens, tokens, flip_bytes, spoil_run, cut)
JSON: tuple[Mutation, ...] = (tree, tree, tree, tree, tokens, tokens, flip_bytes, cut)
ARCHIVE: tuple[Mutation, ...] = (archive, archive, archive, flip_bytes, spoil_run, cut)
BINARY: tuple[Mutation, ...] = (flip_bytes, flip_bytes, spoil_run, spoil_run, cut)


def mutations_for(name: str) -> tuple[Mutation, ...]:
    """The ways to break a file of this name."""
    for endings, ways in (
        ((".fits", ".ldac"), FITS),
        ((".json",), JSON),
        ((".npz",), ARCHIVE),
        ((".parquet", ".gz", ".bz2", ".xz"), BINARY),
    ):
        if name.endswith(endings):
            return ways
    return TEXT
