"""One run at a time in an output directory: a lock that ends with its process, however that ends."""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from morpheus_lite.errors import OutputError

try:
    import fcntl
except ImportError:  # no such locks on Windows: there the process number alone decides
    fcntl = None  # type: ignore[assignment]

LOCK = "survey.lock"


@contextmanager
def locked(directory: Path) -> Iterator[str]:
    """Hold the lock of an output directory.

    The operating system releases it when the process ends, even if it is killed. A file that names another machine is
    respected: whether a process lives there cannot be seen from here.

    Yields
    ------
    str
        Name of this run, which the lock's file holds: workers check it before they put products in place.

    Raises
    ------
    OutputError
        Another run works in the directory, or it cannot be written.
    """
    path = directory / LOCK
    run = secrets.token_hex(8)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise OutputError(f"nothing can be written in {directory}: {error.strerror or error}") from error
    with file:
        holder = _read(file)
        if not _taken(file) or _is_elsewhere(holder) or (fcntl is None and _lives(holder)):
            raise OutputError(
                f"{directory} is in use by another run{_who(holder)}; wait for it to end, or choose another directory. "
                f"If that run is no more, remove {path}"
            )
        _write(file, {"run": run, "host": socket.gethostname(), "pid": os.getpid(), "since": time.ctime()})
        try:
            yield run
        finally:
            with suppress(OSError):
                _write(file, {})


def holds(directory: Path, run: str) -> bool:
    """Whether the run that a worker belongs to is still the one that works in the directory."""
    try:
        with (directory / LOCK).open("rb") as file:
            return _read(file).get("run") == run
    except OSError:
        return False


def _taken(file: BinaryIO) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(file: BinaryIO) -> dict[str, Any]:
    file.seek(0)
    try:
        holder = json.loads(file.read() or b"{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _write(file: BinaryIO, holder: dict[str, Any]) -> None:
    file.seek(0)
    file.truncate()
    file.write(json.dumps(holder).encode())
    file.flush()
    os.fsync(file.fileno())


def _is_elsewhere(holder: dict[str, Any]) -> bool:
    return holder.get("host") not in (None, socket.gethostname())


def _lives(holder: dict[str, Any]) -> bool:
    import psutil

    return bool(holder.get("pid")) and holder["pid"] != os.getpid() and psutil.pid_exists(holder["pid"])


def _who(holder: dict[str, Any]) -> str:
    if not holder:
        return ""
    return f" (process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')})"
