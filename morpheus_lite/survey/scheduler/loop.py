"""The loop of a run: jobs go to the cluster, a few more than it has threads, and their outcomes come back."""

import logging
import queue
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from morpheus_lite.errors import MorpheusError, OutputError
from morpheus_lite.survey.scheduler.jobs import Job, Outcome, failure
from morpheus_lite.survey.scheduler.watch import LOOK, StoppedWorkers

if TYPE_CHECKING:
    from distributed import Client, Future

_NO_WORKER_WARNING = 60.0
"""Seconds without any worker after which that is said."""

_FRAMES = 3
"""Of a traceback, where there is no log."""

MAX_WRITE_FAILURES = 3
"""Tiles in a row that cannot be written after which the run gives up."""

log = logging.getLogger(__name__)


class SchedulerLostError(MorpheusError):
    """The scheduler is gone; what was done is done."""


def run_jobs(
    client: "Client", jobs: Iterable[Job], *, retries: int = 2, work: Callable[[Job], Outcome] | None = None
) -> Iterator[Outcome]:
    """Work through jobs on a cluster.

    No more tiles are handed out than there are threads: a worker that dies takes only the tile it works on, and the
    scheduler's memory does not grow with the survey.

    Parameters
    ----------
    client : distributed.Client
        From `~morpheus_lite.survey.cluster.connected`.
    jobs : iterable of Job
        What to do; taken from as workers become free.
    retries : int
        How often a tile that failed is tried again.
    work : callable, optional
        What a worker does with a job; None takes `~morpheus_lite.survey.scheduler.worker.run_job`.

    Yields
    ------
    Outcome
        Of each job, as they end.

    Raises
    ------
    SchedulerLostError
        The scheduler does not answer any more.
    OutputError
        Nothing can be written any more.
    """
    from morpheus_lite.survey.scheduler.worker import run_job

    submit = partial(client.map, work or run_job, retries=retries, pure=False)
    waiting = iter(jobs)
    at_work: dict[str, tuple[Job, Future, float]] = {}
    done: queue.SimpleQueue[str] = queue.SimpleQueue()
    stopped, n_threads, write_failures = StoppedWorkers(client), _n_threads(client), 0
    looked = seen = time.monotonic()
    while True:
        _submit(submit, list(islice(waiting, max(n_threads or 1, len(at_work)) - len(at_work))), at_work, done)
        if not at_work:
            return
        if (now := time.monotonic()) - looked >= LOOK:
            looked, n_threads = now, _n_threads(client)
            seen = now if n_threads else seen
            if now - seen > _NO_WORKER_WARNING:
                log.warning("no worker has been there for %.0f s; waiting for one", now - seen)
            stopped.end({key: job.seconds for key, (job, _, _) in at_work.items()})
        for key in _ended(done):
            job, future, start = at_work.pop(key)
            outcome = _outcome(job, future, time.perf_counter() - start)
            write_failures = write_failures + 1 if outcome.kind == OutputError.__name__ else 0
            yield outcome
        if write_failures >= MAX_WRITE_FAILURES:
            client.cancel([other for _, other, _ in at_work.values()], force=True)
            raise OutputError(
                f"{write_failures} tiles in a row cannot be written ({outcome.error}); the run stops here"
            )


def _submit(
    submit: Callable[..., list["Future"]],
    jobs: list[Job],
    at_work: dict[str, tuple[Job, "Future", float]],
    done: "queue.SimpleQueue[str]",
) -> None:
    if not jobs:
        return
    now = time.perf_counter()
    futures = submit(jobs, key=[f"{job.step}-{job.run}-{job.name}" for job in jobs])
    for job, future in zip(jobs, futures, strict=True):
        at_work[str(future.key)] = job, future, now
        future.add_done_callback(lambda ended: done.put(str(ended.key)))


def _ended(done: "queue.SimpleQueue[str]") -> Iterator[str]:
    """Keys of jobs that have ended: waits a while for the first, and takes those that are there by then."""
    with suppress(queue.Empty):
        yield done.get(timeout=LOOK)
        while True:
            yield done.get_nowait()


def _outcome(job: Job, future: "Future", seconds: float) -> Outcome:
    from distributed import KilledWorker

    if future.status == "cancelled" or future.status == "lost":
        raise SchedulerLostError(
            "the scheduler is gone, and with it the tiles that were at work; those that are done stay done. "
            "Start it again, and run the same command"
        )
    error: Any = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, KilledWorker):
        died = f"{error.allowed_failures + 1} worker processes died of it: ended, out of memory, or over the time limit"
        return failure(job, error, seconds, died)
    found = failure(job, error, seconds)
    return found if found.tail else replace(found, tail="".join(traceback.format_tb(future.traceback())[-_FRAMES:]))


def _n_threads(client: "Client") -> int:
    return sum(client.nthreads().values()) if client.status == "running" else 0
