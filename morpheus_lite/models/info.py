"""Description of a model: the content of its ``config.json``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from morpheus_lite.config.classify import DetectionOptions
from morpheus_lite.config.schema import changed
from morpheus_lite.errors import ModelError, OptionError
from morpheus_lite.models.network_config import check_fields

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
        How a window is prepared: a key of `morpheus_lite.inference.patches.PREPARATIONS`.
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
        for label in ("name", "kind", "description", "sha256"):
            self._expect(label, str)
        self._expect("network", Mapping)
        for label in ("bands", "classes"):
            self._expect(label, list | tuple)
            object.__setattr__(self, label, tuple(str(value) for value in getattr(self, label)))
        self._expect("settings", Mapping)
        if "detection" in self.settings:
            table = self.settings["detection"]
            renamed = (
                {_RENAMED.get(key, key): value for key, value in table.items()} if isinstance(table, Mapping) else table
            )
            try:
                changed(DetectionOptions(), renamed, "detection")
            except OptionError as error:
                raise ModelError(f"configuration of a model: {error}") from error
            object.__setattr__(self, "settings", {**self.settings, "detection": renamed})

    @property
    def has_windows(self) -> bool:
        """True if the network sees windows, False if it sees whole tiles."""
        return self.window is not None

    def _expect(self, label: str, kind: Any) -> None:
        value = getattr(self, label)
        if not isinstance(value, kind):
            raise ModelError(
                f"configuration of a model: {label} is {value!r}, expected {getattr(kind, '__name__', kind)}"
            )

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
            It is no JSON object, or fields are missing, unknown or of the wrong type.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{origin} is no JSON ({error})") from error
        known = {f.name for f in fields(ModelInfo)}
        if not isinstance(values, dict):
            raise ModelError(f"{origin} holds {type(values).__name__}, expected an object with the fields of a model")
        required = {"name", "kind", "description", "bands", "classes", "network", "sha256"}
        check_fields(values, known, required, str(origin))
        return ModelInfo(**values)
