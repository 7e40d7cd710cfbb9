"""Options of running a survey; none of them but ``noise`` changes the result."""

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from morpheus_lite.config.schema import CheckedOptions, documented, option
from morpheus_lite.errors import OptionError
from morpheus_lite.runtime.resources import format_memory, parse_memory, usable_cores

_ADDRESS = re.compile(r"inproc://.+|((tcp|tls|ucx|ws|wss)://)?[^/]+:\d{1,5}/?")
_DASHBOARD = re.compile(r"((?P<host>[^:]*|\[.*\]):)?(?P<port>\d{1,5})")
_TLS = ("tls_ca", "tls_cert", "tls_key")
LEAST_MEMORY = 200_000_000
"""Bytes below which a worker process is ended before it can say that it is there: the survey would wait for ever."""


@documented
@dataclass(frozen=True)
class ClusterOptions(CheckedOptions):
    """Cluster that a survey runs on.

    Parameters
    ----------
    workers
        Worker processes here; 0: this process.

        They share its cores. Of the machine's memory, each counts as --memory-limit, or else as --memory, and this
        process as --memory.
    scheduler
        A running Dask scheduler, such as tcp://host:8786.

        It has its own workers.
    memory_limit
        Memory of each worker process, such as 4GB.

        One that takes more is ended, and its tile tried again. A share is an equal part of the machine's memory, and at
        least 1.25 x --memory.
    dashboard
        Where Dask's dashboard listens; port 0: any.
    tls_ca
        Certificate authority, for a scheduler at tls://.
    tls_cert
        This client's certificate.
    tls_key
        This client's key.
    """

    workers: int | None = option(
        None, unset="one per core, if memory allows", low=0, high=1024, metavar="N", group="Cluster"
    )
    scheduler: str | None = option(None, metavar="ADDRESS")
    memory_limit: str | int | None = option(None, unset="its share", metavar="SIZE")
    dashboard: str = option("127.0.0.1:0", metavar="HOST:PORT")
    tls_ca: str | None = option(None, metavar="FILE")
    tls_cert: str | None = option(None, metavar="FILE")
    tls_key: str | None = option(None, metavar="FILE")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheduler is not None and self.workers is not None:
            raise OptionError(f"the workers are those of {self.scheduler}: leave the number of workers out")
        if self.scheduler is not None and not _ADDRESS.fullmatch(self.scheduler):
            raise OptionError(f"scheduler {self.scheduler!r}: expected an address such as tcp://host:8786")
        if self.memory_limit is not None and parse_memory(self.memory_limit, "memory limit") < LEAST_MEMORY:
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
    def in_process(self) -> bool:
        """True if tiles are worked on in this process."""
        return self.workers == 0

    @property
    def threads(self) -> int:
        """Calls of the network at the same time, in each worker: 1 unless the number of workers is known."""
        return 1 if self.workers is None else max(1, usable_cores() // max(self.workers, 1))


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


@documented
@dataclass(frozen=True)
class RunOptions(CheckedOptions):
    """Options of a run.

    Parameters
    ----------
    noise
        Noise of a tile: of the survey, or its own.

        survey: tiles that overlap or touch on one pixel grid are one image, with one background, noise and PSF, and
        every source is measured on all of them. tile: each tile is an image of its own.
    retries
        How often a failed tile is tried again.
    tile_timeout
        Stop a worker that spends longer than this on one tile.
    verify
        Compare the checksums of existing products.
    merge
        Merge the tiles' catalogues into one.
    tile_size
        Cut images with a longer side into squares.

        Separate workers classify them; sources are found and measured as if the image were whole. None: cut nothing.
    """

    noise: str = option("survey", choices=("survey", "tile"), group="Run")
    retries: int = option(2, low=0, high=1000, metavar="N")
    tile_timeout: float | None = option(None, unset="wait", above=0, unit="seconds")
    verify: bool = False
    merge: bool = True
    tile_size: int | None = option(4096, low=1, unit="pixels")
