"""Models as ONNX files, for other programs."""

from pathlib import Path
from typing import Any

from morpheus_lite.errors import ModelError, OptionError
from morpheus_lite.models.network_config import OnePassNetwork, UNetConfig, stage_margins
from morpheus_lite.models.registry import ModelInfo, load_weights, network_of
from morpheus_lite.runtime.atomic import atomic_write, check_writable

SMALLEST_TILE = 544
"""Pixels of the smallest tile of SourceXtractor++, of which it uses the half in the middle."""


def export_model(
    name_or_path: str | Path,
    path: str | Path,
    *,
    with_normalization: bool = False,
    sourcextractor_tile: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model as an ONNX file.

    Parameters
    ----------
    name_or_path : str or path
        Name of a shipped model, or a model's directory.
    path : path
        The file.
    with_normalization : bool
        Whether the graph normalises its input. A one-pass model then takes ``data``, ``background`` and ``noise``
        instead of ``snr``; a model of windows takes them as they are.
    sourcextractor_tile : int, optional
        Side in pixels of the tiles of SourceXtractor++, for which the file then is: one band, over its noise, to
        source probability. At least `SMALLEST_TILE`.
    overwrite : bool
        Whether a file that exists may be replaced.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ModelError
        There is no such model, or it cannot be loaded.
    OptionError
        The options do not go with the model, or with one another.
    OutputError
        The file exists, or cannot be written.

    Notes
    -----
    A one-pass model takes images of any height and width, and gives ``probability`` of the same: ``snr``, float32
    ``(1, y, x, band)``, the data minus the background over the noise of a pixel as
    `morpheus_lite.noise.background_mesh` measures them, and ``valid``, 1 or 0. Its result is that of `classify` within
    1e-5, if gaps in the data are filled before as `morpheus_lite.inference.network_input.bridged` does. What the model
    says of itself (name, sha256, bands, classes, normalisation) is in the file's metadata.
    """
    path = Path(path)
    check_writable([path], overwrite)
    info, weights = load_weights(name_or_path)
    if info.has_windows:
        content = _windows(info, weights, with_normalization, sourcextractor_tile)
    else:
        content = _one_pass(info, network_of(info, weights), with_normalization, sourcextractor_tile)
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
    return path


def _one_pass(info: ModelInfo, network: OnePassNetwork, with_normalization: bool, tile: int | None) -> bytes:
    from morpheus_lite.models.graph import detection_graph, image_graph

    if tile is None:
        made_of = "(data - background) / noise" if with_normalization else "snr = (data - background) / noise"
        return image_graph(network, _facts(info, made_of), with_normalization=with_normalization)
    margin, step = stage_margins(network.config)["input"], 2 * network.config.factor
    if with_normalization:
        raise OptionError("SourceXtractor++ normalises by itself: leave out the normalisation")
    if network.config.bands:
        raise ModelError(f"{info.name} needs bands {', '.join(info.bands)}; SourceXtractor++ has one: take 'any'")
    if tile < SMALLEST_TILE or tile % step or tile < 4 * margin:
        raise OptionError(
            f"tile of {tile} px: SourceXtractor++ needs a multiple of {step} px, at least "
            f"{max(SMALLEST_TILE, -(-4 * margin // step) * step)}"
        )
    return detection_graph(network, _facts(info, "(data - background) / median rms, by SourceXtractor++"), tile)


def _windows(info: ModelInfo, weights: Any, with_normalization: bool, tile: int | None) -> bytes:
    from morpheus_lite.models.graph import window_graph

    if tile is not None:
        raise ModelError(f"{info.name} sees windows of {info.window} px in {len(info.bands)} bands, not tiles of one")
    made_of = f"{info.preprocessing}: (x - mean) / max(std, 1 / sqrt(N)) of each window"
    config = UNetConfig.from_dict(info.network)
    return window_graph(config, weights, standardized=not with_normalization, facts=_facts(info, made_of))


def _facts(info: ModelInfo, normalization: str) -> dict[str, str]:
    return {
        "name": info.name,
        "description": info.description,
        "sha256": info.sha256,
        "bands": ",".join(info.bands) or "any",
        "classes": ",".join(info.classes),
        "normalization": normalization,
        "pixel_scale": str(info.pixel_scale or "any"),
        "licence": info.licence,
    }
