"""Fine-tuning from corrections that the report saved: the configuration that needs nothing else."""

from pathlib import Path

from morpheus_lite.core.corrections import Corrections, digest_labels
from morpheus_lite.errors import MorpheusError, OptionError
from morpheus_lite.io.corrections import read_corrections
from morpheus_lite.io.segmentation_map import read_labels
from morpheus_lite.training.config import TrainingConfig

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
    name = found.image or "image"
    if labels is None:
        labels = _find_labels(found, (Path(corrections).parent, Path(image).parent, Path.cwd()))
    one = {"image": str(image), "labels": str(labels), "corrections": str(corrections), "held_out": HELD_OUT_SOURCES}
    values = {"name": f"{name}_corrected", "start": start or found.model, "images": [one]}
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
