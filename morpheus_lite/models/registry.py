"""Models by name or by directory: what there is, loading with checks, saving.

A model is a directory with ``config.json`` (a `ModelInfo`), ``weights.npz`` and ``card.md``.
Nothing in it is ever executed: the configuration is JSON, the weights are arrays of numbers, and the network is built
by the code of this package that `MODEL_FAMILIES` names for the model's kind.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from morpheus_lite.config.classify import PRECISIONS
from morpheus_lite.errors import ModelError, OptionError, reading
from morpheus_lite.models.engines import CompiledGraph, choose_engine, run_by_openvino, warn_of_bfloat16
from morpheus_lite.models.model_files import Model, ModelInfo, OnePassModel, check_weights, pack_weights, unpack_weights
from morpheus_lite.models.network_config import OnePassConfig, OnePassNetwork, UNetConfig, peak_bytes, stage_margins
from morpheus_lite.models.preprocessing import PREPARATIONS
from morpheus_lite.runtime.atomic import atomic_directory

CONFIG, WEIGHTS, CARD = "config.json", "weights.npz", "card.md"


class ModelFamily(NamedTuple):
    """Description of a kind of model."""

    config: type[UNetConfig] | type[OnePassConfig]
    """What the ``network`` of a configuration is read as."""
    load: Callable[..., Any]
    """From a description, weights, ``engine`` and ``precision`` to what `load_model` returns."""


def _load_unet(info: ModelInfo, weights: Mapping[str, np.ndarray], *, engine: str, precision: str) -> Model:
    if precision != "float32":
        raise OptionError(f"{info.name} calculates in float32 only; {precision} is for models that see a tile at once")
    config = UNetConfig.from_dict(info.network)
    if (info.window, len(info.bands), len(info.classes)) != (config.window, config.n_bands, config.n_classes):
        raise ModelError(f"{info.name}: window, bands and classes of the model are not those of its network")
    if info.preprocessing not in PREPARATIONS:
        raise ModelError(
            f"{info.name}: preprocessing {info.preprocessing!r} is unknown; expected one of {', '.join(PREPARATIONS)}"
        )
    if info.margin is None or info.stride is None:
        raise ModelError(f"{info.name}: margin {info.margin}, stride {info.stride}: expected numbers of pixels")
    if engine == "openvino":
        from morpheus_lite.models.graph import window_graph

        functions: Any = [CompiledGraph(window_graph(config, weights, trim=trim)) for trim in (0, info.margin)]
    else:
        from morpheus_lite.models.tensorflow_engine import compile_windows

        functions = compile_windows(config, weights, info.margin)
    predict, predict_inner = functions
    prepare = PREPARATIONS[info.preprocessing]
    return Model(**vars(info), engine=engine, prepare=prepare, predict=predict, predict_inner=predict_inner)


def _load_onepass(info: ModelInfo, weights: Mapping[str, np.ndarray], *, engine: str, precision: str) -> OnePassModel:
    network = network_of(info, weights)
    if engine == "openvino":
        predict_inner, release = run_by_openvino(network, precision)
    else:
        from morpheus_lite.models.tensorflow_engine import compile_tiles

        predict_inner, release = compile_tiles(network, precision=precision), lambda: None
    return OnePassModel(
        **vars(info),
        engine=engine,
        halo=stage_margins(network.config)["input"],
        factor=network.config.factor,
        bytes_per_pixel=partial(peak_bytes, network.config),
        predict_inner=predict_inner,
        release=release,
    )


def network_of(info: ModelInfo, weights: Mapping[str, np.ndarray]) -> OnePassNetwork:
    """The network of a model.

    Raises
    ------
    ModelError
        Bands of the model are not those of its network.
    """
    config = OnePassConfig.from_dict(info.network)
    if info.bands != config.bands:
        raise ModelError(f"{info.name}: bands {info.bands} of the model are not those of its network, {config.bands}")
    calibration = info.settings.get("calibration", {})
    return OnePassNetwork(config, weights, float(calibration.get("temperature", 1.0)), calibration.get("bias") or 0.0)


MODEL_FAMILIES: dict[str, ModelFamily] = {
    "unet": ModelFamily(UNetConfig, _load_unet),
    "onepass": ModelFamily(OnePassConfig, _load_onepass),
}
"""Kinds of models, by the ``kind`` of their configuration."""


def list_models() -> tuple[ModelInfo, ...]:
    """The models that came with the package, by name.

    Returns
    -------
    tuple of ModelInfo
        What is known of each; nothing is loaded.

    Examples
    --------
    >>> "hausen2020" in [model.name for model in list_models()]
    True
    """
    return tuple(_read_info(folder) for _, folder in sorted(_shipped().items()))


def choose_model(bands: Sequence[str], pixel_scale: float | None) -> str:
    """The shipped one-pass model that suits an image best, by its bands and its pixel scale.

    Parameters
    ----------
    bands : sequence of str
        Names of the image's bands.
    pixel_scale : float or None
        In arcseconds; None where unknown.

    Returns
    -------
    str
        Name of the model that knows most of the bands by name, if the pixel scale lies in the range it was trained on;
        else of one that takes any band.

    Raises
    ------
    ModelError
        No model suits.

    Examples
    --------
    >>> choose_model(["F606W", "F160W"], 0.06)
    'hst'
    """

    def n_known(info: ModelInfo) -> int:
        return len(set(info.bands) & set(bands))

    def suits(info: ModelInfo) -> bool:
        least, largest = info.settings.get("domain", {}).get("pixel_scale", (0.0, np.inf))
        return not info.bands or (n_known(info) > 0 and (pixel_scale is None or least <= pixel_scale <= largest))

    suited = [info for info in list_models() if not info.has_windows and suits(info)]
    if not suited:
        scale = "unknown pixel scale" if pixel_scale is None else f'{pixel_scale:.3g}"/px'
        raise ModelError(f"no shipped model suits bands {', '.join(bands)} at {scale}; name one with --model")
    return max(suited, key=n_known).name


def load_model(
    name_or_path: str | Path, *, device: str = "auto", precision: str = "float32", engine: str = "auto"
) -> Model:
    """Load a model, checked against its checksum.

    Parameters
    ----------
    name_or_path : str or path
        Name of a shipped model, or a model's directory.
    device : str
        ``"auto"``: a GPU if TensorFlow sees one; ``"cpu"``, ``"gpu"``, or ``"gpu:1"`` for the second.
    precision : {"float32", "bfloat16"}
        What the network of a one-pass model calculates in; others know float32 only.
    engine : {"auto", "openvino", "tensorflow"}
        What runs the network. ``"auto"`` takes OpenVINO on a CPU, and TensorFlow on a GPU or where OpenVINO is not
        installed. Probabilities agree within 1e-5.

    Returns
    -------
    Model
        Ready to predict; its class depends on the kind of model (see `MODEL_FAMILIES`).

    Raises
    ------
    ModelError
        There is no such model, or it is incomplete, damaged, or of an unknown kind.
    OptionError
        There is no such device or engine, or the model or the engine does not know the precision.

    Examples
    --------
    >>> model = load_model("hausen2020")
    >>> model.bands
    ('F160W', 'F125W', 'F606W', 'F850LP')
    """
    if precision not in PRECISIONS:
        raise OptionError(f"precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    info, weights = load_weights(name_or_path)
    engine = choose_engine(engine, device, precision)
    on_cpu = engine == "openvino"
    if engine == "tensorflow":
        from morpheus_lite.models.tensorflow_engine import has_gpu, one_thread_a_call, use_device

        one_thread_a_call()
        use_device(device)
        on_cpu = not has_gpu()
    with reading(f"{name_or_path}: {CONFIG}", ModelError):
        model = MODEL_FAMILIES[info.kind].load(info, weights, engine=engine, precision=precision)
    if precision == "bfloat16" and on_cpu:
        warn_of_bfloat16()
    return model


def load_weights(name_or_path: str | Path) -> tuple[ModelInfo, dict[str, np.ndarray]]:
    """Load the description of a model, and its weights by name; checked as by `load_model`."""
    folder = _find(name_or_path)
    info = _read_info(folder)
    if info.kind not in MODEL_FAMILIES:
        raise ModelError(f"{info.name} is of kind {info.kind!r}; this version supports {', '.join(MODEL_FAMILIES)}")
    content = _read(folder, WEIGHTS)
    found = hashlib.sha256(content).hexdigest()
    if found != info.sha256:
        raise ModelError(
            f"{folder.joinpath(WEIGHTS)} is not what {CONFIG} promises: sha256 {found[:12]}..., expected "
            f"{info.sha256[:12]}...; it is damaged or was replaced: install the package, or copy the model, anew"
        )
    origin = str(folder.joinpath(WEIGHTS))
    weights = unpack_weights(content, origin)
    with reading(folder.joinpath(CONFIG), ModelError):
        shapes = MODEL_FAMILIES[info.kind].config.from_dict(info.network).weight_shapes()
    check_weights(weights, shapes, origin)
    return info, weights


def read_info(name_or_path: str | Path) -> ModelInfo:
    """Read the description of a model without its weights."""
    return _read_info(_find(name_or_path))


def read_card(name_or_path: str | Path) -> str:
    """The card of a model: Markdown."""
    return _read(_find(name_or_path), CARD).decode(errors="replace")


def save_model(
    directory: str | Path, info: ModelInfo, arrays: Mapping[str, np.ndarray], *, card: str = "", overwrite: bool = False
) -> ModelInfo:
    """Write a model's directory, the same bytes for the same model.

    Parameters
    ----------
    directory : path
        Where; created if it does not exist.
    info : ModelInfo
        The description; its ``sha256`` is filled in.
    arrays : mapping of str to numpy.ndarray
        The weights: `morpheus_lite.models.networks.network_weights` of the network.
    card : str
        Markdown; no card is written without it.
    overwrite : bool
        Whether files that exist may be replaced.

    Returns
    -------
    ModelInfo
        With the checksum.

    Raises
    ------
    OutputError
        There is such a file already, or it cannot be written.
    """
    content = pack_weights(arrays)
    info = replace(info, sha256=hashlib.sha256(content).hexdigest())
    products = {WEIGHTS: content, CONFIG: info.to_json().encode(), **({CARD: card.encode()} if card else {})}
    directory = Path(directory)
    with atomic_directory([directory / name for name in products], overwrite=overwrite) as temporary:
        for name, data in products.items():
            (temporary / name).write_bytes(data)
    return info


def _find(name_or_path: str | Path) -> Traversable:
    shipped = _shipped()
    if name_or_path in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_dir():
        return path
    raise ModelError(
        f"there is no model {str(name_or_path)!r}: expected one of {', '.join(sorted(shipped))}, or a directory with "
        f"{CONFIG} and {WEIGHTS}"
    )


def _shipped() -> dict[str, Traversable]:
    entries = files("morpheus_lite._weights").iterdir()
    return {entry.name: entry for entry in entries if entry.is_dir() and entry.joinpath(CONFIG).is_file()}


def _read_info(folder: Traversable) -> ModelInfo:
    return ModelInfo.from_json(_read(folder, CONFIG), str(folder.joinpath(CONFIG)))


def _read(folder: Traversable, name: str) -> bytes:
    try:
        return folder.joinpath(name).read_bytes()
    except OSError as error:
        raise ModelError(f"{folder} is not a complete model: cannot read {name} ({error.strerror or error})") from error
