"""Inferer: a model and its way of working on an image, which fills the class maps."""

from typing import Any, Protocol

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.windows import EDGES, Window
from morpheus_lite.errors import OptionError
from morpheus_lite.inference.one_pass import OnePass, TileModel
from morpheus_lite.inference.sliding_window import SlidingWindows, WindowModel
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.runtime.resources import Progress


class Inferer(Protocol):
    """A way of working: `~morpheus_lite.inference.one_pass.OnePass` or `SlidingWindows`."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Planes of the class maps that are filled."""

    @property
    def record(self) -> dict[str, Any]:
        """Record of the model, and of how it is applied, in its maps."""

    @property
    def needs_noise(self) -> bool:
        """True if the network sees the image in units of its noise."""

    def grid(self, n_bands: int, /) -> int:
        """Pixels that parts of an image start at multiples of, so that no work is done twice."""

    def within_memory(self, memory: int, image: ImageSource, /) -> "Inferer":
        """The same, doing no more at once than fits into this many bytes of the process.

        Raises
        ------
        OptionError
            Nothing fits.
        """

    def fill(
        self,
        image: ImageSource,
        maps: MapStore,
        /,
        *,
        noise: BackgroundMesh | None = None,
        within: Window | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Fill class maps from an image that is read by section, and never held as a whole.

        Parameters
        ----------
        image : ImageSource
            The image; bands are chosen by name.
        maps : MapStore
            Class maps of the image.
        noise : BackgroundMesh, optional
            Background and noise of the whole image, for a network that needs them; measured here if not given.
        within : Window, optional
            Only this part of the image: what the whole image would give there. More may be written around it.
        progress : callable, optional
            Called with (steps done, steps in all).

        Raises
        ------
        InputError
            The image does not have the bands of the model, or no noise that can be measured, or is too small.
        """


def make_inferer(model: WindowModel | TileModel, options: ClassifyOptions, *, workers: int | None = None) -> Inferer:
    """Choose the way of working that a model is made for.

    Parameters
    ----------
    model : WindowModel or TileModel
        The model: one with a halo sees tiles.
    options : ClassifyOptions
        How it is applied.
    workers : int, optional
        Calls of the network at once; one for each usable core if not given. The result does not depend on it.

    Raises
    ------
    OptionError
        The options do not go with the model.
    """
    if isinstance(model, TileModel):
        if options.stride is not None or options.edges != EDGES[0]:
            raise OptionError(f"{model.name} sees the image in one pass: stride and edges apply only to hausen2020")
        return OnePass(model, uncertainty=options.uncertainty, workers=workers)
    if options.uncertainty:
        raise OptionError(
            f"{model.name} sees every pixel in many windows, and the variance over them is in its maps already; "
            "uncertainty is for models that see the image in one pass"
        )
    return SlidingWindows(model, options.stride, options.edges, options.batch_size, workers=workers)
