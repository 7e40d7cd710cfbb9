"""Stages of a run: a look at every tile; small tiles; of mosaics the background, the pieces, and the sources."""

from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from morpheus_lite.errors import OutputError
from morpheus_lite.runtime.resources import Progress
from morpheus_lite.survey.jobs import ClusterExecutor, Job, Outcome, SchedulerLostError, Whole, failure
from morpheus_lite.survey.mosaic.joined import Look, Mosaic, join
from morpheus_lite.survey.mosaic.pieces import Piece, cut, read_prepared
from morpheus_lite.survey.plan import UNCHANGED, SurveyPlan
from morpheus_lite.survey.state import SUMMARY, read_each, read_json
from morpheus_lite.survey.tile import Tile

MakeJobs = Callable[[Container[str] | None], Iterator[Job]]
"""From names of tiles to their jobs; from None to those of the tiles that are not done."""

_LEAST_SIDE = 1024
"""Of the pieces of a mosaic of tiles, in pixels: smaller ones would be mostly margin."""


@dataclass
class _Steps:
    """Counts steps, of which there may come to be more."""

    total: int
    count: int
    progress: Progress | None

    def done(self, outcome: Outcome) -> Outcome:
        self.count += 1
        if self.progress:
            self.progress(self.count, self.total)
        return outcome


def run_stages(
    plan: SurveyPlan, jobs: MakeJobs, executor: ClusterExecutor, *, side: int | None, progress: Progress | None = None
) -> Iterator[Outcome]:
    """Work through the tiles of a survey; large images, and tiles on one pixel grid, are worked on piece by piece.

    Parameters
    ----------
    plan : SurveyPlan
        What there is to do.
    jobs : callable
        Makes the jobs of tiles.
    executor : ClusterExecutor
        Where the work is done.
    side : int or None
        Side of the pieces in pixels; None cuts nothing.
    progress : callable, optional
        Called with (tiles and pieces done, tiles and pieces in all).

    Yields
    ------
    Outcome
        Of each tile; of those of a mosaic when its catalogue is made, or when something of it failed.
    """
    looks: dict[str, Look] = {}
    tell = _Steps(len(plan.tiles), len(plan.tiles) - len(plan.to_do), progress)
    if progress:
        progress(tell.count, tell.total)
    first = "look" if plan.noise == "survey" else "tile"
    for outcome in executor.run(replace(job, step=first, side=side) for job in jobs(None)):
        if outcome.look is None:
            yield tell.done(outcome)
        else:
            looks[outcome.name] = outcome.look
    wholes = [] if plan.noise == "tile" else _mosaics(plan, looks, jobs)
    joined = {name for whole in wholes for name in whole.members}
    tell.total += len(joined - looks.keys())
    large = {name for name, look in looks.items() if side is not None and max(look.shape) > side} - joined
    for outcome in executor.run(jobs(looks.keys() - joined - large)):
        yield tell.done(outcome)
    wholes += [Whole(job, looks[job.name].shape) for job in jobs(large)]
    for whole in (yield from _classify(wholes, side, executor, tell)):
        yield from map(tell.done, _finish(whole, executor))


def _mosaics(plan: SurveyPlan, looks: Mapping[str, Look], jobs: MakeJobs) -> list[Whole]:
    """The mosaics in which there is something to do."""
    done = [tile for tile in plan.tiles if tile.name not in looks and plan.states[tile.name].state in UNCHANGED]
    seen = {tile.name: (tile, looks[tile.name]) for tile in plan.tiles if tile.name in looks}
    found = read_each(partial(_look_of_before, plan), done)
    seen |= {tile.name: (tile, look) for tile, look in zip(done, found, strict=True) if look}
    before = {tile.name: plan.states[tile.name].mosaic for tile in done}
    mosaics = [one for one in join(seen) if any(before.get(part.tile.name) != one.name for part in one.parts)]
    members = {job.name: job for job in jobs({part.tile.name for one in mosaics for part in one.parts})}
    return [Whole.of(one, members) for one in mosaics]


def _look_of_before(plan: SurveyPlan, tile: Tile) -> Look | None:
    summary = read_json(tile.directory(plan.root) / SUMMARY) or {}
    return Look(**summary["look"]) if "look" in summary else None


def _classify(
    wholes: list[Whole], side: int | None, executor: ClusterExecutor, tell: _Steps
) -> Generator[Outcome, None, list[Whole]]:
    """Classify images piece by piece, and yield what failed; gives back the others."""
    made: list[Whole] = []
    while wholes:
        by_name = {one.job.name: one for one in wholes}
        prepared = executor.run(replace(one.job, step="prepare") for one in wholes)
        failed = {outcome.name: outcome for outcome in prepared if outcome.status == "failed"}
        for one in (one for name, one in by_name.items() if name not in failed):
            one.pieces = _pieces(one, side)
            tell.total += len(one.pieces)
        pieces = (replace(one.job, step="piece", piece=piece) for one in wholes for piece in one.pieces)
        for outcome in map(tell.done, executor.run(pieces)):
            name = outcome.name.partition(":")[0]
            by_name[name].seconds += outcome.seconds
            if outcome.status == "failed":
                text = outcome.error if outcome.culprit else f"piece {outcome.name}: {outcome.error}"
                failed[name] = replace(outcome, name=name, error=text)
        made += [one for name, one in by_name.items() if name not in failed]
        wholes = []
        for name, reason in failed.items():
            names = by_name[name].names
            if reason.culprit in names and len(names) > 1:
                names = [reason.culprit]
                wholes.append(by_name[name].without(reason.culprit))  # the others are a mosaic without it
            for tile in names:
                yield tell.done(replace(reason, name=tile))
    return made


def _pieces(whole: Whole, side: int | None) -> list[Piece]:
    """The pieces of an image; of a mosaic those in which there are tiles."""
    grid, tile, longest = read_prepared(whole.job.place).grid, whole.job.tile, max(whole.shape)
    if not isinstance(tile, Mosaic):
        return cut(whole.shape, side or longest, grid=grid)
    # These are seen by nobody: several workers share a small mosaic, too.
    found = cut(whole.shape, min(side or longest, max(longest // 4, _LEAST_SIDE)), grid=grid)
    return [piece for piece in found if any(part.window.touches(piece.window) for part in tile.parts)]


def _finish(whole: Whole, executor: ClusterExecutor) -> Iterable[Outcome]:
    """The outcomes of an image whose pieces are classified, or of the tiles of a mosaic."""
    # Only mosaics need the pipeline in this process.
    from morpheus_lite.survey.mosaic.catalog import close_mosaic, finish_mosaic, share_out

    try:
        if not whole.members:
            return [finish_mosaic(whole, executor)]
        shares = list(share_out(whole, executor))
    except (OutputError, SchedulerLostError):
        raise
    # Whatever may happen with one mosaic, the others go on.
    except Exception as error:
        return [replace(failure(whole.job, error), name=name) for name in whole.names]
    outcomes = list(executor.run(shares))
    if all(one.status == "done" for one in outcomes):
        close_mosaic(whole.job)
    return outcomes
