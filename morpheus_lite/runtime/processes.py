"""The same work on many items in several processes at once."""

import logging
import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


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
            with warnings.catch_warnings():
                # Python warns of every fork beside threads.
                warnings.simplefilter("ignore", DeprecationWarning)
                results = pool.map(_call, items)
            for result in results:
                yield result
                done += 1
    except BrokenProcessPool:
        log.warning("a worker process died; the rest is done in this one")
        yield from map(function, items[done:])


def _can_fork() -> bool:
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


def _begin(function: Callable[[Any], Any]) -> None:
    global _work  # of the new process only
    _work = function


def _call(item: Any) -> Any:
    assert _work is not None
    return _work(item)
