"""Messages between scheduler and workers: a job for each tile, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morpheus_lite.config.classify import AUTO, ClassifyOptions
from morpheus_lite.errors import OutputError
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.models.registry import choose_model
from morpheus_lite.survey.mosaic.geometry import Piece, piece_directory
from morpheus_lite.survey.state.tile_state import LOG, State, log_tail, tile_directory
from morpheus_lite.survey.tile import Tile


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Task of making one tile.

    Parameters
    ----------
    tile : Tile
        The tile.
    options : ClassifyOptions
        Its options.
    root : str
        Output directory of the survey, on storage that client and workers share.
    run : str
        Name of the run that holds the directory's lock.
    made_of : mapping
        What the products depend on, as `~morpheus_lite.survey.state.fingerprint.run_of` says.
    state : State
        Why there is something to do.
    threads : int
        Calls of the network at the same time.
    seconds : float or None
        Time limit, after which a worker process ends itself.
    step : {"tile", "prepare", "piece"}
        A whole tile; what is to be known of a mosaic before its pieces; or a piece of it.
    piece : Piece, optional
        Which piece.
    side : int, optional
        Images with a longer side are not classified as a whole: the outcome is ``"large"``.
    """

    tile: Tile
    options: ClassifyOptions
    root: str
    run: str
    made_of: Mapping[str, Any]
    state: State = State.MISSING
    threads: int = 1
    seconds: float | None = None
    step: str = "tile"
    piece: Piece | None = None
    side: int | None = None

    @property
    def name(self) -> str:
        """Name of the work."""
        return self.tile.name if self.piece is None else f"{self.tile.name}:{self.piece.name}"

    @property
    def log(self) -> Path:
        """Path of the log."""
        directory = tile_directory(Path(self.root), self.tile.name)
        return directory / LOG if self.piece is None else piece_directory(directory) / f"{self.piece.name}.log"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Outcome of a tile.

    Parameters
    ----------
    name : str
        The tile.
    status : {"done", "revalidated", "failed", "large"}
        ``"revalidated"``: its files had changed in name or time only; ``"large"``: nothing was done, it is to be cut.
    seconds : float
        How long it took.
    n_pixels, n_sources : int
        Size of the image and of the catalogue.
    shape : (int, int)
        Of an image that is to be cut.
    error : str
        What went wrong, in one line.
    kind : str
        Name of the error's type.
    tail : str
        Last lines of the tile's log.
    """

    name: str
    status: str
    seconds: float = 0.0
    n_pixels: int = 0
    n_sources: int = 0
    shape: tuple[int, int] = (0, 0)
    error: str = ""
    kind: str = ""
    tail: str = field(default="", repr=False)


def model_name(job: Job, image: ImageSource) -> str:
    """The model that a job's image is classified with."""
    return choose_model(image.bands, image.pixel_scale) if job.options.model == AUTO else job.options.model


def failure(job: Job, error: BaseException, seconds: float = 0.0, text: str = "") -> Outcome:
    """The outcome of a tile that failed; ``text`` says it in other words than the error."""
    text = text or " ".join(str(error).split()) or type(error).__name__
    tail = log_tail(job.log)
    return Outcome(job.name, "failed", seconds, error=text, kind=type(error).__name__, tail=tail)


def is_output_failure(outcome: Outcome) -> bool:
    """True if a tile failed because nothing can be written: then others will as well."""
    return outcome.kind == OutputError.__name__
