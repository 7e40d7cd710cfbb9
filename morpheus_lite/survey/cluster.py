"""The Dask cluster of a run: threads of this process, worker processes of this machine, or a scheduler that runs."""

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morpheus_lite.config.schema import check, option
from morpheus_lite.errors import MorpheusError, OptionError
from morpheus_lite.runtime.resources import format_memory, parse_memory, usable_cores

if TYPE_CHECKING:
    from distributed import Client

_SETTINGS = {
    # A process that classifies keeps memory that Dask cannot write to disk: only ending it frees that.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    # A tile blocks its process for minutes, which is no reason to warn.
    "distributed.admin.tick.limit": "10 minutes",
    "distributed.nanny.pre-spawn-environ.TF_CPP_MIN_LOG_LEVEL": "3",
}

_ADDRESS = re.compile(r"inproc://.+|((tcp|tls|ucx|ws|wss)://)?[^/]+:\d{1,5}/?")
_DASHBOARD = re.compile(r"((?P<host>[^:]*|\[.*\]):)?(?P<port>\d{1,5})")
_TLS = ("tls_ca", "tls_cert", "tls_key")

LEAST_MEMORY = 200_000_000
"""Bytes below which a worker process is ended before it can say that it is there: the survey would wait for ever."""

CONNECT = 30
"""Seconds that a scheduler has to answer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClusterOptions:
    """Cluster that a survey runs on.

    Parameters
    ----------
    workers : int, optional
        Worker processes on this machine, which share its cores; 0 works in this process. None starts one for every
        two cores.
    scheduler : str, optional
        Address of a Dask scheduler that runs, such as ``tcp://host:8786``; then ``workers`` is not used.
    memory_limit : str or int, optional
        Memory of each worker process, such as ``"4GB"``: one that takes more is ended, and its tile tried again. None
        shares the machine's memory out evenly.
    dashboard : str
        Address of Dask's dashboard on this machine; port 0 takes any that is free.
    tls_ca, tls_cert, tls_key : str, optional
        Files for a scheduler at ``tls://``.
    """

    workers: int | None = option(None, low=0, high=1024)
    scheduler: str | None = None
    memory_limit: str | int | None = None
    dashboard: str = "127.0.0.1:0"
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        check(self)
        if self.scheduler is not None and self.workers is not None:
            raise OptionError(f"the workers are those of {self.scheduler}: leave the number of workers out")
        if self.scheduler is not None and not _ADDRESS.fullmatch(self.scheduler):
            raise OptionError(f"scheduler {self.scheduler!r}: expected an address such as tcp://host:8786")
        if self.memory_limit is not None and parse_memory(self.memory_limit) < LEAST_MEMORY:
            raise OptionError(
                f"memory limit {self.memory_limit!r}: expected at least {format_memory(LEAST_MEMORY)}, which a worker "
                "takes before its first tile"
            )
        _check_dashboard(self.dashboard)
        files = {name: value for name in _TLS if (value := getattr(self, name)) is not None}
        if files and not (self.scheduler or "").startswith("tls://"):
            raise OptionError(f"{', '.join(files)}: certificates are for a scheduler at tls://HOST:PORT")
        for name, path in files.items():
            if not Path(path).is_file():
                raise OptionError(f"{name} = {path}: no such file; expected a file of PEM")

    @property
    def n_workers(self) -> int:
        """Worker processes on this machine."""
        return max(1, usable_cores() // 2) if self.workers is None else self.workers

    @property
    def in_process(self) -> bool:
        """True if tiles are worked on in this process."""
        return self.scheduler is None and self.n_workers == 0

    @property
    def threads(self) -> int:
        """Calls of the network at the same time, in each worker."""
        return 1 if self.scheduler is not None else max(1, usable_cores() // max(self.n_workers, 1))


def _check_dashboard(address: str) -> None:
    """Raise `OptionError` unless this machine can listen there."""
    match = _DASHBOARD.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise OptionError(f"dashboard {address!r}: expected HOST:PORT, such as 127.0.0.1:8787")
    host = (match["host"] or "").strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError as error:
        raise OptionError(f"dashboard {address!r}: this machine cannot listen there ({error.strerror})") from error


def require_dask() -> None:
    """Raise `OptionError` unless Dask is installed."""
    if find_spec("distributed") is None:
        raise OptionError("surveys run on Dask, which is not installed: pip install 'morpheus-lite[batch]'")


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
    OptionError
        Dask is not installed.
    MorpheusError
        There is no scheduler at the address.
    """
    require_dask()
    import dask
    from distributed import Client

    from morpheus_lite.survey.scheduler.worker import SurveyWorker

    with (
        dask.config.set({**_SETTINGS, "distributed.scheduler.allowed-failures": retries}),
        _client_of(options) if options.scheduler else Client(_local(options), set_as_default=False) as client,
    ):
        client.register_plugin(SurveyWorker(in_process=options.in_process))
        try:
            yield client
        finally:
            if options.scheduler is None and client.cluster is not None:
                client.cluster.close(timeout=20)


def _local(options: ClusterOptions) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=max(options.n_workers, 1),
        threads_per_worker=1,
        processes=not options.in_process,
        memory_limit="auto" if options.memory_limit is None else options.memory_limit,
        dashboard_address=options.dashboard,
        silence_logs=logging.CRITICAL,
        host="127.0.0.1" if not options.in_process else None,
    )


def _client_of(options: ClusterOptions) -> "Client":
    from distributed import Client
    from distributed.security import Security

    security = None
    try:
        if options.tls_ca or options.tls_cert:
            security = Security(
                tls_ca_file=options.tls_ca,
                tls_client_cert=options.tls_cert,
                tls_client_key=options.tls_key,
                require_encryption=True,
            )
        return Client(options.scheduler, security=security, set_as_default=False, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise MorpheusError(
            f"no Dask scheduler answers at {options.scheduler} ({' '.join(str(error).split())[:200]}); start one with "
            "`dask scheduler`, and workers with `dask worker ADDRESS`"
        ) from error
