"""The Dask cluster of a run: threads of this process, worker processes of this machine, or a scheduler that runs."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from morpheus_lite.config.survey import LEAST_MEMORY, ClusterOptions
from morpheus_lite.errors import MorpheusError, OptionError, reason_of
from morpheus_lite.runtime.resources import parse_memory, usable_cores

if TYPE_CHECKING:
    from distributed import Client

_SETTINGS = {
    # A process that classifies keeps memory that Dask cannot write to disk: only ending it frees that.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    # A tile blocks its process for minutes, which is no reason to warn, nor to look fifty times a second.
    "distributed.admin.tick.limit": "10 minutes",
    "distributed.admin.tick.interval": "1 s",
    # A profile of what a worker does, a hundred times a second, took as long as half of the work on small tiles.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5 s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.nanny.pre-spawn-environ.TF_CPP_MIN_LOG_LEVEL": "3",
    # With it every large array is taken from the system anew, and cleared: a fifth of a worker's time.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
}


CONNECT = 30
"""Seconds that a scheduler has to answer."""

_HEADROOM = 1.25
"""Memory at which a worker is ended, at least, in units of what it keeps to."""

log = logging.getLogger(__name__)


def require_dask() -> None:
    """Raise `OptionError` unless Dask is installed."""
    if find_spec("distributed") is None:
        raise OptionError("surveys run on Dask, which is not installed: pip install 'morpheus-lite[batch]'")


def shared_out(options: ClusterOptions, memory: int, machine: int | None = None) -> ClusterOptions:
    """The options with the number of workers on this machine, and the memory of each.

    Parameters
    ----------
    options : ClusterOptions
        Where what is not given is to be found out; those of a scheduler are given back as they are.
    memory : int
        Bytes that a worker keeps to, and the process that hands out the tiles as well.
    machine : int, optional
        Bytes of memory of this machine; None finds that out.
    """
    if options.scheduler is not None or options.in_process:
        return options
    if machine is None:
        from distributed.system import MEMORY_LIMIT  # that of a container, where there is one

        machine = MEMORY_LIMIT
    limit, workers = options.memory_limit, options.workers
    if workers is None:
        needed = memory if limit is None else parse_memory(limit)
        workers = max(1, min(usable_cores(), (machine - memory) // needed))
    share = max(machine // workers, int(_HEADROOM * memory), LEAST_MEMORY)
    return replace(options, workers=workers, memory_limit=limit or share)


@contextmanager
def connected(options: ClusterOptions, *, retries: int = 2) -> Iterator["Client"]:
    """A client of the cluster; what was started here ends with the block.

    Parameters
    ----------
    options : ClusterOptions
        Where.
    retries : int
        How many workers may die of one tile before it counts as failed (of a scheduler that runs already, its own
        setting ``distributed.scheduler.allowed-failures`` holds).

    Raises
    ------
    MorpheusError
        There is no scheduler at the address.
    """
    import dask

    from morpheus_lite.survey.worker import SurveyWorker

    settings = {**_SETTINGS, "distributed.scheduler.allowed-failures": retries}
    with dask.config.set(settings), ExitStack() as stack:
        client = stack.enter_context(_client(options.scheduler or _local_cluster(options, stack), options))
        client.register_plugin(SurveyWorker(in_process=options.in_process))
        yield client


def _local_cluster(options: ClusterOptions, stack: ExitStack) -> Any:
    from distributed import LocalCluster

    cluster = LocalCluster(
        n_workers=options.workers or 1,
        threads_per_worker=1,
        processes=not options.in_process,
        memory_limit=options.memory_limit,
        dashboard_address=options.dashboard,
        silence_logs=logging.CRITICAL,
        host="127.0.0.1" if not options.in_process else None,
    )

    @stack.callback
    def close() -> None:
        with suppress(TimeoutError):  # workers that do not end in time end with this process
            cluster.close(timeout=20)

    return cluster


def _client(cluster: Any, options: ClusterOptions) -> "Client":
    from distributed import Client
    from distributed.security import Security

    files = {"tls_ca_file": options.tls_ca, "tls_client_cert": options.tls_cert, "tls_client_key": options.tls_key}
    try:
        security = Security(**files, require_encryption=True) if any(files.values()) else None
        return Client(cluster, security=security, set_as_default=False, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise MorpheusError(
            f"no Dask scheduler answers at {options.scheduler} ({reason_of(error)}); start one with "
            "`dask scheduler`, and workers with `dask worker ADDRESS`"
        ) from error
