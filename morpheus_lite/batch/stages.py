"""The stages of a run: what is to be known of mosaics first; tiles and pieces of mosaics; then the mosaics' sources."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from morpheus_lite.batch.jobs import Job, Outcome, failure
from morpheus_lite.batch.mosaic import MOST_OPENED, Piece, cut, find_mosaics
from morpheus_lite.batch.run import SchedulerLostError, run_jobs
from morpheus_lite.errors import OutputError

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
        One a tile.
    n_jobs : int
        How many; of more than `~morpheus_lite.batch.mosaic.MOST_OPENED` none is cut.
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
    if side is None or n_jobs > MOST_OPENED:
        for done, outcome in enumerate(run_jobs(client, jobs, retries=retries), 1):
            if step:
                step(done, n_jobs)
            yield outcome
        return
    jobs = list(jobs)
    shapes = find_mosaics([job.tile for job in jobs], side)
    plain = [job for job in jobs if job.tile.name not in shapes]
    mosaics = {job.tile.name: job for job in jobs if job.tile.name in shapes}
    pieces = {name: cut(shape, side) for name, shape in shapes.items()}
    done, total = 0, n_jobs + sum(map(len, pieces.values()))
    failed: dict[str, Outcome] = {}
    for outcome in run_jobs(client, (replace(job, step="prepare") for job in mosaics.values()), retries=retries):
        if outcome.status == "failed":
            failed[outcome.name] = outcome
    seconds = dict.fromkeys(mosaics, 0.0)
    going_on = (job for name, job in mosaics.items() if name not in failed)
    parts = chain.from_iterable(_piece_jobs(job, pieces[job.tile.name]) for job in going_on)
    for outcome in run_jobs(client, chain(plain, parts), retries=retries):
        name, is_piece, _ = outcome.name.partition(":")
        done += 1
        if step:
            step(done, total)
        if not is_piece:
            yield outcome
        elif outcome.status == "failed":
            failed[name] = replace(outcome, name=name, error=f"piece {outcome.name}: {outcome.error}")
        else:
            seconds[name] += outcome.seconds
    for name, job in mosaics.items():
        yield failed.get(name) or _finished(job, pieces[name], client, seconds[name], retries)
        done += 1
        if step:
            step(done, total)


def _piece_jobs(job: Job, pieces: Iterable[Piece]) -> Iterator[Job]:
    return (replace(job, step="piece", piece=piece) for piece in pieces)


def _finished(job: Job, pieces: list[Piece], client: "Client", seconds: float, retries: int) -> Outcome:
    # Only mosaics need the pipeline in this process.
    from morpheus_lite.batch.mosaic_catalog import finish_mosaic

    try:
        return finish_mosaic(job, pieces, client, seconds=seconds, retries=retries)
    except (OutputError, SchedulerLostError):
        raise
    # Whatever may happen with one mosaic, the others go on.
    except Exception as error:
        return failure(job, error)
