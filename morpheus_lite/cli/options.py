"""Options of the commands, made from the dataclasses that declare them, in groups; and those of all commands."""

import gc
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from morpheus_lite.config.schema import Declared, declared, with_values
from morpheus_lite.errors import InputError, InputWarning, OptionError
from morpheus_lite.runtime.resources import Progress, shown_progress

PATH, FILE = click.Path(path_type=Path), click.Path(path_type=Path, dir_okay=False)
DIRECTORY = click.Path(path_type=Path, file_okay=False)
"""Types of options that name a file or a directory, which need not exist."""


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


@contextmanager
def logging_to_stderr(*, verbose: int, quiet: bool) -> Iterator[None]:
    """Send the library's log, and warnings of inputs, to stderr, each message once; then leave logging as it was.

    Warnings of other libraries are for ``-vv``.
    """
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("morpheus: %(message)s"))
    handler.addFilter(_Once())
    root, own = logging.root, logging.getLogger("morpheus_lite")
    before, handlers = (root.level, own.level), root.handlers[:]

    def show(message: Warning | str, category: type[Warning], *where: Any, **_lines: Any) -> None:
        if issubclass(category, InputWarning):
            own.warning("%s", message)
        elif verbose > 1:
            root.warning("%s", warnings.formatwarning(message, category, *where[:2]))

    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    own.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(before[0])
        own.setLevel(before[1])


def progress_bar(label: str, *, quiet: bool) -> AbstractContextManager[Progress | None]:
    """A progress callable drawn on stderr, or None when nobody would see it."""
    in_notebook = "JPY_PARENT_PID" in os.environ  # "!morpheus ...": a terminal that shows every line anew
    return shown_progress(not quiet and not in_notebook and sys.stderr.isatty(), label)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Imports made in this block are not searched for garbage, over and over: a fifth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


GROUPS = ("Image", "Network", "Detection", "Deblending", "Measurement", "Products", "Cluster", "Run", "General")
"""Headings of ``--help``, in this order."""


