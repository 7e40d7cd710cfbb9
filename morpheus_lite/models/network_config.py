"""Configurations of the networks: their stages, settings, and the shapes of their weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from morpheus_lite.config.schema import check, from_table, option, plain_values
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.errors import ModelError

KERNEL = 3
"""Side of every convolution's kernel."""

_MOST, _MOST_STAGES = 4096, 10
"""Operations or filters of a stage, and stages: beyond them the shapes of the weights would be counted for ever."""

Stage = tuple[int, int]
"""(P, Q): how many block operations, and how many filters in each."""


def network_shapes(
    channels: int, down: Sequence[Stage], intermediate: Stage, up: Sequence[Stage], answers: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a U-Net by their names, from its input of so many channels to so many answers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, stage in enumerate(down):
        shapes |= block_shapes(f"down_{i}", channels, stage)
        channels = stage[1]
    shapes |= block_shapes("intermediate", channels, intermediate)
    channels = intermediate[1]
    for i, (stage, (_, skip)) in enumerate(zip(up, reversed(down), strict=True)):
        shapes |= block_shapes(f"up_{i}", channels + skip, stage)
        channels = stage[1]
    return shapes | _convolution_shapes("final_conv", channels, answers)


def block_shapes(name: str, channels: int, stage: Stage) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a block by their names: a normalisation and a convolution an operation."""
    p, q = stage
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(p):
        for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{name}_{i}_norm/{variable}"] = (channels,)
        shapes |= _convolution_shapes(f"{name}_{i}_conv", channels, q)
        channels = q
    return shapes


def _convolution_shapes(name: str, channels: int, q: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/kernel": (KERNEL, KERNEL, channels, q), f"{name}/bias": (q,)}


@dataclass(frozen=True)
class _Config:
    """Base of the configurations of all networks: stages of a U-Net, and plain values."""

    down: tuple[Stage, ...] = option(low=1, high=_MOST, length=(0, _MOST_STAGES))
    intermediate: Stage = option(low=1, high=_MOST)
    up: tuple[Stage, ...] = option(low=1, high=_MOST, length=(0, _MOST_STAGES))
    _called: ClassVar[str]

    def __post_init__(self) -> None:
        check(self, error=ModelError)
        if not self.down or len(self.down) != len(self.up):
            raise ModelError(
                f"{len(self.down)} stage(s) down and {len(self.up)} up: expected the same number, at least one"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration that `to_dict` wrote.

        Raises
        ------
        ModelError
            A field is missing, unknown or impossible.
        """
        return from_table(cls, values, cls._called, error=ModelError)


@dataclass(frozen=True)
class UNetConfig(_Config):
    """The shape of a U-Net: one (P, Q) a stage, P block operations with Q filters each.

    Parameters
    ----------
    down : tuple of (int, int)
        Stages of the way down, at full size first; each is followed by 2 x 2 max pooling.
    intermediate : (int, int)
        The stage at the bottom.
    up : tuple of (int, int)
        Stages of the way up, at the smallest size first, as many as ``down``; each starts with upsampling
        by 2 and the output of the stage of the same size on the way down.
    n_bands : int
        Bands of the input.
    n_classes : int
        Classes of the output.
    window : int
        Side of the input in pixels, a multiple of ``2 ** len(down)``.
    upsampling : {"bicubic_aligned"}
        How maps grow on the way up: see `~morpheus_lite.models.networks.bicubic_upsampling`.

    Raises
    ------
    ModelError
        The numbers do not make a network.
    """

    n_bands: int = option(low=1, high=_MOST)
    n_classes: int = option(low=1, high=_MOST)
    window: int = option(low=1, high=1024)
    upsampling: str = option("bicubic_aligned", choices=("bicubic_aligned",))
    _called = "U-Net configuration"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window % self.factor:
            raise ModelError(
                f"window={self.window}: {len(self.down)} stages of pooling need a multiple of {self.factor} px"
            )

    @property
    def factor(self) -> int:
        """Side of the block of pixels that becomes one at the bottom: ``2 ** len(down)``."""
        return 2 ** len(self.down)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array of the weights, by its name."""
        return network_shapes(self.n_bands, self.down, self.intermediate, self.up, self.n_classes)


HAUSEN2020 = UNetConfig(
    ((4, 8), (4, 16), (4, 32)), (1, 16), ((2, 8), (2, 16), (2, 32)), n_bands=4, n_classes=5, window=40
)
"""The published network: 75,421 trainable parameters."""


@dataclass(frozen=True)
class OnePassConfig(_Config):
    """The shape of a one-pass network.

    Parameters
    ----------
    down : tuple of (int, int)
        (P, Q) of the stages of the way down, at the largest size first; each is followed by 2 x 2 max pooling.
    intermediate : (int, int)
        (P, Q) at the bottom.
    up : tuple of (int, int)
        (P, Q) of the way up, at the smallest size first, as many as ``down``.
    cell : int
        Side in pixels of the square that is one position of the first stage (1: every pixel is one). The last
        convolution gives the answers of all pixels of the square. A cell of 2 makes the network about twice as fast
        at equal width; the pixels of a cell do not share weights.
    bands : tuple of str
        Bands of the input, in their order; empty for a network that takes any number of bands in any order.
    stretches : tuple of float
        Every band is shown once for each: ``asinh(S/N / stretch)``.
    stem : (int, int)
        (P, Q) of the block that looks at each band alone before the bands are pooled; only without ``bands``.

    Raises
    ------
    ModelError
        The numbers do not make a network.
    """

    cell: int = option(2, low=1, high=64)
    bands: tuple[str, ...] = ()
    stretches: tuple[float, ...] = option((1.0, 8.0, 64.0), above=0, length=(1, 64))
    stem: Stage = option((1, 16), low=1, high=_MOST)
    _called = "one-pass configuration"

    @property
    def factor(self) -> int:
        """Tiles start at, and are as large as, multiples of this many pixels: ``cell * 2 ** len(down)``."""
        return self.cell * 2 ** len(self.down)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array of the weights, by its name."""
        channels, shapes = (len(self.stretches) + 1) * self.cell**2 * (len(self.bands) or 1), {}
        if not self.bands:
            shapes, channels = block_shapes("stem", channels, self.stem), 2 * self.stem[1]
        answers = len(CLASSES) * self.cell**2
        return shapes | network_shapes(channels, self.down, self.intermediate, self.up, answers)


@dataclass(frozen=True, eq=False)
class OnePassNetwork:
    """A one-pass network by its numbers: shape, weights, calibration.

    Parameters
    ----------
    config : OnePassConfig
        Its shape.
    weights : mapping of str to numpy.ndarray
        As in ``weights.npz``.
    temperature : float
        What the logits are divided by.
    bias : float or sequence of float
        What is then added to them.
    """

    config: OnePassConfig
    weights: Mapping[str, np.ndarray]
    temperature: float = 1.0
    bias: float | Sequence[float] = 0.0


def stage_margins(config: OnePassConfig) -> dict[str, int]:
    """Margin around a tile that each stage has to see, for the tile itself to come out right.

    Parameters
    ----------
    config : OnePassConfig
        The network.

    Returns
    -------
    dict of str to int
        Pixels on each side of the tile at the input of the stages ``up_<i>``, ``intermediate``, ``down_<i>`` and of the
        network, ``input``: whole positions of every pooling that it goes through, if tiles start at multiples of
        ``config.factor``.

    Notes
    -----
    Every convolution spoils one position on each side. Margins are rounded up to what the next pooling, or the
    upsampling before, can keep: whole positions of the coarser grid.
    """
    n, size, need, margins = len(config.down), config.cell, config.cell, {}
    for i in reversed(range(n)):
        need = _rounded_up(need + config.up[i][0] * size, 2 * size)
        margins[f"up_{i}"] = need
        size *= 2
    need += config.intermediate[0] * size
    margins["intermediate"] = need
    for i in reversed(range(n)):
        size //= 2
        need = _rounded_up(need + config.down[i][0] * size, 2 * size)
        margins[f"down_{i}"] = need
    need += 0 if config.bands else config.stem[0] * config.cell
    margins["input"] = margins["down_0"] = _rounded_up(need, 2 * config.cell)
    return margins


def peak_bytes(config: OnePassConfig, n_bands: int) -> float:
    """Memory that the trimmed network takes for every pixel of its input, at its peak: bytes, about.

    Notes
    -----
    What is alive at once where most is: the bands with all their stretches; or what the stem makes of each; or the
    first skip and all that the last stage of the way up makes; and an eighth for what the allocator leaves unused.
    Measured with the network of the ``hst`` weights (four bands) on tiles of 1,288 px: 230 to 250 bytes per pixel with
    OpenVINO; with TensorFlow, two at once, 287 to 317, of which
    the network fills half; this gives 288. The ``any`` weights take 420 to 460 with four bands; this gives 468.
    """
    n_stretches, area = len(config.stretches), config.cell**2
    stretched: float = n_bands * (2 + 2 * n_stretches + 2 * (n_stretches + 1))
    if not config.bands:
        stretched = max(stretched, stretched / 2 + 3 * n_bands * config.stem[1] / area)
    below = config.up[-2][1] if len(config.up) > 1 else config.intermediate[1]
    above = (2 * (below + config.down[0][1]) + below + config.up[-1][1]) / area
    return 4.5 * max(stretched, above)


def _rounded_up(length: int, unit: int) -> int:
    return -(-length // unit) * unit
