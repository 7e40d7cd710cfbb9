"""Jobs of a survey and their outcomes, and the executor that hands them to the cluster."""

import logging
import math
import queue
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy.table import QTable

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.errors import InputError, MorpheusError, OutputError
from morpheus_lite.survey.mosaic.joined import Look, Mosaic, TileError
from morpheus_lite.survey.mosaic.pieces import PIECES, Piece, PieceMaps
from morpheus_lite.survey.state import LOG, State, digest, log_tail
from morpheus_lite.survey.tile import Tile
from morpheus_lite.survey.watch import time_limit

if TYPE_CHECKING:
    from distributed import Client, Future


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """The parts of one tile of a mosaic that is classified.

    Parameters
    ----------
    model : str
        Name of the model.
    maps : PieceMaps
        The class maps of the tile.
    rows : astropy.table.QTable
        The sources that the tile owns.
    inputs : mapping
        The tile's files, with the hashes of their content.
    seconds : float
        The tile's part of the time that the mosaic took.
    """

    model: str
    maps: PieceMaps
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
        What the products depend on, as `~morpheus_lite.survey.state.run_of` says.
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
    mosaic : str or None
        Name of the mosaic that the tile is a part of, empty if of none; None where tiles are for themselves.
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
    mosaic: str | None = None

    @property
    def name(self) -> str:
        """Name of the work."""
        return self.tile.name if self.piece is None else f"{self.tile.name}:{self.piece.name}"

    @property
    def directory(self) -> Path:
        """Directory of the products."""
        return self.tile.directory(Path(self.root))

    @property
    def place(self) -> Path:
        """Directory of what is needed while a mosaic is worked on."""
        return self.directory / PIECES

    def piece_path(self, piece: Piece) -> Path:
        """Path of the class maps of a piece."""
        return self.directory / f"{self.tile.name}_{piece.name}_morpheus.fits"

    @property
    def log(self) -> Path:
        """Path of the log."""
        return self.directory / LOG if self.piece is None else self.place / f"{self.piece.name}.log"


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
    doubts : tuple of str
        What was warned of.
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
    doubts: tuple[str, ...] = ()


@dataclass(eq=False)
class Whole:
    """An image that is worked on piece by piece: a large tile, or a mosaic.

    Parameters
    ----------
    job : Job
        Its job.
    shape : (int, int)
        Height and width in pixels.
    members : mapping of str to Job
        Jobs of the tiles of a mosaic, by name.
    pieces : list of Piece
        How it is cut.
    seconds : float
        What the pieces took.
    """

    job: Job
    shape: tuple[int, int]
    members: Mapping[str, Job] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, mosaic: Mosaic, jobs: Mapping[str, Job]) -> "Whole":
        """A mosaic, with the jobs of its tiles, by name."""
        members = {part.tile.name: jobs[part.tile.name] for part in mosaic.parts}
        first, windows = members[mosaic.parts[0].tile.name], [part.window for part in mosaic.parts]
        tiles = {name: [job.made_of, list(w.shape)] for (name, job), w in zip(members.items(), windows, strict=True)}
        seconds = None if first.seconds is None else first.seconds * len(members)
        made_of = {**first.made_of, "tiles": digest([tiles, [[window.y, window.x] for window in windows]])}
        return cls(replace(first, tile=mosaic, seconds=seconds, made_of=made_of), mosaic.shape, members)

    def without(self, name: str) -> "Whole":
        """The mosaic of the other tiles."""
        assert isinstance(self.job.tile, Mosaic)
        return Whole.of(self.job.tile.without(name), self.members)

    @property
    def names(self) -> list[str]:
        """Tiles whose products come of it."""
        return list(self.members) or [self.job.name]


def failure(job: Job, error: BaseException, text: str = "") -> Outcome:
    """The outcome of a tile that failed; ``text`` says it in other words than the error."""
    text = text or " ".join(str(error).split()) or type(error).__name__
    culprit = error.tile if isinstance(error, TileError) else ""
    kind = InputError.__name__ if culprit else type(error).__name__
    return Outcome(job.name, "failed", error=text, kind=kind, tail=log_tail(job.log), culprit=culprit)


LOOK = 5.0
"""Seconds between looks at the workers."""

_NO_WORKER_WARNING = 60.0
"""Seconds without any worker after which that is said."""

