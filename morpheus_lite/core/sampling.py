"""Sample of pixels for numbers that hold for a whole image, such as its noise."""

from morpheus_lite.core.windows import Window

LARGEST_WHOLE = 1 << 21
"""Pixels of the largest image that is taken whole; of larger images about as many pixels are sampled."""
CELL = 128
"""Side of a sampled cell in pixels: 128 of them make a sample."""


def sample_windows(shape: tuple[int, int]) -> tuple[Window, ...]:
    """Choose windows in which to measure a number that holds for the whole image.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.

    Returns
    -------
    tuple of Window
        The whole image up to `LARGEST_WHOLE` pixels; else cells of `CELL` pixels a side on an even grid, row by row.
        They depend on the shape alone, so the sample is the same for any size of the pieces that are read.

    Examples
    --------
    >>> len(sample_windows((1000, 1000))), len(sample_windows((12288, 12288)))
    (1, 121)
    """
    height, width = shape
    if height * width <= LARGEST_WHOLE:
        return (Window(0, 0, height, width),)
    wanted = LARGEST_WHOLE / CELL**2
    n_rows = _between(round((wanted * height / width) ** 0.5), height)
    n_columns = _between(int(wanted / n_rows), width)
    return tuple(
        Window(y, x, min(CELL, height), min(CELL, width))
        for y in _starts(height, n_rows)
        for x in _starts(width, n_columns)
    )


def _between(wanted: int, length: int) -> int:
    return max(1, min(wanted, length // CELL))


def _starts(length: int, count: int) -> list[int]:
    return [max((2 * k + 1) * length // (2 * count) - CELL // 2, 0) for k in range(count)]
