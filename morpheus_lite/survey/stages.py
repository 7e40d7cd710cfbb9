"""Stages of a run: a look at every tile; small tiles; of mosaics the background, the pieces, and the sources."""

from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from morpheus_lite.errors import OutputError
from morpheus_lite.survey.jobs import Job, Outcome, SchedulerLostError, failure, run_jobs
from morpheus_lite.survey.mosaic.grid import Look, join
from morpheus_lite.survey.mosaic.joined import Mosaic
from morpheus_lite.survey.mosaic.pieces import Piece, cut, read_prepared
from morpheus_lite.survey.plan import SurveyPlan
from morpheus_lite.survey.state import SUMMARY, State, digest, read_each, read_json
from morpheus_lite.survey.tile import Tile

if TYPE_CHECKING:
    from distributed import Client

Step = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""
RunJobs = Callable[[Iterable[Job]], Iterator[Outcome]]
MakeJobs = Callable[[Container[str] | None], Iterator[Job]]
"""From names of tiles to their jobs; from None to those of the tiles that are not done."""

_LEAST_SIDE = 1024
"""Of the pieces of a mosaic of tiles, in pixels: smaller ones would be mostly margin."""


def run_stages(
    plan: SurveyPlan, jobs: MakeJobs, client: "Client", *, retries: int, side: int | None, step: Step | None = None
) -> Iterator[Outcome]:
    """Work through the tiles of a survey; large images, and tiles on one pixel grid, are worked on piece by piece.

    Parameters
    ----------
    plan : SurveyPlan
        What there is to do.
    jobs : callable
        Makes the jobs of tiles.
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
        Of each tile; of those of a mosaic when its catalogue is made, or when something of it failed.
    """
    looks: dict[str, Look] = {}
    run, tell = partial(run_jobs, client, retries=retries), _Steps(len(plan.to_do), step)
    first = "look" if plan.noise == "survey" else "tile"
    for outcome in run(replace(job, step=first, side=side) for job in jobs(None)):
        if outcome.look is None:
            yield tell.done(outcome)
        else:
            looks[outcome.name] = outcome.look
    wholes = [] if plan.noise == "tile" else _mosaics(plan, looks, jobs)
    joined = {name for whole in wholes for name in whole.members}
    tell.total += len(joined - looks.keys())
    large = {name for name, look in looks.items() if side is not None and max(look.shape) > side} - joined
    for outcome in run(jobs(looks.keys() - joined - large)):
        yield tell.done(outcome)
    wholes += [_Whole(job, looks[job.name].shape) for job in jobs(large)]
    for whole, pieces, seconds in (yield from _make_pieces(wholes, side, run, tell)):
        for outcome in _finished(whole, pieces, client, seconds, retries):
            yield tell.done(outcome)


@dataclass
class _Steps:
    """Counts steps, of which there may come to be more."""

    total: int
    step: Step | None
    count: int = 0

    def done(self, outcome: Outcome) -> Outcome:
        self.count += 1
        if self.step:
            self.step(self.count, self.total)
        return outcome


@dataclass(frozen=True, eq=False)
class _Whole:
    """An image that is worked on piece by piece: its job, its shape, and the jobs of the tiles that it is made of."""

    job: Job
    shape: tuple[int, int]
    members: Mapping[str, Job] = field(default_factory=dict)

    @classmethod
    def of(cls, mosaic: Mosaic, members: Mapping[str, Job]) -> "_Whole":
        first = members[mosaic.parts[0].tile.name]
        tiles = {part.tile.name: [members[part.tile.name].made_of, list(part.window.shape)] for part in mosaic.parts}
        places = [[part.window.y, part.window.x] for part in mosaic.parts]
        seconds = None if first.seconds is None else first.seconds * len(members)
        made_of = {**first.made_of, "tiles": digest([tiles, places])}
        return cls(replace(first, tile=mosaic, seconds=seconds, made_of=made_of), mosaic.shape, members)

    def without(self, name: str) -> "_Whole":
        """The same without one of its tiles."""
        assert isinstance(self.job.tile, Mosaic)
        left = {member: job for member, job in self.members.items() if member != name}
        return _Whole.of(self.job.tile.without(name), left)