_FRAMES = 3
"""Of a traceback, where there is no log."""

MAX_WRITE_FAILURES = 3
"""Tiles in a row that cannot be written after which the run gives up."""

log = logging.getLogger(__name__)


class SchedulerLostError(MorpheusError):
    """The scheduler is gone; what was done is done."""


@dataclass(frozen=True, eq=False)
class ClusterExecutor:
    """Work on the workers of a cluster: a `~morpheus_lite.runtime.resources.Executor` that also runs jobs.

    Parameters
    ----------
    client : distributed.Client
        From `~morpheus_lite.survey.cluster.connected`.
    retries : int
        How often what failed is tried again.
    seconds : float, optional
        Time limit of an item of `map`, after which a worker process ends itself; a job has its own.
    """

    client: "Client"
    retries: int = 2
    seconds: float | None = None

    def run(self, jobs: Iterable[Job], work: Callable[[Job], Outcome] | None = None) -> Iterator[Outcome]:
        """Work through jobs, taken as workers become free, and yield their outcomes as they end.

        No more tiles are handed out than there are threads: a worker that dies takes only the tile it works on, and the
        scheduler's memory does not grow with the survey. ``work`` stands in for
        `~morpheus_lite.survey.worker.run_job`.

        Raises
        ------
        SchedulerLostError
            The scheduler does not answer any more.
        OutputError
            Nothing can be written any more.
        """
        from morpheus_lite.survey.worker import run_job

        client, waiting, at_work = self.client, iter(jobs), dict[str, tuple[Job, "Future"]]()
        done: queue.SimpleQueue[str] = queue.SimpleQueue()
        write_failures, n_threads, seen, looked = 0, 0, time.monotonic(), -math.inf
        while True:
            if (now := time.monotonic()) - looked >= LOOK:
                looked, n_threads = now, sum(client.nthreads().values()) if client.status == "running" else 0
                seen = now if n_threads else seen
                if now - seen > _NO_WORKER_WARNING:
                    log.warning("no worker has been there for %.0f s; waiting for one", now - seen)
            if more := list(islice(waiting, max(n_threads, 1, len(at_work)) - len(at_work))):
                keys = [f"{job.step}-{job.run}-{job.name}" for job in more]
                futures = client.map(work or run_job, more, retries=self.retries, pure=False, key=keys)
                at_work |= zip(keys, zip(more, futures, strict=True), strict=True)
                for future in futures:
                    future.add_done_callback(lambda ended: done.put(str(ended.key)))
            if not at_work:
                return
            for key in _ended(done):
                outcome = _outcome(*at_work.pop(key))
                write_failures = write_failures + 1 if outcome.kind == OutputError.__name__ else 0
                yield outcome
            if write_failures >= MAX_WRITE_FAILURES:
                client.cancel([future for _, future in at_work.values()], force=True)
                raise OutputError(
                    f"{write_failures} tiles in a row cannot be written ({outcome.error}); the run stops here"
                )

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Apply the function to each item, and yield the results in order."""
        if not items:
            return
        # What the function holds on to travels to each worker once, so that no worker's end takes it along.
        once = {"function": self.client.scatter(function, hash=False, broadcast=True), "seconds": self.seconds}
        for future in self.client.map(_apply, items, **once, retries=self.retries, pure=False, key="sources"):
            yield future.result()
            future.release()


def _apply(item: Any, function: Callable[[Any], Any], seconds: float | None) -> Any:
    with time_limit(seconds, sys.stderr):
        return function(item)


def _ended(done: "queue.SimpleQueue[str]") -> Iterator[str]:
    """Keys of jobs that have ended: waits a while for the first, and takes those that are there by then."""
    with suppress(queue.Empty):
        yield done.get(timeout=LOOK)
        while True:
            yield done.get_nowait()


def _outcome(job: Job, future: "Future") -> Outcome:
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        raise SchedulerLostError(
            "the scheduler is gone, and with it the tiles that were at work; those that are done stay done. "
            "Start it again, and run the same command"
        )
    error: Any = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, KilledWorker):
        died = f"{error.allowed_failures + 1} worker processes died of it: ended, out of memory, or over the time limit"
        return failure(job, error, text=died)
    found = failure(job, error)
    return found if found.tail else replace(found, tail="".join(traceback.format_tb(future.traceback())[-_FRAMES:]))
