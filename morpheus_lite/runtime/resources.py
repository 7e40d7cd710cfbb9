"""Resources that a run may use: cores, memory, threads and processes."""

import ctypes
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

import psutil

from morpheus_lite.errors import OptionError

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>[KMGT]I?)?B?", re.IGNORECASE)

_Item = TypeVar("_Item")


_LARGEST = 2**60
"""Bytes of memory that no machine has."""

LIBRARIES = 850_000_000
"""Most bytes that Python, libraries and a model take: 240 MB with OpenVINO, 730 to 830 MB with TensorFlow."""


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_memory(size: str | int, name: str = "memory") -> int:
    """An amount of memory in bytes.

    Parameters
    ----------
    size : str or int
        ``"2GB"``, ``"500 MB"``, ``"1.5GiB"`` (powers of 1024), or a number of bytes.
    name : str
        What it is, for the message.

    Raises
    ------
    OptionError
        It is not an amount of memory.

    Examples
    --------
    >>> parse_memory("2GB"), parse_memory("1.5 KiB")
    (2000000000, 1536)
    """
    match = _SIZE.fullmatch(str(size).strip())
    number = float(match["number"]) * _UNITS[(match["unit"] or "").upper()] if match else 0.0
    if not 1 <= number <= _LARGEST:
        shown = str(size) if len(str(size)) <= 40 else f"{str(size)[:37]}..."
        raise OptionError(f"{name} {shown!r}: expected an amount such as 2GB, 500MB or 1.5GiB")
    return int(number)


def format_memory(size: float) -> str:
    """A number of bytes for people: ``"1.4 GB"``, ``"350 MB"``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def counted(number: int, noun: str) -> str:
    """A number of things for people: ``"1 source"``, ``"1,200 tiles"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def held_memory() -> int:
    """Bytes that count as taken before a run begins: what the process holds, as far as libraries account for it.

    What else a long-lived process keeps, such as arrays of its own, is its caller's and no part of a run's budget.
    """
    return min(resident_memory(), LIBRARIES)


