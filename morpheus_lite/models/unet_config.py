"""The shape of a U-Net such as that of Hausen & Robertson (2020)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from morpheus_lite.errors import ModelError
from morpheus_lite.models.stages import UPSAMPLING, Stage, check_fields, network_shapes, positive, read_stage, sequence


@dataclass(frozen=True)
class UNetConfig:
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
    upsampling : {"bicubic_aligned", "bilinear", "nearest"}
        How maps grow on the way up.

    Raises
    ------
    ModelError
        The numbers do not make a network.
    """

    down: tuple[Stage, ...]
    intermediate: Stage
    up: tuple[Stage, ...]
    n_bands: int
    n_classes: int
    window: int
    upsampling: str = "bicubic_aligned"

    def __post_init__(self) -> None:
        for label in ("down", "up"):
            object.__setattr__(self, label, tuple(read_stage(s, label) for s in sequence(getattr(self, label), label)))
        object.__setattr__(self, "intermediate", read_stage(self.intermediate, "intermediate"))
        if not self.down or len(self.down) != len(self.up):
            raise ModelError(
                f"{len(self.down)} stage(s) down and {len(self.up)} up: expected the same number, at least one"
            )
        for label in ("n_bands", "n_classes", "window"):
            positive(getattr(self, label), label)
        if self.window % self.factor:
            raise ModelError(
                f"window={self.window}: {len(self.down)} stages of pooling need a multiple of {self.factor} px"
            )
        if self.upsampling not in UPSAMPLING:
            raise ModelError(f"upsampling={self.upsampling!r}: expected one of {', '.join(UPSAMPLING)}")

    @property
    def factor(self) -> int:
        """Side of the block of pixels that becomes one at the bottom: ``2 ** len(down)``."""
        return 2 ** len(self.down)

    @property
    def last_reach(self) -> int:
        """Reach of the last stage and the last convolution in pixels: P + 1."""
        return self.up[-1][0] + 1

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array of the weights, by its name."""
        return network_shapes(self.n_bands, self.down, self.intermediate, self.up, self.n_classes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "UNetConfig":
        """The configuration that `to_dict` wrote.

        Raises
        ------
        ModelError
            A field is missing, unknown or impossible.
        """
        known = {f.name for f in fields(cls)}
        check_fields(values, known, known - {"upsampling"}, "U-Net configuration")
        return cls(**values)


HAUSEN2020 = UNetConfig(
    down=((4, 8), (4, 16), (4, 32)),
    intermediate=(1, 16),
    up=((2, 8), (2, 16), (2, 32)),
    n_bands=4,
    n_classes=5,
    window=40,
)
"""The published network: 75,421 trainable parameters."""
