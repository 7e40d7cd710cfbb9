"""Stages of a run: small tiles; for large tiles the background, the pieces, and the sources, in this order."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from morpheus_lite.errors import OutputError
from morpheus_lite.survey.mosaic.geometry import Piece, cut, read_prepared
from morpheus_lite.survey.scheduler.jobs import Job, Outcome, failure
from morpheus_lite.survey.scheduler.loop import SchedulerLostError, run_jobs
from morpheus_lite.survey.state.tile_state import tile_directory

if TYPE_CHECKING:
    from distributed import Client

Step = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


def run_stages(
    jobs: Iterable[Job], n_jobs: int, client: "Client", *, retries: int, side: int | None, step: Step | None = None
) -> Iterator[Outcome]:
    """Work through the tiles of a survey; images larger than ``side`` are cut, and worked on piece by piece.

    Parameters
    ----------
    jobs : iterable of Job
        One per tile.
    n_jobs : int
        How many.
    client : distributed.Client
        Of the cluster.
    retries : int
        How often what failed is tried again.
    side : int or None
        Side of the pieces in pixels; None cuts nothing.
    step : callable, optional
        Called with (tiles and pieces done, tiles and pieces in all).

    Yields
    ------
    Outcome
        Of each tile; of a mosaic when its catalogue is made, or when something of it failed.
    """
    large: dict[str, tuple[Job, tuple[int, int]]] = {}
    given: dict[str, Job] = {}
    tell = _Steps(n_jobs, step)
    for outcome in run_jobs(client, _kept(jobs, given, side), retries=retries):
        job = given.pop(outcome.name)
        if outcome.status == "large" and side is not None:
            large[outcome.name] = job, outcome.shape
            continue
        tell.done()
        yield outcome
    if side is not None:
        yield from _run_mosaics(large, side, client, retries, tell)


def _kept(jobs: Iterable[Job], given: dict[str, Job], side: int | None) -> Iterator[Job]:
    """The jobs, which are kept for as long as they are at work."""
    for job in jobs:
        given[job.name] = replace(job, side=side)
        yield given[job.name]


def _run_mosaics(
    large: dict[str, tuple[Job, tuple[int, int]]], side: int, client: "Client", retries: int, tell: "_Steps"
) -> Iterator[Outcome]:
    failed: dict[str, Outcome] = {}
    seconds = dict.fromkeys(large, 0.0)
    for outcome in run_jobs(client, (replace(job, step="prepare") for job, _ in large.values()), retries=retries):
        if outcome.status == "failed":
            failed[outcome.name] = outcome
    pieces = {
        name: cut(shape, side, grid=read_prepared(tile_directory(Path(job.root), name)).grid)
        for name, (job, shape) in large.items()
        if name not in failed
    }
    tell.more(sum(map(len, pieces.values())))
    parts = chain.from_iterable(_piece_jobs(large[name][0], found) for name, found in pieces.items())
    for outcome in run_jobs(client, parts, retries=retries):
        name = outcome.name.partition(":")[0]
        if outcome.status == "failed":
            failed[name] = replace(outcome, name=name, error=f"piece {outcome.name}: {outcome.error}")
        seconds[name] += outcome.seconds
        tell.done()
    for name, (job, _) in large.items():
        yield failed.get(name) or _finished(job, pieces[name], client, seconds[name], retries)
        tell.done()


class _Steps:
    """Counts steps, of which there may come to be more."""

    def __init__(self, total: int, step: Step | None) -> None:
        self._done, self._total, self._step = 0, total, step

    def more(self, count: int) -> None:
        self._total += count

    def done(self) -> None:
        self._done += 1
        if self._step:
            self._step(self._done, self._total)


def _piece_jobs(job: Job, pieces: Iterable[Piece]) -> Iterator[Job]:
    return (replace(job, step="piece", piece=piece) for piece in pieces)


def _finished(job: Job, pieces: list[Piece], client: "Client", seconds: float, retries: int) -> Outcome:
    # Only mosaics need the pipeline in this process.
    from morpheus_lite.survey.mosaic.catalog import finish_mosaic

    try:
        return finish_mosaic(job, pieces, client, seconds=seconds, retries=retries)
    except (OutputError, SchedulerLostError):
        raise
    # Whatever may happen with one mosaic, the others go on.
    except Exception as error:
        return failure(job, error)