class Command(click.Command):
    """A command whose options are listed in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in GROUPS:
            members = (one for one in self.get_params(ctx) if getattr(one, "group", "General") == group)
            records = [record for one in members if (record := one.get_help_record(ctx)) and record[0].startswith("-")]
            if records:
                with formatter.section(group):
                    formatter.write_dl(records, col_max=36)


class Option(click.Option):
    """An option with a heading in ``--help``."""

    def __init__(self, *arguments: Any, group: str = "General", one: Declared | None = None, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.group, self.one = group, one

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value as its dataclass declares it, from a text, from several, or as a file of options gave it."""
        one = self.one
        if one is None or one.hint is bool or value in (None, ()):
            return super().type_cast_value(ctx, value)
        is_several = isinstance(value, Sequence) and (self.multiple or self.nargs > 1)
        try:
            return one.parse(value) if isinstance(value[0] if is_several else value, str) else one.convert(value)
        except OptionError as error:
            raise click.BadParameter(str(error), ctx, self) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names that the option chooses from, the last one of a list; else files."""
        before, comma, last = incomplete.rpartition(",")
        choices = self.one.bounds.get("choices", ()) if self.one else ()
        named = [CompletionItem(f"{before}{comma}{name}") for name in choices if name.startswith(last)]
        return named or super().shell_complete(ctx, incomplete) or complete_file(ctx, self, incomplete)


def complete_file(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell's own completion of file names."""
    return [CompletionItem(incomplete, type="file")]


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the shipped models, else directories of weights."""
    from morpheus_lite.models.registry import list_models

    named = [CompletionItem(model.name) for model in list_models() if model.name.startswith(incomplete)]
    return named or complete_file(context, parameter, incomplete)


def grouped_option(*names: str, group: str = "General", **settings: Any) -> Callable:
    """An option that no dataclass declares, under a heading."""
    return click.option(*names, cls=Option, group=group, **settings)


band_option = grouped_option(
    "--band", "bands", multiple=True, metavar="NAME=FILE[EXT]", group="Image",
    help="One band of an image kept in several files.",
)  # fmt: skip


def options_of(
    options: Any, name: str, *, without: Collection[str] = (), short: Mapping[str, str] | None = None
) -> Callable:
    """Add the options that a dataclass declares; the command gets the dataclass, with what was given, by this name.

    Parameters
    ----------
    options : dataclass
        The defaults; a type where some of its fields are required.
    name : str
        Parameter of the command.
    without : collection of str
        Fields that are no options of the command.
    short : mapping, optional
        Short names of options, such as ``-m``, by the long ones.
    """
    shown = [one for one in declared(options) if one.flag and one.path[0] not in without]

    def add(command: Callable) -> Callable:
        @wraps(command)
        def run(**given: Any) -> Any:
            values = {one.path: given.pop(_name(one)) for one in shown}
            values = {path: value for path, value in values.items() if value not in (None, ())}
            if isinstance(options, type):
                chosen = options(**{path[0]: value for path, value in values.items()})
            else:
                chosen = with_values(options, values)
            return command(**given, **{name: chosen})

        for one in shown[::-1]:
            run = _option_of(one, (short or {}).get(one.flag))(run)
        return run

    return add


def _name(one: Declared) -> str:
    return one.flag.replace("-", "_")


def _option_of(one: Declared, short: str | None) -> Callable:
    flag = f"--{one.flag}"
    names = [name for name in (short, flag) if name]
    settings: dict[str, Any] = {"help": _help(one), "group": one.group or "General", "one": one}
    settings |= {"required": True} if one.is_required else {"default": None}
    settings |= {"shell_complete": complete_model} if one.flag == "model" else {}
    if one.hint is bool:
        return grouped_option(_name(one), f"{flag}/--no-{one.flag}" if one.default else flag, **settings, is_flag=True)
    settings |= {"type": click.UNPROCESSED, "multiple": one.is_table, "nargs": one.length or 1}
    return grouped_option(_name(one), *names, **settings, metavar=one.bounds.get("metavar") or _metavar(one))


def _metavar(one: Declared) -> str:
    if "choices" in one.bounds and one.hint in (str, str | None):
        return f"[{'|'.join(one.bounds['choices'])}]"
    if unit := one.bounds.get("unit", ""):
        return unit.upper().split()[0]
    return "N" if one.hint in (int, int | None) else "A,B,..." if one.is_list and not one.is_table else "VALUE"


def _help(one: Declared) -> str:
    """The line of ``--help``: what it is, and the default."""
    default = one.bounds.get("unset") if one.is_required or one.default is None else one.default
    unit = f" {one.bounds['unit']}" if "unit" in one.bounds and default is one.default else ""
    shown = f"{default}{unit}"
    if isinstance(default, tuple):
        shown = ",".join(map(str, default))
    elif default is True:
        shown = "on"
    return one.bounds.get("help", "") + ("" if default is None or default is False else f"  [default: {shown}]")


def common(command: Callable) -> Callable:
    """Add ``--json``, ``--config``, ``-v`` and ``-q``; the command gets those of them that it has parameters for."""
    taken = inspect.signature(command).parameters

    @wraps(command)
    def run(*, verbose: int, quiet: bool, as_json: bool, **given: Any) -> int | None:
        state = {"verbose": verbose, "quiet": quiet, "as_json": as_json}
        with logging_to_stderr(verbose=verbose, quiet=quiet):
            return command(**given, **{name: value for name, value in state.items() if name in taken})

    path = click.Path(exists=True, dir_okay=False, path_type=Path)
    hidden: dict[str, Any] = {"is_eager": True, "expose_value": False}
    about = "Options by their long names; the command line wins."
    for decorate in (
        grouped_option("-q", "--quiet", is_flag=True, help="No progress, only errors."),
        grouped_option("-v", "--verbose", count=True, help="Say more (-vv: everything)."),
        grouped_option("--config", type=path, callback=_load, metavar="FILE.toml", help=about, **hidden),
        grouped_option("--json", "as_json", is_flag=True, help="Print what was done as JSON."),
    ):
        run = decorate(run)
    return run


def _load(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Take the options of a TOML file as defaults."""
    if path is None:
        return
    from morpheus_lite.io.untrusted import read_toml

    try:
        table = read_toml(path)
    except InputError as error:
        raise click.BadParameter(str(error)) from error
    options = [one for one in context.command.params if isinstance(one, Option) and one.expose_value]
    known = {name.removeprefix("--"): one for one in options for name in one.opts if name.startswith("--")}
    fields = {one.one.path: one for one in options if one.one}
    groups = {path[0] for path in fields if len(path) > 1}
    parts = {key: table.pop(key) for key in groups & table.keys() if isinstance(table[key], dict)}
    flat: dict[tuple[str, ...], Any] = {(key,): value for key, value in table.items()}
    flat |= {(part, key): value for part, inner in parts.items() for key, value in inner.items()}
    given = {}
    for keys, value in flat.items():
        key = ".".join(keys)
        option = fields.get(keys) or known.get(key.replace("_", "-"))
        if option is None:
            close = get_close_matches(key.replace("_", "-"), known, n=1)
            said = f"did you mean {close[0]}?" if close else f"its options: {', '.join(sorted(known))}"
            raise click.BadParameter(f"{path} sets {key}, which this command does not have; {said}")
        try:
            given[option.name] = _default_of(option, value)
        except OptionError as error:
            raise click.BadParameter(f"{path} sets {key} = {value!r:.60}: {error}") from error
    context.default_map = {**(context.default_map or {}), **given}


def _default_of(option: Option, value: Any) -> Any:
    """A value of TOML as a default of click; what its type is not is refused here, bounds are click's own matter."""
    if (one := option.one) is not None:
        return one.parse(value) if isinstance(value, str) and one.is_list else one.convert(value)
    kinds: Any = bool if option.is_flag else int if option.count else (str, int, float, list)
    if not isinstance(value, kinds) or (isinstance(value, bool) and not option.is_flag):
        raise OptionError(f"expected {'true or false' if option.is_flag else 'another type'}")
    return value