def _mosaics(plan: SurveyPlan, looks: Mapping[str, Look], jobs: MakeJobs) -> list[_Whole]:
    """The mosaics in which there is something to do."""
    done = [(tile, one) for tile, one in zip(plan.tiles, plan.states, strict=True) if tile.name not in looks]
    done = [(tile, one) for tile, one in done if one.state in (State.DONE, State.CHECK)]
    before = {tile.name: one.mosaic or "" for tile, one in done}
    seen = {tile.name: (tile, looks[tile.name]) for tile in plan.tiles if tile.name in looks}
    found = read_each(partial(_look_of_before, plan), [tile for tile, _ in done])
    seen |= {tile.name: (tile, look) for (tile, _), look in zip(done, found, strict=True) if look}
    mosaics = [one for one in join(seen) if any(before.get(part.tile.name) != one.name for part in one.parts)]
    members = {job.name: job for job in jobs({part.tile.name for one in mosaics for part in one.parts})}
    return [_Whole.of(one, {part.tile.name: members[part.tile.name] for part in one.parts}) for one in mosaics]


def _look_of_before(plan: SurveyPlan, tile: Tile) -> Look | None:
    summary = read_json(tile.directory(plan.root) / SUMMARY) or {}
    return Look(**summary["look"]) if "look" in summary else None


def _make_pieces(
    wholes: list[_Whole], side: int | None, run: RunJobs, tell: _Steps
) -> Generator[Outcome, None, list[tuple[_Whole, list[Piece], float]]]:
    """Classify images piece by piece, and yield what failed; gives back the others, their pieces and what they took."""
    made: list[tuple[_Whole, list[Piece], float]] = []
    while wholes:
        failed: dict[str, Outcome] = {}
        for outcome in run(replace(one.job, step="prepare") for one in wholes):
            failed |= {outcome.name: outcome} if outcome.status == "failed" else {}
        pieces = {one.job.name: _pieces(one, side) for one in wholes if one.job.name not in failed}
        seconds = dict.fromkeys(pieces, 0.0)
        tell.total += sum(map(len, pieces.values()))
        for outcome in map(tell.done, run(_piece_jobs(wholes, pieces))):
            name = outcome.name.partition(":")[0]
            seconds[name] += outcome.seconds
            if outcome.status == "failed":
                text = outcome.error if outcome.culprit else f"piece {outcome.name}: {outcome.error}"
                failed[name] = replace(outcome, name=name, error=text)
        made += [(one, pieces[one.job.name], seconds[one.job.name]) for one in wholes if one.job.name not in failed]
        again = []
        for one in (one for one in wholes if one.job.name in failed):
            reason = failed[one.job.name]
            names = list(one.members) or [one.job.name]
            if reason.culprit in one.members and len(names) > 1:
                names = [reason.culprit]
                again.append(one.without(reason.culprit))  # the others are a mosaic without it
            for name in names:
                yield tell.done(replace(reason, name=name))
        wholes = again
    return made


def _piece_jobs(wholes: Iterable[_Whole], pieces: Mapping[str, list[Piece]]) -> Iterator[Job]:
    for one in wholes:
        yield from (replace(one.job, step="piece", piece=piece) for piece in pieces.get(one.job.name, ()))


def _pieces(whole: _Whole, side: int | None) -> list[Piece]:
    """The pieces of an image; of a mosaic those in which there are tiles."""
    grid, tile, longest = read_prepared(whole.job.place).grid, whole.job.tile, max(whole.shape)
    if not isinstance(tile, Mosaic):
        return cut(whole.shape, side or longest, grid=grid)
    # These are seen by nobody: several workers share a small mosaic, too.
    found = cut(whole.shape, min(side or longest, max(longest // 4, _LEAST_SIDE)), grid=grid)
    return [piece for piece in found if any(part.window.touches(piece.window) for part in tile.parts)]


def _finished(whole: _Whole, pieces: list[Piece], client: "Client", seconds: float, retries: int) -> Iterable[Outcome]:
    # Only mosaics need the pipeline in this process.
    from morpheus_lite.survey.mosaic.catalog import close_mosaic, finish_mosaic, share_out

    try:
        if not whole.members:
            return [finish_mosaic(whole.job, pieces, client, seconds=seconds, retries=retries)]
        shares = list(share_out(whole.job, pieces, whole.members, client, seconds=seconds, retries=retries))
    except (OutputError, SchedulerLostError):
        raise
    # Whatever may happen with one mosaic, the others go on.
    except Exception as error:
        return [replace(failure(whole.job, error), name=name) for name in whole.members or [whole.job.name]]
    outcomes = list(run_jobs(client, shares, retries=retries))
    if all(one.status == "done" for one in outcomes):
        close_mosaic(whole.job)
    return outcomes
