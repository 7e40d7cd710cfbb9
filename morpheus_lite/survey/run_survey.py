"""The story of a survey: tiles become products, however often it is interrupted; then one catalogue and a report."""

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morpheus_lite.config.classify import AUTO, ClassifyOptions
from morpheus_lite.config.survey import ClusterOptions, RunOptions
from morpheus_lite.models.registry import read_info
from morpheus_lite.runtime.atomic import SUFFIX
from morpheus_lite.runtime.resources import Progress, parse_memory, shown_progress
from morpheus_lite.survey.cluster import connected, require_dask, shared_out
from morpheus_lite.survey.jobs import ClusterExecutor, Outcome
from morpheus_lite.survey.manifest import read_tiles
from morpheus_lite.survey.merge.index import read_index
from morpheus_lite.survey.merge.merge import CATALOG, Merged, merge, merged_before
from morpheus_lite.survey.plan import SurveyPlan, make_plan, survey_options
from morpheus_lite.survey.report.survey_report import summarise_survey, write_page
from morpheus_lite.survey.stages import run_stages
from morpheus_lite.survey.state import LOG, locked, write_json
from morpheus_lite.survey.tile import TILES

if TYPE_CHECKING:
    from distributed import Client

Announce = Callable[[str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SurveyResult:
    """Result of a run.

    Parameters
    ----------
    directory : pathlib.Path
        Output directory.
    plan : SurveyPlan
        What there was to do.
    outcomes : tuple of Outcome
        Of the tiles that were worked on.
    seconds : float
        Wall-clock time of the run.
    products : dict
        ``catalog``, ``report`` and ``json`` to the path of each.
    merged : Merged or None
        The merged catalogue; None if there is no source with a place on the sky, or it was not asked for.
    """

    directory: Path
    plan: SurveyPlan
    outcomes: tuple[Outcome, ...] = ()
    seconds: float = 0.0
    products: dict[str, Path] = field(default_factory=dict)
    merged: Merged | None = None

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Tiles that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")


def classify_survey(
    source: Any,
    directory: str | Path,
    options: ClassifyOptions | None = None,
    *,
    cluster: ClusterOptions | None = None,
    run: RunOptions | None = None,
    progress: Progress | bool | None = None,
    announce: Announce | None = None,
) -> SurveyResult:
    """Classify the tiles of a survey.

    Each tile's products appear in ``directory/tiles/NAME`` when they are whole. A run that was interrupted goes on
    where it was: only tiles that are missing, or whose files, options, weights or version have changed, are classified.

    Parameters
    ----------
    source : path, sequence of paths, or sequence of Tile
        Images, a directory, a glob or a manifest: see `~morpheus_lite.survey.read_tiles`.
    directory : path
        Where the products go; on storage that all workers see.
    options : ClassifyOptions, optional
        What to do with each tile; None writes class maps and catalogue with the default model. The tiles' catalogues
        are always Parquet.
    cluster : ClusterOptions, optional
        Where the work is done; None takes worker processes on this machine.
    run : RunOptions, optional
        Retries, time limit, checks.
    progress : bool or callable, optional
        True draws a bar; a callable is called with (tiles done, tiles in all).
    announce : callable, optional
        Called with lines that a person who waits wants to read: where the dashboard is, which tile failed.

    Returns
    -------
    SurveyResult
        Also when tiles failed: see its ``failed``.

    Raises
    ------
    InputError
        The source is no list of tiles.
    OutputError
        Another run works in the directory, or nothing can be written there.
    MorpheusError
        Dask is not installed, or the scheduler is gone.
    """
    require_dask()
    run, tell, options = run or RunOptions(), announce or log.info, survey_options(options)
    cluster = shared_out(cluster or ClusterOptions(), parse_memory(options.memory))
    root = Path(directory).absolute()
    tiles = read_tiles(source)
    if options.model != AUTO:
        read_info(options.model)
    start = time.perf_counter()
    with locked(root) as name, ExitStack() as stack:
        clear_unfinished(root)
        stack.callback(clear_unfinished, root)  # after the workers have ended, also where the run is stopped
        plan = make_plan(tiles, root, options, noise=run.noise, verify=run.verify)
        advance = stack.enter_context(shown_progress(progress, "tiles"))
        client = cache(lambda: stack.enter_context(connected(cluster, retries=run.retries)))
        outcomes: tuple[Outcome, ...] = ()
        if not plan.is_done:
            executor = ClusterExecutor(client(), run.retries)
            seconds = None if cluster.in_process else run.tile_timeout
            jobs = partial(plan.jobs, name, threads=cluster.threads, seconds=seconds)
            n_done = len(tiles) - len(plan.to_do)
            tell(f"{n_done} of {len(tiles)} tiles are done; dashboard at {executor.client.dashboard_link}")
            stages = run_stages(plan, jobs, executor, side=run.tile_size, progress=advance)
            outcomes = _told(stages, len(tiles), tell)
        merged = _merge(plan, client, run)
        products = _report(plan, outcomes, merged, time.perf_counter() - start)
    return SurveyResult(root, plan, outcomes, time.perf_counter() - start, products, merged)


def _told(stages: Iterable[Outcome], n_tiles: int, tell: Announce) -> tuple[Outcome, ...]:
    """The outcomes of all stages; of failures and warnings a person is told."""
    outcomes = []
    for outcome in stages:
        outcomes.append(outcome)
        if outcome.status == "failed":
            tell(f"tile {outcome.name} failed: {outcome.error}")
    if doubtful := [outcome for outcome in outcomes if outcome.doubts]:
        first = doubtful[0]
        tell(f"{len(doubtful)} of {n_tiles} tiles have warnings in their {LOG}; {first.name}: {first.doubts[0]}")
    return tuple(outcomes)


def _merge(plan: SurveyPlan, client: Callable[[], "Client"], run: RunOptions) -> Merged | None:
    """The merged catalogue of what is done; None if it was not asked for, or there is nothing to merge."""
    regions = {tile.name: (tile.tract, tile.patch) for tile in plan.tiles if tile.tract or tile.patch}
    index = read_index(plan.root, (tile.name for tile in plan.tiles), regions)
    if not run.merge or not index.counts():
        return None
    return merged_before(plan.root, index) or merge(plan.root, index, client())


def _report(plan: SurveyPlan, outcomes: tuple[Outcome, ...], merged: Merged | None, seconds: float) -> dict[str, Path]:
    """Write what is to be said of the survey, for people and for programs."""
    survey = summarise_survey(plan, outcomes, merged, seconds)
    products = {"json": plan.root / "report.json", "report": plan.root / "report.html"}
    write_json(products["json"], survey)
    write_page(products["report"], survey, title=plan.root.name)
    return products if merged is None else {"catalog": merged.path, **products}


def clear_unfinished(root: Path) -> None:
    """Remove what runs that were ended left beside the tiles; only for the one that holds the lock."""
    for entry in [*(root / TILES).glob(f".*{SUFFIX}"), *root.glob(f".{CATALOG}.*{SUFFIX}")]:
        log.info("removing %s, which a run that was ended has left", entry.name)
        shutil.rmtree(entry, ignore_errors=True)