def resident_memory() -> int:
    """Bytes of memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def release_memory(*, above: float = 0.0) -> None:
    """Give memory that is free, but still held by this process, back to the system (where that can be done: glibc).

    Parameters
    ----------
    above : float
        Bytes of resident memory up to which nothing is done: to take it from the system again costs a network up to a
        quarter of its time.
    """
    if resident_memory() <= above:
        return
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def run_each(
    work: Callable[[_Item], object], items: Iterable[_Item], *, threads: int, progress: Progress | None = None
) -> None:
    """Do the same with every item, several at a time; the first error ends it.

    Parameters
    ----------
    work : callable
        Called with one item, in a thread.
    items : iterable
        The items, taken in their order.
    threads : int
        How many at a time.
    progress : callable, optional
        Called in this thread with (items done, items in all).
    """
    failed = threading.Event()

    def unless_failed(item: _Item) -> None:
        if failed.is_set():
            return
        try:
            work(item)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(threads, thread_name_prefix="morpheus") as pool:
        futures = [pool.submit(unless_failed, item) for item in items]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                if progress:
                    progress(done, len(futures))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_Result = TypeVar("_Result")


def thread_map(function: Callable[..., _Result], *items: Iterable[Any], threads: int | None = None) -> list[_Result]:
    """`map` in threads, by default one for each usable core: for functions that NumPy and compiled loops keep busy."""
    with ThreadPoolExecutor(threads or usable_cores(), thread_name_prefix="morpheus") as pool:
        return list(pool.map(function, *items))


def results_ahead(function: Callable[[_Item], _Result], items: Iterable[_Item], *, threads: int) -> Iterator[_Result]:
    """`map` in threads, of which no more results than threads wait to be taken: for large ones."""
    with ThreadPoolExecutor(threads, thread_name_prefix="morpheus") as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def importing(*modules: str, then: Callable[[], object] | None = None) -> Iterator[None]:
    """Import modules, and do one thing, in a thread beside the work of the block; at its end processes may fork."""
    with ThreadPoolExecutor(1, thread_name_prefix="morpheus-import") as pool:
        pool.map(import_module, modules)  # what fails does so again, and is heard, where it is used
        if then is not None:
            pool.submit(then)
        yield


Start = Callable[..., Callable[[], None]]
"""Called with a function and its arguments, it starts the work; what it returns waits for the end of that."""


@contextmanager
def process_beside(prepare: Callable[[], object] | None = None) -> Iterator[Start]:
    """Fork a process that prepares for its work while this one does something else, and then does one thing for it.

    Parameters
    ----------
    prepare : callable, optional
        Such as imports: those in a thread hold up all Python code of this process.

    Yields
    ------
    callable
        A `Start`. The function and its arguments are pickled; what it raises is raised where its end is waited for.
        Where no process can be forked, or it died, or they cannot be pickled, waiting does the work, in this process.
    """
    if not _can_fork():
        yield partial
        return
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(here, there, prepare), name="morpheus-beside", daemon=True)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of forks beside threads
        process.start()
    there.close()

    def start(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[], None]:
        work = partial(function, *arguments, **options)
        try:
            with warnings.catch_warnings(action="ignore"):  # of a WCS on its way, which is read already
                here.send(work)
        except Exception:  # of what cannot be pickled, or of a process that died
            log.debug("the work cannot be sent to another process", exc_info=True)
            return work

        def wait() -> None:
            try:
                error = here.recv()
            except (EOFError, OSError):
                log.warning("a worker process died; its work is done in this one")
                work()
                return
            if error is not None:
                raise error

        return wait

    try:
        yield start
    finally:
        here.close()
        process.terminate()
        process.join()


def _serve(here: Connection, there: Connection, prepare: Callable[[], object] | None) -> None:
    """Prepare, do what is sent, and tell what it raised, or None; end where nobody is left to send anything."""
    here.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process hears it, and ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if prepare is not None:
        with suppress(Exception):  # it fails again, and is heard, where it is used
            prepare()
    with suppress(EOFError):
        with warnings.catch_warnings(action="ignore"):
            work = there.recv()
        try:
            work()
        except Exception as error:
            there.send(error)
        else:
            there.send(None)


def _can_fork() -> bool:
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


class Executor(Protocol):
    """Processes elsewhere that share work, such as those of a cluster."""

    def map(self, function: Callable[[_Item], _Result], items: Sequence[_Item], /) -> Iterator[_Result]:
        """Apply the function to each item, and yield the results in order; both are pickled."""


Workers = int | Executor
"""How many processes to fork, or where else the work is done."""

log = logging.getLogger(__name__)

_work: Callable[[Any], Any] | None = None


def parallel_map(
    function: Callable[[_Item], _Result], items: Sequence[_Item], *, workers: Workers = 1
) -> Iterator[_Result]:
    """Apply a function to each item, and yield the results in order.

    Parameters
    ----------
    function : callable
        Takes an item; the result must be picklable. It may hold on to arrays of any size: processes are forked, and
        share the memory of this one.
    items : sequence
        The items, picklable.
    workers : int or Executor
        Processes. 1, or a system or process that cannot fork, does the work here.

    Yields
    ------
    object
        The result of each item.

    Notes
    -----
    Forking a process whose other threads are at work is safe only if the copy uses nothing of theirs: ``function``
    must keep to NumPy, SciPy and files. Where a process dies (as the system may decide when memory is short), what is
    left is done here.
    """
    if not isinstance(workers, int):
        yield from workers.map(function, items)
        return
    if workers < 2 or len(items) < 2 or not _can_fork():
        yield from map(function, items)
        return
    done = 0
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(min(workers, len(items)), context, _begin, (function,)) as pool:
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of forks beside threads
                results = pool.map(_call, items)
            for result in results:
                yield result
                done += 1
    except BrokenProcessPool:
        log.warning("a worker process died; the rest is done in this one")
        yield from map(function, items[done:])


def _begin(function: Callable[[Any], Any]) -> None:
    global _work  # of the new process only
    _work = function


def _call(item: Any) -> Any:
    assert _work is not None
    return _work(item)


_STEPS = 1000


def part_of(progress: Progress | None, low: float, high: float) -> Progress | None:
    """The progress of a part of the work, as a progress of the whole.

    Parameters
    ----------
    progress : callable or None
        Called with (thousandths of the whole, 1000); None is given back.
    low, high : float
        Shares of the whole, 0 to 1, at which the part begins and ends.
    """
    if progress is None:
        return None

    def advance(done: int, total: int) -> None:
        progress(round(_STEPS * (low + (high - low) * done / max(total, 1))), _STEPS)

    return advance


@contextmanager
def shown_progress(progress: Progress | bool | None, label: str) -> Iterator[Progress | None]:
    """A progress callable: the one given; for True a bar of rich, in a notebook or on stderr; else None."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bars
    from rich.progress import TimeElapsedColumn

    console, columns = Console(stderr=True), (*Bars.get_default_columns(), TimeElapsedColumn())
    # A log file gets the last state of the bar alone.
    with Bars(*columns, console=console, transient=console.is_terminal or console.is_jupyter) as bar:
        task = bar.add_task(escape(f"{label}:"), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
