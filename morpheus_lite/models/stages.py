"""The (P, Q) of a network's stages, and the checks that every network's configuration needs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from morpheus_lite.errors import ModelError

KERNEL = 3
"""Side of every convolution's kernel."""

UPSAMPLING = ("bicubic_aligned", "bilinear", "nearest")
"""Ways in which maps grow on the way up."""

Stage = tuple[int, int]
"""(P, Q): how many block operations, and how many filters in each."""


def sequence(value: Any, label: str) -> tuple:
    """A list or tuple as a tuple, or a `ModelError`."""
    if isinstance(value, list | tuple):
        return tuple(value)
    raise ModelError(f"{label}={value!r}: expected a list of (P, Q)")


def read_stage(value: Any, label: str) -> Stage:
    """One (P, Q), or a `ModelError`."""
    pair = sequence(value, label)
    if len(pair) != 2:
        raise ModelError(f"{label}: {value!r} is no (P, Q): expected two whole numbers")
    try:
        return positive(pair[0], f"P of {label}"), positive(pair[1], f"Q of {label}")
    except ModelError as error:
        raise ModelError(f"{label}: {value!r} is no (P, Q): {error}") from None


def positive(value: Any, label: str) -> int:
    """A whole number of at least 1, or a `ModelError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"{label} is {value!r}: expected a whole number, at least 1")
    return value


def check_fields(values: Mapping[str, Any], known: Collection[str], required: Collection[str], origin: str) -> None:
    """Raise a `ModelError` where a required field is missing or one is unknown."""
    missing, unknown = set(required) - set(values), set(values) - set(known)
    if missing or unknown:
        raise ModelError(
            f"{origin}: missing {', '.join(sorted(missing)) or 'nothing'}, "
            f"unknown {', '.join(sorted(unknown)) or 'nothing'}; expected the fields {', '.join(sorted(known))}"
        )


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
