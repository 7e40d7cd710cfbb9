"""A Dask worker of a survey: the model is loaded once, and kept."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from distributed import Worker, WorkerPlugin, get_worker

from morpheus_lite.batch.jobs import Job, Outcome
from morpheus_lite.batch.watch import log_everything


class SurveyWorker(WorkerPlugin):
    """What a worker keeps between tiles.

    Parameters
    ----------
    in_process : bool
        Whether the worker is a thread of the process that runs the survey, and so must leave it alone.
    """

    name = "morpheus-survey"
    idempotent = True
    """A later run on the same workers finds the model loaded."""

    def __init__(self, *, in_process: bool) -> None:
        self.in_process = in_process

    def setup(self, worker: Worker) -> None:
        """Called by Dask when the worker has started."""
        self._models: dict[str, Any] = {}
        self._loading = threading.Lock()
        if not self.in_process:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            log_everything()

    def model(self, name: str, sha256: str) -> Any:
        """The model, loaded at the first call, and when its weights are to be others."""
        with self._loading:
            if name not in self._models or self._models[name].sha256 != sha256:
                from morpheus_lite.pretrained import load_model

                with _without_notes(quiet=not self.in_process):
                    self._models[name] = load_model(name)
            return self._models[name]


def run_job(job: Job) -> Outcome:
    """`process_tile` on this worker."""
    # The pipeline is imported where tiles are made, not by the process that hands them out.
    from morpheus_lite.batch.work import process_tile

    plugin = cast(SurveyWorker, get_worker().plugins[SurveyWorker.name])
    return process_tile(job, plugin.model, may_exit=not plugin.in_process)


@contextmanager
def _without_notes(*, quiet: bool) -> Iterator[None]:
    """Leave out what TensorFlow writes straight to file descriptor 2 when it starts."""
    if not quiet:
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
