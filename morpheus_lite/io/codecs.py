"""Keep the C code that decompresses tiles inside of its memory.

The decoders of RICE_1 and HCOMPRESS_1 read on behind the bytes of a damaged tile, RICE_1 until there is a byte that is
not 0, and so may leave the memory of the process. Here astropy is given the same decoders on bytes that are followed by
as many as they can read before they notice.
"""

from contextlib import suppress
from typing import Any

import numpy as np


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
