"""A Dask worker of a survey: the model is loaded once, and kept."""

import os
import socket
import threading
from typing import Any, cast

from distributed import Worker, WorkerPlugin, get_worker

from morpheus_lite.config.classify import AUTO
from morpheus_lite.errors import ModelError
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.models.registry import load_model, read_info
from morpheus_lite.pipeline.plan import chosen_model
from morpheus_lite.survey.jobs import Job, Outcome
from morpheus_lite.survey.watch import log_everything


class SurveyWorker(WorkerPlugin):
    """State of a worker between tiles.

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
        """Set up the worker; Dask calls this when it has started."""
        self._models: dict[tuple[str, ...], Any] = {}
        self._loading = threading.Lock()
        if not self.in_process:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            log_everything()

    def model(self, job: Job, image: ImageSource) -> Any:
        """The model for a job's image, loaded at the first call, and when its weights are to be others.

        Raises
        ------
        ModelError
            This worker's weights are not those that the survey is made with.
        """
        name, options = str(chosen_model(job.options.model, image)), job.options
        wanted = read_info(name).sha256 if options.model == AUTO else job.made_of["weights"]
        key = name, options.device, options.precision, options.engine
        with self._loading:
            if key not in self._models or self._models[key].sha256 != wanted:
                self._models[key] = load_model(
                    name, device=options.device, precision=options.precision, engine=options.engine
                )
            model = self._models[key]
        if model.sha256 != wanted:
            raise ModelError(
                f"the worker on {socket.gethostname()} has other weights of {name} ({model.sha256[:12]}...) than the "
                f"survey is made with ({wanted[:12]}...)"
            )
        return model


def run_job(job: Job) -> Outcome:
    """`process` on this worker."""
    # The pipeline is imported where tiles are made, not by the process that hands them out.
    from morpheus_lite.survey.work import process

    plugin = cast(SurveyWorker, get_worker().plugins[SurveyWorker.name])
    return process(job, plugin.model, may_exit=not plugin.in_process)
