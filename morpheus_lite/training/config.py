"""Configuration of a training run: frozen, read from TOML."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from morpheus_lite.config.schema import check, documented, from_table, option
from morpheus_lite.errors import ModelError, MorpheusError, OptionError, reading
from morpheus_lite.io.corrections import Corrections, digest_labels, read_corrections
from morpheus_lite.io.source_tables import read_labels
from morpheus_lite.io.untrusted import read_toml
from morpheus_lite.models.losses import LOSSES
from morpheus_lite.models.network_config import OnePassConfig
from morpheus_lite.models.registry import read_info
from morpheus_lite.training.image_config import ImageConfig

TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("tables.toml").read_text(encoding="utf-8"))
"""Defaults and titles, as ``tables.toml`` lists them."""

FINE_TUNING, FINE_TUNING_STAGE = TABLES["fine_tuning"], TABLES["fine_tuning_stage"]
"""What a run that starts from a model and has images takes where nothing else is said; the same of its stages."""


@documented
@dataclass(frozen=True)
class SamplingConfig:
    """Composition of a batch in one stage of training.

    Parameters
    ----------
    until
        Step at which the next stage begins; None for the rest of the training.
    patch
        Side of a patch in pixels, a multiple of the network's pooling.
    batch
        Patches per step.
    per_scene
        Patches cut from one noise realisation of one field.
    pool
        Patches kept in memory and shuffled.
    bright
        Share of patches centred on a source bright enough to classify.
    faint
        Share centred on a faint one.
    large
        Share centred on one of the largest.
    anywhere
        Share of patches anywhere.
    classes
        Shares of the four classes of source among the bright centres.
    bright_snr
        Signal-to-noise ratio of a source, all bands together, from which its class can be told.
    styles
        Shares of the conditions ``"deep"``, ``"matched"`` and ``"free"`` (see `morpheus_lite.training.dataset`).
    drop_bands
        Share of patches with one or more bands missing.
    edges
        Share of patches that the edge of an image crosses: sources that it cuts are few in a field, and many in tiles.
    cutouts
        Share of patches that hold a small cut-out of a simulated field around one source, and no data around it.
    """

    until: int | None = option(None, low=1)
    patch: int = option(160, low=1, high=4096)
    batch: int = option(8, low=1, high=4096)
    per_scene: int = option(8, low=1, high=4096)
    pool: int = option(96, low=1, high=65536)
    bright: float = option(0.62, low=0)
    faint: float = option(0.18, low=0)
    large: float = option(0.07, low=0)
    anywhere: float = option(0.13, low=0)
    classes: tuple[float, ...] = option((1.0, 1.0, 1.0, 1.0), low=0, length=(4, 4))
    bright_snr: float = option(40.0, low=0)
    styles: tuple[float, ...] = option((0.35, 0.15, 0.5), low=0, length=(3, 3))
    drop_bands: float = option(0.45, low=0, high=1)
    edges: float = option(0.25, low=0, high=1)
    cutouts: float = option(0.1, low=0, high=1)

    def __post_init__(self) -> None:
        check(self)
        centres = (self.bright, self.faint, self.large, self.anywhere)
        shares = {"bright + faint + large + anywhere": centres, "classes": self.classes, "styles": self.styles}
        for label, given in shares.items():
            if not sum(given) > 0:
                raise OptionError(f"{label} = 0: expected shares, at least one of them positive")


@documented
@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Parameters
    ----------
    name
        Name of the weights.
    model
        The network; in TOML it may be left out where there is a ``start``, and is that model's.
    fields
        Glob patterns of the simulated fields (``.npz``) to train on, relative to the configuration file. They may be
        empty where there are images.
    validation
        The same of the fields to validate on.
    images
        Observed images to train on; ``[[images]]`` in TOML.
    simulated
        Share of the patches, and of the validation loss, that are of simulated fields where there are images too, so
        that what the images do not show is not forgotten.
    stages
        What batches are made of, one stage after the other; ``[[stages]]`` in TOML.
    loss
        See `morpheus_lite.models.losses`.
    steps
        Batches in all; the learning rate falls to 1 % of ``learning_rate`` over them, along a cosine.
    warmup
        Steps over which the learning rate rises at the start.
    learning_rate
        Peak learning rate of Adam.
    average
        Decay per step of the running mean of the weights, which is what is validated and kept.
    checkpoint_every
        Steps between checkpoints with validation.
    patience
        Checkpoints without a better validation loss before training stops.
    seed
        Seed of weights, patches and noise.
    start
        Name or directory of a model to start from, for fine-tuning; arrays that its network does not have, or has in
        another shape, start at random. With images too, the defaults in TOML are those of `FINE_TUNING`.
    """

    name: str = option(length=(1, 200))
    model: OnePassConfig
    fields: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    images: tuple[ImageConfig, ...] = ()
    simulated: float = option(0.5, above=0, below=1)
    stages: tuple[SamplingConfig, ...] = option((SamplingConfig(),), length=(1, None))
    loss: str = option("factored", choices=LOSSES)
    steps: int = option(6000, low=1, high=10**9)
    warmup: int = option(200, low=0, high=10**9)
    learning_rate: float = option(1.5e-3, above=0, high=1)
    average: float = option(0.998, low=0, below=1)
    checkpoint_every: int = option(500, low=1, high=10**9)
    patience: int = option(6, low=1, high=10**9)
    seed: int = option(1, low=0, high=2**32 - 1)
    start: str | None = option(None, length=(1, None))

    def __post_init__(self) -> None:
        check(self)
        for stage in self.stages:
            if stage.patch % self.model.factor:
                raise OptionError(f"patch={stage.patch}: expected a multiple of {self.model.factor} px")
        ends = [stage.until for stage in self.stages]
        if ends[-1] is not None or None in ends[:-1] or ends[:-1] != sorted(set(ends[:-1])):
            raise OptionError(f"until={ends}: expected rising steps, and none in the last stage")
        if not self.fields and all(image.held_out == "all" for image in self.images):
            raise OptionError("nothing to train on: give fields, or an image that is not held out as a whole")
        if not self.validation and all(image.held_out == "none" for image in self.images):
            raise OptionError("nothing to validate on: give validation, or hold out a part of an image")
        if self.images and self.loss != "factored":
            raise OptionError(
                f"images and loss={self.loss!r}: only loss='factored' can leave out classes that are not known"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingConfig":
        """The configuration in a mapping such as TOML gives.

        Raises
        ------
        OptionError
            An option is missing or unknown.
        """
        values, start = dict(values), values.get("start")
        if start and isinstance(start, str):
            values = {"model": _network_of(start)} | values
        if start and values.get("images"):
            values = FINE_TUNING | {"stages": [{}]} | values
            if isinstance(values["stages"], list):
                stages = values["stages"]
                values["stages"] = [FINE_TUNING_STAGE | one if isinstance(one, dict) else one for one in stages]
        for label in ("fields", "validation"):
            if isinstance(values.get(label), str):
                values[label] = (values[label],)
        return from_table(cls, values, "training configuration")


def read_config(path: str | Path) -> TrainingConfig:
    """A training configuration from a TOML file.

    Raises
    ------
    InputError
        The file cannot be read, or is not TOML.
    OptionError
        An option is missing, unknown or impossible.
    """
    path = Path(path)
    values = read_toml(path)
    with reading(path, OptionError):
        start = values.get("start")
        if isinstance(start, str) and start and (path.parent / start).is_dir():
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
    try:
        info = read_info(start)
    except ModelError as error:
        raise OptionError(f"start = {start!r}: {error}") from error
    if info.has_windows:
        raise OptionError(f"start={start!r} is a model of kind {info.kind!r}; only one-pass models can be fine-tuned")
    return info.network


HELD_OUT_SOURCES = "sources 0.3"
"""What is held out where a configuration does not say it."""


def configure(
    corrections: str | Path, image: str | Path, *, labels: str | Path | None = None, start: str | None = None
) -> TrainingConfig:
    """Configuration of a run that learns from corrections.

    Parameters
    ----------
    corrections : path
        File that the report saved.
    image : path
        The image that was corrected.
    labels : path, optional
        Its class maps (or label map), of the same run as the report; by default ``<image>_morpheus.fits`` beside the
        corrections, beside the image, or in the working directory.
    start : str, optional
        Name or directory of the model to start from; by default the one that found the sources.

    Raises
    ------
    InputError
        The corrections cannot be read.
    OptionError
        There is no such label map, or the model is unknown or cannot be trained.
    """
    found = read_corrections(corrections)
    if labels is None:
        labels = _find_labels(found, (Path(corrections).parent, Path(image).parent, Path.cwd()))
    one = {"image": str(image), "labels": str(labels), "corrections": str(corrections), "held_out": HELD_OUT_SOURCES}
    values = {"name": f"{found.image or 'image'}_corrected", "start": start or found.model, "images": [one]}
    try:
        return TrainingConfig.from_dict(values)
    except OptionError as error:
        if start is not None:
            raise
        raise OptionError(f"{error}; choose a model to start from (--start)") from error


def _find_labels(corrections: Corrections, folders: tuple[Path, ...]) -> Path:
    tried = [folder / f"{corrections.image}_morpheus.fits" for folder in dict.fromkeys(folders)]
    for path in filter(Path.is_file, tried):
        try:
            if digest_labels(read_labels(str(path))) == corrections.labels_digest:
                return path
        except MorpheusError:  # not class maps of this package, whatever the name says
            continue
    raise OptionError(
        f"no class maps of {corrections.image} that were corrected: tried {', '.join(map(str, tried))}; give the "
        "product of the same run as the report (--labels)"
    )
