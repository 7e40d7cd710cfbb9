"""Options of every command that reads an image from files."""

from collections.abc import Mapping
from dataclasses import dataclass

from morpheus_lite.config.schema import check, documented, option

Planes = str | Mapping[str, str] | bool | None
"""One file for all bands, or one per band; False, or the text ``none``, does without the planes of the image's file."""


@documented
@dataclass(frozen=True)
class ReadOptions:
    """Keyword arguments of `~morpheus_lite.open_image` that files of options, manifests and commands can give."""

    bands: tuple[str, ...] | None = option(
        None,
        "Names of the bands, in order.",
        unset="those of the file",
        flag="band-names",
        metavar="A,B,...",
        length=(1, None),
        group="Image",
    )
    rms: Planes = option(
        None, "Noise (standard deviation); none: do without.", unset="as in the file", metavar="[NAME=]FILE"
    )
    weight: Planes = option(None, "Inverse variance; none: do without.", unset="as in the file", metavar="[NAME=]FILE")
    dq: Planes = option(None, "Mask of bad pixels; none: do without.", unset="as in the file", metavar="[NAME=]FILE")
    dq_bits: str | int | tuple[str | int, ...] | None = option(
        None, "Bad bits: 1,16 or SAT,CR or ~DETECTED or any.", unset="as header or camera say", metavar="BITS|NAMES"
    )
    zero_points: float | Mapping[str, float] | None = option(
        None, "AB magnitude of one data unit.", unset="the header's", flag="zero-point", metavar="[NAME=]MAG"
    )

    def __post_init__(self) -> None:
        check(self)
