"""One run at a time in an output directory: a lock that ends with its process, however that ends."""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from morpheus_lite.errors import OutputError
from morpheus_lite.survey.state.tile_state import read_json

LOCK = "survey.lock"
"""The file that the operating system locks."""
HOLDER = "survey.lock.json"
"""Which run holds the lock: its name, machine, process and start."""


@contextmanager
def locked(directory: Path) -> Iterator[str]:
    """Hold the lock of an output directory.

    The operating system releases it when the process ends, even if it is killed. A holder on another machine is
    respected: whether its process lives cannot be seen from here.

    Yields
    ------
    str
        Name of this run: workers compare it with the holder before they put products in place.

    Raises
    ------
    OutputError
        Another run works in the directory, or it cannot be written.
    """
    from filelock import FileLock, Timeout  # comes with the extra `batch`

    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK, blocking=False).acquire()
    except Timeout:
        raise _in_use(directory, _holder(directory)) from None
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"nothing can be written in {directory}: {error}") from error
    with lock:
        holder = _holder(directory)
        if holder.get("host") not in (None, socket.gethostname()):
            raise _in_use(directory, holder)
        run = secrets.token_hex(8)
        content = {"run": run, "host": socket.gethostname(), "pid": os.getpid(), "since": time.ctime()}
        (directory / HOLDER).write_text(json.dumps(content), encoding="utf-8")
        try:
            yield run
        finally:
            with suppress(OSError):
                (directory / HOLDER).unlink()


def holds(directory: Path, run: str) -> bool:
    """True if the run of a worker still holds the lock of the directory."""
    return _holder(directory).get("run") == run


def _holder(directory: Path) -> dict[str, Any]:
    return read_json(directory / HOLDER) or {}


def _in_use(directory: Path, holder: dict[str, Any]) -> OutputError:
    who = f" (process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')})" if holder else ""
    return OutputError(
        f"{directory} is in use by another run{who}; wait for it to end, or choose another directory. "
        f"If that run is no more, remove {directory / HOLDER}"
    )
