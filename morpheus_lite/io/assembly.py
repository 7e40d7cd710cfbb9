"""Assembly of bands to one image: names, noise and masks by option, and checks that all fits."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from morpheus_lite.core.image import canonical_band
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io.bits import chosen_bits
from morpheus_lite.io.image_reader import Band, ImageDescription, MaskPlane, NoisePlane, OpenFiles
from morpheus_lite.io.naming import duplicates
from morpheus_lite.io.plausibility import warn_of_hidden_pixels, with_weight_scale
from morpheus_lite.io.wcs import check_alignment

_KINDS = {"rms": ("rms", "variance"), "weight": ("weight", "exposure")}


def attach_planes(bands: list[Band], role: str, planes: list[Band] | Literal[False] | None) -> list[Band]:
    """Bands with the RMS, weight or mask planes given by option in place of those found.

    Parameters
    ----------
    bands : list of Band
        All with names.
    role : {"rms", "weight", "mask"}
        What the planes are.
    planes : list of Band, False or None
        None keeps what was found, False drops it. A single plane without a name serves all bands.

    Raises
    ------
    InputError
        It is not clear which plane belongs to which band.
    """
    if planes is None:
        return bands
    matched = {} if planes is False else _match(bands, planes, role)
    return [_attach(band, role, matched.get(band.name)) for band in bands]


def _match(bands: list[Band], planes: list[Band], role: str) -> dict[str | None, Band]:
    names = [band.name for band in bands]
    named: dict[str | None, Band] = {plane.name: plane for plane in planes if plane.name}
    if len(planes) == 1 and (not named or len(bands) == 1):
        return dict.fromkeys(names, planes[0])
    if not named and len(planes) == len(bands):
        return dict(zip(names, planes, strict=True))
    unknown = [str(name) for name in named if name not in names]
    if len(named) != len(planes) or unknown:
        raise InputError(
            f"the {role} option gives planes for {', '.join(str(plane.name or '?') for plane in planes)}, but the "
            f"bands are {', '.join(str(name) for name in names)}; give one, or one per band: {{'{names[0]}': ...}}"
        )
    return named


def _attach(band: Band, role: str, plane: Band | None) -> Band:
    if role == "mask":
        return replace(band, masks=() if plane is None else (_mask_of(plane),))
    kept = tuple(noise for noise in band.noise if noise.kind not in _KINDS[role])
    given = () if plane is None else (_noise_of(plane, role),)
    return replace(band, noise=given + kept)


def _noise_of(plane: Band, role: str) -> NoisePlane:
    # An HDU whose name says more (VAR, EXP) brings its kind along.
    said = [noise for noise in plane.noise if noise.plane is plane.data]
    return said[0] if said else NoisePlane(plane.data, role)


def _mask_of(plane: Band) -> MaskPlane:
    # An HDU whose header or name says what its bits mean brings that along.
    said = [mask for mask in plane.masks if mask.plane is plane.data]
    return said[0] if said else MaskPlane(plane.data)


def with_bits(band: Band, option: Any) -> Band:
    """The band with its masks' bad bits given by option: see `~morpheus_lite.io.bits.chosen_bits`."""
    masks = (replace(mask, bits=chosen_bits(option, mask.bits, f"{mask} of {band.name}")) for mask in band.masks)
    return replace(band, masks=tuple(masks))


def describe(bands: list[Band], name: str, files: OpenFiles) -> ImageDescription:
    """The description of an image of these bands.

    Raises
    ------
    InputError
        A band comes twice, or shapes or WCS disagree.
    """
    names = [str(band.name) for band in bands]
    twice = duplicates(names)
    if twice:
        origins = [str(band.data) for band in bands if band.name == twice[0]]
        raise InputError(f"{name}: band {twice[0]} comes {len(origins)} times, from {', '.join(origins)}; give it once")
    shape = bands[0].data.shape
    for band in bands:
        _check_shapes(band, shape, f"{bands[0].name} ({bands[0].data})")
    check_alignment([band.wcs for band in bands], shape, [f"{band.name} ({band.data})" for band in bands])
    wcs = next((band.wcs for band in bands if band.wcs is not None), None)
    scaled = tuple(replace(with_weight_scale(band, files), wcs=None) for band in bands)
    for band in scaled:
        warn_of_hidden_pixels(band, files)
    return ImageDescription(scaled, wcs, name)


def _check_shapes(band: Band, shape: tuple[int, int], reference: str) -> None:
    planes: dict[str, Any] = {"data": band.data}
    planes |= {noise.kind: noise.plane for noise in band.noise} | {f"mask {k}": m for k, m in enumerate(band.masks, 1)}
    for kind, plane in planes.items():
        if plane.shape != shape:
            what = "" if kind == "data" else f"the {kind} plane of "
            raise InputError(
                f"{what}{band.name} ({plane}) is {plane.shape[0]} x {plane.shape[1]} px (y, x), but {reference} is "
                f"{shape[0]} x {shape[1]} px; all planes must lie on one pixel grid"
            )


def with_zero_points(
    description: ImageDescription, zero_points: Mapping[str, float] | Sequence[float | None] | float
) -> ImageDescription:
    """The description with AB zero-points given by option.

    Parameters
    ----------
    description : ImageDescription
        Of the image.
    zero_points : float, sequence or mapping
        One for all bands, one per band in their order, or by band (the others keep what the header says).

    Raises
    ------
    OptionError
        Not numbers, another number of them, or for a band that is not there.
    """
    names = description.band_names
    if isinstance(zero_points, Mapping):
        given: dict[str, Any] = {canonical_band(band, names): value for band, value in zero_points.items()}
        unknown = [band for band in given if band not in names]
        if unknown:
            raise OptionError(f"zero-point for {', '.join(unknown)}, but the bands are {', '.join(names)}")
    elif isinstance(zero_points, Sequence) and not isinstance(zero_points, str):
        if len(zero_points) != len(names):
            raise OptionError(f"{len(zero_points)} zero-points for {len(names)} band(s): {', '.join(names)}")
        given = dict(zip(names, zero_points, strict=True))
    else:
        given = dict.fromkeys(names, zero_points)
    bands = [
        _with_zero_point(band, given[str(band.name)]) if band.name in given else band for band in description.bands
    ]
    return replace(description, bands=tuple(bands))


def _with_zero_point(band: Band, value: Any) -> Band:
    if value is not None:
        try:
            value = float(value)
        except (TypeError, ValueError):
            value = np.nan
        if not np.isfinite(value):
            raise OptionError(f"zero-point of {band.name}: expected a number, the AB magnitude of one data unit")
    source, system = (None, None) if value is None else ("option", "AB")
    return replace(band, zero_point=value, meta={**band.meta, "zero_point_source": source, "zero_point_system": system})
