"""What a training run is told: one frozen configuration, read from TOML."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from morpheus_lite.errors import OptionError, reading
from morpheus_lite.io.untrusted import read_toml
from morpheus_lite.models.losses import LOSSES
from morpheus_lite.models.onepass_config import OnePassConfig
from morpheus_lite.models.registry import read_info
from morpheus_lite.training.image_config import ImageConfig

FINE_TUNING = {
    "steps": 400,
    "warmup": 40,
    "learning_rate": 3e-4,
    "average": 0.99,
    "checkpoint_every": 40,
    "patience": 4,
}
"""What a run that starts from a model and has images takes where nothing else is said."""

FINE_TUNING_STAGE = {"patch": 96, "batch": 16}
"""The same of its stages."""


@dataclass(frozen=True)
class SamplingConfig:
    """What a batch is made of, in one stage of training.

    Parameters
    ----------
    until : int or None
        Step at which the next stage begins; None for the rest of the training.
    patch : int
        Side of a patch in pixels, a multiple of the network's pooling.
    batch : int
        Patches a step.
    per_scene : int
        Patches cut from one noise realisation of one field.
    pool : int
        Patches kept in memory and shuffled.
    bright, faint, large, anywhere : float
        Shares of patches centred on a source bright enough to classify, on a faint one, on one of the largest, or at
        random.
    classes : tuple of float
        Shares of the four classes of source among the bright centres.
    bright_snr : float
        Signal-to-noise ratio of a source, all bands together, from which its class can be told.
    styles : tuple of float
        Shares of the conditions ``"deep"``, ``"matched"`` and ``"free"`` (see `morpheus_lite.training.conditions`).
    drop_bands : float
        Share of patches with one or more bands missing.
    edges : float
        Share of patches that the edge of an image crosses: sources that it cuts are few in a field, and many in tiles.
    """

    until: int | None = None
    patch: int = 160
    batch: int = 8
    per_scene: int = 8
    pool: int = 96
    bright: float = 0.62
    faint: float = 0.18
    large: float = 0.07
    anywhere: float = 0.13
    classes: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    bright_snr: float = 40.0
    styles: tuple[float, ...] = (0.35, 0.15, 0.5)
    drop_bands: float = 0.45
    edges: float = 0.25


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Parameters
    ----------
    name : str
        Name of the weights.
    model : OnePassConfig
        The network; in TOML it may be left out where there is a ``start``, and is that model's.
    fields, validation : tuple of str
        Glob patterns of the simulated fields (``.npz``) to train on, and of those to validate on, relative to the
        configuration file. They may be empty where there are images.
    images : tuple of ImageConfig
        Observed images to train on; ``[[images]]`` in TOML.
    simulated : float
        Share of the patches, and of the validation loss, that are of simulated fields where there are images too, so
        that what the images do not show is not forgotten.
    stages : tuple of SamplingConfig
        What batches are made of, one stage after the other; ``[[stages]]`` in TOML.
    loss : {"factored", "cross_entropy_dice"}
        See `morpheus_lite.models.losses`.
    steps : int
        Batches in all; the learning rate falls to 1 % of ``learning_rate`` over them, along a cosine.
    warmup : int
        Steps over which the learning rate rises at the start.
    learning_rate : float
        Peak learning rate of Adam.
    average : float
        Decay per step of the running mean of the weights, which is what is validated and kept.
    checkpoint_every : int
        Steps between checkpoints with validation.
    patience : int
        Checkpoints without a better validation loss before training stops.
    seed : int
        Seed of weights, patches and noise.
    start : str or None
        Name or directory of a model to start from, for fine-tuning; arrays that its network does not have, or has in
        another shape, start at random. With images too, the defaults in TOML are those of `FINE_TUNING`.
    """

    name: str
    model: OnePassConfig
    fields: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    images: tuple[ImageConfig, ...] = ()
    simulated: float = 0.5
    stages: tuple[SamplingConfig, ...] = (SamplingConfig(),)
    loss: str = "factored"
    steps: int = 6000
    warmup: int = 200
    learning_rate: float = 1.5e-3
    average: float = 0.998
    checkpoint_every: int = 500
    patience: int = 6
    seed: int = 1
    start: str | None = None

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise OptionError(f"loss={self.loss!r}: expected one of {', '.join(LOSSES)}")
        for stage in self.stages:
            if stage.patch % self.model.factor:
                raise OptionError(f"patch={stage.patch}: expected a multiple of {self.model.factor} px")
        ends = [stage.until for stage in self.stages]
        if not ends or ends[-1] is not None or None in ends[:-1] or ends[:-1] != sorted(set(ends[:-1])):
            raise OptionError(f"until={ends}: expected rising steps, and none in the last stage")
        for label in ("steps", "checkpoint_every", "patience"):
            if getattr(self, label) < 1:
                raise OptionError(f"{label}={getattr(self, label)}: expected at least 1")
        self._check_data()

    def _check_data(self) -> None:
        trained = [image for image in self.images if image.held_out != "all"]
        held_out = [image for image in self.images if image.held_out != "none"]
        if not self.fields and not trained:
            raise OptionError("nothing to train on: give fields, or images of which not all is held out")
        if not self.validation and not held_out:
            raise OptionError("nothing to validate on: give validation, or hold out a part of an image")
        if not 0 < self.simulated < 1:
            raise OptionError(f"simulated={self.simulated}: expected a share between 0 and 1")
        if self.images and self.loss != "factored":
            raise OptionError(
                f"images and loss={self.loss!r}: only loss='factored' can leave out classes that are not known"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingConfig":
        """The configuration in a mapping such as TOML gives.

        Raises
        ------
        OptionError
            An option is missing or unknown.
        """
        values = dict(values)
        is_fine_tuning = bool(values.get("start") and values.get("images"))
        if values.get("start") and "model" not in values:
            values["model"] = _network_of(values["start"])
        values = (FINE_TUNING if is_fine_tuning else {}) | values
        known = {f.name for f in fields(cls)}
        unknown, missing = set(values) - known, {"name", "model"} - set(values)
        if unknown or missing:
            raise OptionError(
                f"training configuration: missing {', '.join(sorted(missing)) or 'nothing'}, "
                f"unknown {', '.join(sorted(unknown)) or 'nothing'}; expected {', '.join(sorted(known))}"
            )
        defaults = FINE_TUNING_STAGE if is_fine_tuning else {}
        values["model"] = OnePassConfig.from_dict(values["model"])
        values["stages"] = tuple(_stage(defaults | dict(stage)) for stage in values.get("stages", [{}]))
        values["images"] = tuple(ImageConfig.from_dict(image) for image in values.get("images", ()))
        for label in ("fields", "validation"):
            given = values.get(label, ())
            values[label] = (given,) if isinstance(given, str) else tuple(given)
        return cls(**values)


def read_config(path: str | Path) -> TrainingConfig:
    """A training configuration from a TOML file.

    Raises
    ------
    InputError
        The file cannot be read or is no TOML.
    OptionError
        An option is missing, unknown or impossible.
    """
    path = Path(path)
    values = read_toml(path)
    with reading(path, OptionError):
        start = values.get("start")
        if start and (path.parent / start).is_dir():
            values["start"] = str(path.parent / start)
        config = TrainingConfig.from_dict(values)
    # paths are relative to the file, so that a configuration can be run from anywhere
    return replace(
        config,
        fields=tuple(str(path.parent / pattern) for pattern in config.fields),
        validation=tuple(str(path.parent / pattern) for pattern in config.validation),
        images=tuple(image.anchored(path.parent) for image in config.images),
    )


def _network_of(start: str) -> Mapping[str, Any]:
    info = read_info(start)
    if info.kind != "onepass":
        raise OptionError(f"start={start!r} is a model of kind {info.kind!r}; only one-pass models can be fine-tuned")
    return info.network


def _stage(values: Mapping[str, Any]) -> SamplingConfig:
    known = {f.name for f in fields(SamplingConfig)}
    unknown = set(values) - known
    if unknown:
        raise OptionError(f"stages: unknown {', '.join(sorted(unknown))}; expected {', '.join(sorted(known))}")
    return SamplingConfig(**values)
