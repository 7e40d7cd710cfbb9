"""Files of a model: its description as JSON, and the weights as named arrays; nothing that could run."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from morpheus_lite.config.classify import DetectionOptions
from morpheus_lite.config.schema import changed, check, from_table
from morpheus_lite.core.source_calibration import CALIBRATION_KEY, SourceCalibration
from morpheus_lite.errors import InputError, ModelError, OptionError, reason_of

_RENAMED = {"core": "seed_threshold", "wings": "threshold", "min_significance": "min_snr"}
"""Thresholds of models made with version 0.1, by their names there."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelInfo:
    """Description of a model; every field is one of its ``config.json``.

    Parameters
    ----------
    name : str
        What the model is called.
    kind : str
        How it is built and applied: ``"unet"`` sees windows that are prepared one by one.
    description : str
        One line.
    bands : tuple of str
        Bands of the input in their order; empty where the model takes any.
    classes : tuple of str
        Classes of the output, in their order.
    network : dict
        Configuration of the network, as its builder takes it.
    sha256 : str
        Of ``weights.npz``.
    window, margin, stride : int or None
        Side of a window, border of its prediction that does not count, and default step between windows, in pixels;
        None for a model without windows.
    preprocessing : str or None
        How a window is prepared: a key of `morpheus_lite.models.preprocessing.PREPARATIONS`.
    pixel_scale : float or None
        Of the images it was trained on, in arcseconds.
    unit : str or None
        Of the images it was trained on.
    licence, reference : str
        Of the weights.
    settings : dict
        What only this kind of model knows.
    """

    name: str
    kind: str
    description: str
    bands: tuple[str, ...]
    classes: tuple[str, ...]
    network: dict[str, Any]
    sha256: str = ""
    window: int | None = None
    margin: int | None = None
    stride: int | None = None
    preprocessing: str | None = None
    pixel_scale: float | None = None
    unit: str | None = None
    licence: str = ""
    reference: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self) is not ModelInfo:  # made of a description that is checked
            return
        check(self, error=ModelError)
        settings = dict(self.settings)
        try:
            if isinstance(table := settings.get("detection"), Mapping):
                settings["detection"] = {_RENAMED.get(key, key): value for key, value in table.items()}
            if "detection" in settings:
                changed(DetectionOptions(), settings["detection"], "detection")
            if CALIBRATION_KEY in settings:
                SourceCalibration.from_dict(settings[CALIBRATION_KEY])
        except (InputError, OptionError) as error:
            raise ModelError(f"configuration of a model: {error}") from error
        object.__setattr__(self, "settings", settings)

    @property
    def has_windows(self) -> bool:
        """True if the network sees windows, False if it sees whole tiles."""
        return self.window is not None

    def to_json(self) -> str:
        """The text of ``config.json``."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, origin: str) -> "ModelInfo":
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str or bytes
            Content of ``config.json``.
        origin : str
            What to call it in messages.

        Raises
        ------
        ModelError
            It is not a JSON object, or fields are missing, unknown or of the wrong type.
        """
        try:
            return from_table(cls, json.loads(text), origin, error=ModelError)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{origin} is not JSON ({error})") from error


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(ModelInfo):
    """A model that is ready to predict: its description, and three functions.

    Parameters
    ----------
    engine : str
        What runs the network, ``"openvino"`` or ``"tensorflow"``.
    prepare : callable
        ``prepare(windows, valid)``: windows float32 ``(n, y, x, band)`` and bool of the same shape, or None where all
        values are valid, to the batch that ``predict`` takes.
    predict : callable
        From a batch, float32 ``(n, y, x, band)``, to probabilities, float32 ``(n, y, x, class)``, which sum to 1 over
        the last axis. May be called from several threads.
    predict_inner : callable
        The same for all but the margin, ``(n, y - 2 margin, x - 2 margin, class)``, for less work.
    """

    engine: str
    window: int
    margin: int
    stride: int
    prepare: Callable[[np.ndarray, np.ndarray | None], np.ndarray]
    predict: Callable[[np.ndarray], np.ndarray]
    predict_inner: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class OnePassModel(ModelInfo):
    """A model that classifies a whole tile at once: its description, and how it is applied.

    Parameters
    ----------
    engine : str
        What runs the network, ``"openvino"`` or ``"tensorflow"``.
    halo : int
        Pixels on each side of a tile that its border spoils, if it starts at a multiple of ``factor``.
    factor : int
        Tiles start at, and are as large as, multiples of this.
    bytes_per_pixel : callable
        ``bytes_per_pixel(n_bands)``: memory that ``predict_inner`` takes for a pixel of a tile with its halo, about.
    predict_inner : callable
        ``predict_inner(snr, valid)``: float32 and bool ``(n, y, x, band)``, see `morpheus_lite.noise.background_mesh`,
        to calibrated probabilities of all but the halo, float32 ``(n, y - 2 halo, x - 2 halo, class)``. May be called
        from several threads.
    release : callable
        ``release()`` gives back the memory that is kept for the next tile, where the engine keeps any.
    """

    engine: str
    halo: int
    factor: int
    bytes_per_pixel: Callable[[int], float]
    predict_inner: Callable[[np.ndarray, np.ndarray], np.ndarray]
    release: Callable[[], None]


def pack_weights(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An ``.npz`` archive of named arrays, the same bytes for the same arrays everywhere and at any time.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        Names such as ``down_0_0_conv/kernel``; numbers are stored as little-endian float32.

    Returns
    -------
    bytes
        The archive, not compressed (weights hardly are compressible).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, which is the same every time
            member.create_system = 3
            with archive.open(member, "w") as handle:
                np.lib.format.write_array(handle, np.asarray(arrays[name], "<f4", order="C"), allow_pickle=False)
    return buffer.getvalue()


def unpack_weights(content: bytes, origin: str) -> dict[str, np.ndarray]:
    """The arrays that `pack_weights` packed.

    Parameters
    ----------
    content : bytes
        The archive. Pickled objects in it are refused.
    origin : str
        What to call it in messages.

    Raises
    ------
    ModelError
        It is not such an archive, or is damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
        if strange := [name for name, array in arrays.items() if array.dtype.kind not in "fiu"]:
            raise ValueError(f"{strange[0]} holds no numbers")
        return arrays
    # Damaged archives raise dozens of types.
    except Exception as error:
        raise ModelError(
            f"{origin} is not a weights archive, or is damaged ({reason_of(error)}); get it anew"
        ) from error


def check_weights(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], origin: str) -> None:
    """Raise a `ModelError` where a name is missing or unknown, or a shape is not the network's."""
    missing, unknown = sorted(set(shapes) - set(arrays)), sorted(set(arrays) - set(shapes))
    if missing or unknown:
        raise ModelError(
            f"{origin} does not fit the network of its configuration: {len(missing)} array(s) missing"
            f"{_first(missing)}, {len(unknown)} unknown{_first(unknown)}"
        )
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ModelError(f"{origin}: {name} has shape {arrays[name].shape}, the network needs {shape}")


def _first(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
