"""What goes to a worker and what comes back: a job for each tile, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morpheus_lite.batch.ledger import State, log_tail, tile_directory
from morpheus_lite.batch.tiles import Tile
from morpheus_lite.errors import OutputError
from morpheus_lite.options import ClassifyOptions


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What a worker needs to know to make a tile.

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
        What the products depend on, as `~morpheus_lite.batch.identity.run_of` says.
    state : State
        Why there is something to do.
    threads : int
        Calls of the network at the same time.
    seconds : float or None
        Time limit, after which a worker process ends itself.
    """

    tile: Tile
    options: ClassifyOptions
    root: str
    run: str
    made_of: Mapping[str, Any]
    state: State = State.MISSING
    threads: int = 1
    seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a tile.

    Parameters
    ----------
    name : str
        The tile.
    status : {"done", "adopted", "failed"}
        ``"adopted"``: its files had changed in name or time only.
    seconds : float
        How long it took.
    n_pixels, n_sources : int
        Size of the image and of the catalogue.
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
    error: str = ""
    kind: str = ""
    tail: str = field(default="", repr=False)


def failure(job: Job, error: BaseException, seconds: float = 0.0, text: str = "") -> Outcome:
    """The outcome of a tile that failed; ``text`` says it in other words than the error."""
    text = text or " ".join(str(error).split()) or type(error).__name__
    tail = log_tail(tile_directory(Path(job.root), job.tile.name))
    return Outcome(job.tile.name, "failed", seconds, error=text, kind=type(error).__name__, tail=tail)


def is_output_failure(outcome: Outcome) -> bool:
    """Whether a tile failed because nothing can be written: then others will as well."""
    return outcome.kind == OutputError.__name__
