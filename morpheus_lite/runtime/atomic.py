"""Write, then move: a product appears under its name when it is whole, or not at all."""

import errno
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from morpheus_lite.errors import MorpheusError, OutputError

SUFFIX = ".morpheus-part"
"""Ending of files that are being written."""

FOREIGN_AGE = 24 * 3600.0
"""Seconds without a change after which the unfinished file of another machine is taken to be abandoned."""

_RUN = secrets.token_hex(4)
_HOST = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32] or "host"
_NAME = re.compile(r"^\..+\.(?P<host>[A-Za-z0-9]+)-(?P<pid>\d+)-(?P<run>[0-9a-f]{8})-[0-9a-f]{8}" + re.escape(SUFFIX))
_REASONS = {
    errno.ENOSPC: "there is no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "the file would be too large for the file system",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports an error",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.ENOENT: "the directory does not exist",
}

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def check_writable(paths: Iterable[str | Path], overwrite: bool = False) -> None:
    """Make sure, before the work starts, that products can be written; clear what a killed run left behind.

    Directories need not exist yet.

    Parameters
    ----------
    paths : iterable of path
        The products.
    overwrite : bool
        Whether files that exist may be replaced.

    Raises
    ------
    OutputError
        A product exists, or there is no permission.
    """
    wanted = [Path(path) for path in paths]
    taken = [path for path in wanted if os.path.lexists(path)]
    folders = [str(path) for path in taken if path.is_dir()]
    if folders:
        raise OutputError(f"{', '.join(folders)}: a directory has the name of a product; move it away")
    if taken and not overwrite:
        said = f"{', '.join(map(str, taken))} {'exists' if len(taken) == 1 else 'exist'} already"
        raise OutputError(f"{said}; give another place, or --overwrite (in Python, overwrite=True)")
    for directory in dict.fromkeys(path.parent for path in wanted):
        _check_directory(directory)
        clear_abandoned(directory)


def _check_directory(directory: Path) -> None:
    existing = next(parent for parent in (directory, *directory.absolute().parents) if os.path.lexists(parent))
    if not existing.is_dir():
        raise OutputError(f"{existing} is not a directory, so nothing can be written in {directory}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"no permission to write in {existing}; choose another directory")


@contextmanager
def atomic_write(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path in the same directory, which becomes ``path`` when the block ends without an exception.

    Parameters
    ----------
    path : path
        The product; its directory exists.
    overwrite : bool
        Whether a file that exists may be replaced.

    Yields
    ------
    pathlib.Path
        Write here. The name is hidden and ends in `SUFFIX`: give writers the format, not the suffix.

    Raises
    ------
    OutputError
        The product exists, or cannot be written; nothing is left behind then, nor after any other exception.
    """
    path = Path(path)
    check_writable([path], overwrite)
    temporary = temporary_path(path)
    try:
        with _explained(f"{path} cannot be written"):
            yield temporary
            _check_absent([path], overwrite)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(paths: Iterable[str | Path], *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary directory for several products, which get their names together when the block ends without an error.

    Parameters
    ----------
    paths : iterable of path
        The products, all in one directory, which is made if it does not exist.
    overwrite : bool
        Whether files that exist may be replaced.

    Yields
    ------
    pathlib.Path
        Write each product here, under its own name. What else lies here in the end is thrown away.

    Raises
    ------
    OutputError
        A product exists, or cannot be written; nothing is left behind then, nor after any other exception. After a
        kill the directory is left, until `clear_abandoned` finds it.
    """
    wanted = [Path(path) for path in paths]
    check_writable(wanted, overwrite)
    directory = wanted[0].parent
    temporary = temporary_path(directory / "products")
    try:
        with _explained(f"the products cannot be written in {directory}"):
            temporary.mkdir(parents=True)
            yield temporary
            _check_absent(wanted, overwrite)
            for path in wanted:
                (temporary / path.name).replace(path)
    except OutputError as error:
        raise OutputError(str(error).replace(str(temporary), str(directory))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Make errors of the disk `OutputError`."""
    try:
        yield
    except MorpheusError:
        raise
    except Exception as error:
        if (reason := write_failure(error)) is None:
            raise
        raise OutputError(f"{what}: {reason}") from error


def _check_absent(paths: Iterable[Path], overwrite: bool) -> None:
    appeared = [str(path) for path in paths if not overwrite and os.path.lexists(path)]
    if appeared:
        raise OutputError(f"{', '.join(appeared)} has appeared while it was being made; what is there is left as it is")


def temporary_path(path: Path) -> Path:
    """A hidden name beside ``path`` that says who is writing: host, process and run."""
    owner = f"{_HOST}-{os.getpid()}-{_RUN}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name[:100]}.{owner}{SUFFIX}")


def clear_abandoned(directory: Path) -> list[Path]:
    """Remove unfinished files, and directories of such, whose writer is no more.

    A writer on this machine is no more when its process is not running; of another machine's, when the file
    has not changed for `FOREIGN_AGE` seconds.

    Returns
    -------
    list of pathlib.Path
        What was removed.
    """
    removed = []
    with suppress(OSError):
        for entry in os.scandir(directory):
            match = _NAME.match(entry.name) if entry.name.endswith(SUFFIX) else None
            if match and _is_abandoned(match, entry):
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        Path(entry.path).unlink()
                    removed.append(Path(entry.path))
    return removed


def _is_abandoned(match: re.Match, entry: os.DirEntry) -> bool:
    if match["host"] != _HOST:
        return time.time() - entry.stat().st_mtime > FOREIGN_AGE
    pid = int(match["pid"])
    if pid == os.getpid():
        # In a container a new run often has the number of the one that was killed.
        return match["run"] != _RUN
    return not psutil.pid_exists(pid)


def write_failure(error: BaseException | None) -> str | None:
    """Reason for a failed write in words; None where the error is not the disk's.

    Writers such as `numpy.savez` raise errors of their own while they clean up after a full disk.
    """
    is_own = isinstance(error, OSError)
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number is not None and number in (_REASONS if is_own else _FULL):
            return _REASONS[number]
        if "Not enough space on disk" in str(error):
            return _REASONS[errno.ENOSPC]
        error = error.__cause__ or error.__context__
    return None
