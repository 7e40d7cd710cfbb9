"""Messages between scheduler and workers: a job for each tile, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astropy.table import QTable

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.survey.mosaic.geometry import Piece, piece_directory
from morpheus_lite.survey.mosaic.grid import Look
from morpheus_lite.survey.mosaic.joined import TileError
from morpheus_lite.survey.state.tile_state import LOG, State, log_tail
from morpheus_lite.survey.tile import Tile


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """The parts of one tile of a mosaic that is classified.

    Parameters
    ----------
    mosaic, model : str
        Name of the mosaic, and of the model.
    pieces : tuple of (Window, str)
        Where pieces of the class maps lie, in pixels of the tile, and their files.
    kinds : tuple of str
        Their planes.
    provenance : mapping
        What they record.
    rows : astropy.table.QTable
        The sources that the tile owns.
    inputs : mapping
        The tile's files, with the hashes of their content.
    seconds : float
        The tile's part of the time that the mosaic took.
    """

    mosaic: str
    model: str
    pieces: tuple[tuple[Window, str], ...]
    kinds: tuple[str, ...]
    provenance: Mapping[str, Any]
    rows: QTable
    inputs: Mapping[str, Any]
    seconds: float


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
    step : {"look", "tile", "prepare", "piece", "share"}
        A look at the headers of a tile; a whole tile; what is to be known of a mosaic before its pieces; a piece of it;
        or the products of one of its tiles.
    piece : Piece, optional
        Which piece.
    share : Share, optional
        What the products of a tile of a mosaic are made of.
    side : int, optional
        Images with a longer side are not classified as a whole, only looked at.
    noise : {"survey", "tile"}
        Whether tiles on one pixel grid are one mosaic.
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
    share: Share | None = None
    side: int | None = None
    noise: str = "tile"

    @property
    def name(self) -> str:
        """Name of the work."""
        return self.tile.name if self.piece is None else f"{self.tile.name}:{self.piece.name}"

    @property
    def directory(self) -> Path:
        """Directory of the products."""
        return self.tile.directory(Path(self.root))

    @property
    def mosaic(self) -> str | None:
        """Name of the mosaic that the tile is a part of, empty if of none; None where tiles are for themselves."""
        return None if self.noise == "tile" else "" if self.share is None else self.share.mosaic

    @property
    def log(self) -> Path:
        """Path of the log."""
        if self.piece is not None:
            return piece_directory(self.directory) / f"{self.piece.name}.log"
        return self.directory / LOG


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Outcome of a tile.

    Parameters
    ----------
    name : str
        The tile.
    status : {"done", "revalidated", "failed", "seen"}
        ``"revalidated"``: its files had changed in name or time only; ``"seen"``: it is to be classified.
    seconds : float
        How long it took.
    n_pixels, n_sources : int
        Size of the image and of the catalogue.
    look : Look, optional
        Of a tile that is to be classified.
    error : str
        What went wrong, in one line.
    kind : str
        Name of the error's type.
    tail : str
        Last lines of the tile's log.
    culprit : str
        The tile of a mosaic that could not be read.
    """

    name: str
    status: str
    seconds: float = 0.0
    n_pixels: int = 0
    n_sources: int = 0
    look: Look | None = None
    error: str = ""
    kind: str = ""
    tail: str = field(default="", repr=False)
    culprit: str = ""


def failure(job: Job, error: BaseException, seconds: float = 0.0, text: str = "") -> Outcome:
    """The outcome of a tile that failed; ``text`` says it in other words than the error."""
    text = text or " ".join(str(error).split()) or type(error).__name__
    tail = log_tail(job.log)
    culprit = error.tile if isinstance(error, TileError) else ""
    kind = InputError.__name__ if culprit else type(error).__name__
    return Outcome(job.name, "failed", seconds, error=text, kind=kind, tail=tail, culprit=culprit)
