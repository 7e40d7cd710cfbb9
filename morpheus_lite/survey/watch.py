"""Supervision of the work on a tile: a log of its own, and a time limit."""

import faulthandler
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LOGGERS = ("morpheus_lite", "py.warnings")
EXIT_TOO_SLOW = 75
"""Exit status of a worker process that ended itself because a tile took too long (EX_TEMPFAIL)."""


class _Doubts(logging.Handler):
    """Keeps what the package warns of, each in a line."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        where, mark, text = record.getMessage().partition("InputWarning: ")
        if mark or record.name != "py.warnings":
            self._said.append((text or where).strip().splitlines()[0])


@contextmanager
def tile_log(path: Path, said: list[str]) -> Iterator[TextIO]:
    """Append what the package logs, and warnings, to a tile's log, and what it warns of to a list."""
    with path.open("a", buffering=1, errors="backslashreplace") as file:
        file.write(f"== {time.strftime('%Y-%m-%d %H:%M:%S')} process {os.getpid()} on {socket.gethostname()}\n")
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        added = [(logging.getLogger(name), one) for name in LOGGERS for one in (handler, _Doubts(said))]
        for logger, one in added:
            logger.addHandler(one)
        try:
            yield file
        finally:
            for logger, one in added:
                logger.removeHandler(one)


def log_everything() -> None:
    """Let this process, which is a worker's, log enough for a tile's log, and nothing to its own output."""
    logging.captureWarnings(True)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False


@contextmanager
def time_limit(seconds: float | None, file: TextIO) -> Iterator[None]:
    """End this process when the block takes longer, after writing where it hangs.

    A worker that hangs in foreign code cannot be asked to stop. Its nanny starts another, and Dask tries again.
    """
    if seconds is None:
        yield
        return

    def end() -> None:
        file.write(f"it took more than {seconds:g} s: this worker process ends itself. Where it was:\n")
        file.flush()
        faulthandler.dump_traceback(file)
        os._exit(EXIT_TOO_SLOW)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
