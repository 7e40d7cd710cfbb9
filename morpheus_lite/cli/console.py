"""Parts shared by the commands: log, progress with the time left, bounded numbers."""

import gc
import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

_Progress = Callable[[int, int], None]


class _Once(logging.Filter):
    """Lets every message through once: what is said of each of many tiles or bands is not said again."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[int, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        key = record.levelno, record.getMessage()
        new = key not in self._said
        self._said.add(key)
        return new


def set_up_logging(*, verbose: int, quiet: bool) -> None:
    """Send the library's log to stderr at the level asked for, each message once."""
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="morpheus: %(message)s", force=True)
    logging.root.handlers[0].addFilter(_Once())
    logging.getLogger("morpheus_lite").setLevel(level)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.DEBUG if verbose > 1 else logging.ERROR)


@contextmanager
def progress_bar(label: str, *, quiet: bool) -> Iterator[_Progress | None]:
    """A progress callable drawn on stderr, or None when nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


@contextmanager
def gc_paused() -> Iterator[None]:
    """Imports made in this block are not searched for garbage, over and over: a fifth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class Number(click.FloatRange):
    """A finite number within bounds; nan is within all bounds of click."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class Count(click.IntRange):
    """A whole number within bounds, small enough for every array and library."""

    name = "integer"

    def __init__(self, least: int, most: int = 2**31 - 1) -> None:
        super().__init__(least, most)

    def _describe_range(self) -> str:
        return f"x>={self.min}"
