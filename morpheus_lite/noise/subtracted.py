"""An image that is read by section, less its background: what detection, deblending and measurement see."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelStore
from morpheus_lite.core.protocols import ImageReader, ImageView
from morpheus_lite.core.windows import Window
from morpheus_lite.noise.background_mesh import (
    STEEP,
    STEEP_SKY,
    BackgroundMesh,
    measure_row,
    near_sources,
    noise_from_rows,
    strips,
    subtract,
)
from morpheus_lite.runtime.resources import run_each, usable_cores

_STRIP_WIDTH = 8192
"""Pixels of a strip that are in memory at once while the noise is measured."""


@dataclass(frozen=True, eq=False)
class SubtractedImage(ImageView):
    """An image seen through its noise map.

    Parameters
    ----------
    image : ImageReader
        The image as it is.
    noise : BackgroundMesh
        Background and noise of the whole image, in its bands.
    sky_noise : bool
        As in `~morpheus_lite.noise.background_mesh.subtract`.
    """

    noise: BackgroundMesh
    sky_noise: bool = False

    def read(self, window: Window, /) -> SkyImage:
        """The pixels of a window, subtracted."""
        return subtract(self.image.read(window), self.noise, window=window, sky_noise=self.sky_noise)


def measure_sections(
    image: ImageReader,
    *,
    background: str | float = "mesh",
    labels: LabelStore | None = None,
    workers: int | None = None,
) -> BackgroundMesh:
    """Background and noise of an image that is read by section, a few pieces of its strips at a time.

    Parameters
    ----------
    image : ImageReader
        The image. It may be read from several threads.
    background : {"mesh", "none"} or float
        What is to be subtracted: what the mesh shows, nothing, or one level in data units.
    labels : LabelStore, optional
        Sources, which are left out, and their surroundings as far as can be.
    workers : int, optional
        Threads (default: one for each usable core).

    Returns
    -------
    BackgroundMesh
        As `~morpheus_lite.noise.background_mesh.measure_background` gives it for the whole image.
    """
    pieces, has_rms = strips(image.shape, width=_STRIP_WIDTH), image.has_rms
    statistics: dict[Window, np.ndarray] = {}

    def work(piece: Window) -> None:
        near = None if labels is None else near_sources(labels.read(piece), labels.boxes, piece)
        statistics[piece] = measure_row(image.read(piece), image.shape, left=piece.x, has_rms=has_rms, near=near)

    run_each(work, pieces, threads=workers or usable_cores())
    rows = (np.concatenate([statistics[piece] for piece in row]) for _, row in groupby(pieces, lambda piece: piece.y))
    least_tilt = STEEP if labels is None else STEEP_SKY
    return noise_from_rows(image.shape, rows, has_rms=has_rms, least_tilt=least_tilt).with_background(background)
