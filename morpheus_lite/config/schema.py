"""The schema of options: fields of dataclasses declare type, bounds, unit and help, and the rest follows from them.

Command line, files of options, manifests, the record in headers and the tables of the documentation are made from it.
"""

import dataclasses
import inspect
import json
import math
import operator
import re
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from morpheus_lite.errors import MorpheusError, OptionError

Options = TypeVar("Options")

# Types can be hashed, which mypy does not believe of those of dataclasses.
_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


_LARGEST = 2**53
"""Whole numbers beyond it have no exact float64."""

_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "low": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "high": ("at most", operator.le),
    "below": ("below", operator.lt),
}
"""Bounds of a number by their names: in words, and whether a number keeps to them."""


def option(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    length: tuple[int, int | None] | None = None,
    choices: Collection[str] = (),
    unit: str | None = None,
    flag: str | None = None,
    metavar: str | None = None,
    unset: str | None = None,
    group: str | None = None,
    part_of: type | None = None,
    prefix: str | None = None,
    effect: str | None = None,
) -> Any:
    """Declare a field of a dataclass of options; what it means is for the docstring of the dataclass to say.

    Parameters
    ----------
    default : object
        Default of the field; without it the option is required. A type is called for it.
    low, high : float, optional
        Bounds of the number, or of every number in a list; the bound itself is allowed.
    above, below : float, optional
        The same where the bound itself is not allowed.
    length : (int, int or None), optional
        Least and greatest number of letters of a text, or of items of a list.
    choices : collection of str, optional
        The only texts allowed.
    unit : str, optional
        What the number counts.
    flag : str, optional
        Name on the command line, if other than the field's; an empty one leaves the option out there.
    metavar : str, optional
        What stands for the value in ``--help``.
    unset : str, optional
        What a default of None means.
    group : str, optional
        Heading in ``--help``, of this field and those after it; of a field that is a dataclass, of its fields.
    part_of : type, optional
        The field is a mapping of some of the fields of this dataclass.
    prefix : str, optional
        What the flags of the fields of a dataclass begin with.
    effect : {"files", "none"}, optional
        The option decides which files there are and what is in them, but no number; or nothing in them at all.
    """
    metadata = {key: value for key, value in locals().items() if key != "default" and value not in (None, ())}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, eq=False)
class Declared:
    """A field of a dataclass of options, or of a dataclass that is a field of it: where it stands and what it may be.

    Parameters
    ----------
    path : tuple of str
        Names of the fields that lead to it.
    flag : str
        Long option of the command line, without dashes; empty if there is none.
    group : str
        Heading in ``--help``.
    hint : object
        Declared type.
    default : object
        Value where nothing is given.
    bounds : mapping
        Metadata of the field.
    """

    path: tuple[str, ...]
    flag: str
    group: str
    hint: Any
    default: Any
    bounds: Mapping[str, Any]

    @property
    def is_table(self) -> bool:
        """True if values may be given by name, ``NAME=VALUE``."""
        return any(items and kind is not tuple for kind, items in _kinds(self.hint))

    @property
    def length(self) -> int:
        """Number of values of a list of a fixed length, 0 for anything else."""
        items = get_args(self.hint)
        return len(items) if get_origin(self.hint) is tuple and Ellipsis not in items else 0

    @property
    def is_required(self) -> bool:
        """True if there is no default."""
        return self.default is dataclasses.MISSING

    @property
    def is_list(self) -> bool:
        """True if a text may hold several values, ``A,B``, or one that has a name."""
        return any(items for _, items in _kinds(self.hint))

    @property
    def expected(self) -> str:
        """Description of the expected value."""
        return _expected(self.hint, self.bounds)

    def convert(self, value: Any) -> Any:
        """A plain value as the field holds it.

        Raises
        ------
        OptionError
            It is of another type, or out of bounds.
        """
        return _checked(value, self.hint, self.bounds, self.path[-1])

    def parse(self, text: str | Sequence[str] | Mapping[str, str]) -> Any:
        """A text of the command line, or several such as ``NAME=VALUE``, as the field holds it.

        Raises
        ------
        OptionError
            It cannot be.
        """
        return self.convert(self.plain(text))

    def plain(self, text: str | Sequence[str] | Mapping[str, str]) -> Any:
        """A text, or several, as plain values of the declared type where they can be; they are not checked."""
        texts = [text] if isinstance(text, str) else list(text)
        texts = [",".join(texts)] if self.length else texts
        if self.is_table and (isinstance(text, Mapping) or len(texts) > 1 or "=" in texts[0]):
            values = next(items[1] for kind, items in _kinds(self.hint) if items and kind is not tuple)
            if values in (int, float):  # no number has a comma in it
                texts = [part for one in texts for part in one.split(",")]
            pairs = text if isinstance(text, Mapping) else named_values(f"--{self.flag}", texts)
            return {name: _from_text(one, values) for name, one in pairs.items()}
        return _from_text(texts[0], self.hint)


def declared(options: Any) -> Iterator[Declared]:
    """Every option of a dataclass of options, or of one of its kind, with those of the dataclasses in it, in order."""
    group = ""
    hints = _hints(options if isinstance(options, type) else type(options))
    for field in dataclasses.fields(options):
        value = _default_of(field) if isinstance(options, type) else getattr(options, field.name)
        group = field.metadata.get("group", group)
        part = field.metadata.get("part_of")
        if part is None and not dataclasses.is_dataclass(value):
            flag = field.metadata.get("flag", field.name.replace("_", "-"))
            yield Declared((field.name,), flag, group, hints[field.name], value, field.metadata)
            continue
        for one in declared(value if part is None else part()):
            flag = field.metadata.get("prefix", "") + one.flag if one.flag else ""
            default = one.default if part is None else value.get(one.path[0])
            unset = one.bounds if part is None else {"unset": "the model's", **one.bounds}
            yield Declared((field.name, *one.path), flag, one.group or group, one.hint, default, unset)


def _default_of(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def changed(options: Options, table: Any, where: str = "options") -> Options:
    """The same options with some changed, as `read_values` reads them from a table."""
    return with_values(options, read_values(options, table, where))


def read_values(options: Any, table: Any, where: str = "options", *, texts: bool = False) -> dict[tuple[str, ...], Any]:
    """Values of options, by the paths of `Declared`, from plain values as TOML, JSON or a table give them.

    Parameters
    ----------
    options : dataclass
        Options.
    table : mapping
        Values by the names of fields or by long options; of fields that are dataclasses, tables.
    where : str
        What to call the table in messages.
    texts : bool
        Texts are as on the command line: ``"4,6"``, ``"true"``.

    Raises
    ------
    OptionError
        An option is unknown or impossible.
    """
    known, named, parts = _index(type(options))  # type: ignore[arg-type]

    def find(table: Any, where: str, inside: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
        if not isinstance(table, Mapping):
            raise OptionError(f"{where} = {_shown(table)}: expected a table of options")
        for key, value in table.items():
            name = str(key).replace("-", "_")
            if name in parts and not inside:
                yield from find(value, name, (name,))
                continue
            one = known.get((*inside, name)) if inside else named.get(name)
            if one is None:
                names = [path[1] for path in known if path[0] == inside[0]] if inside else sorted({*named, *parts})
                raise OptionError(f"{where}: {key!s:.60} is unknown; expected some of {', '.join(names)}")
            yield one.path, one.parse(value) if texts and isinstance(value, str | Mapping) else one.convert(value)

    return dict(find(table, where))


@cache
def _index(cls: Any) -> tuple[dict[tuple[str, ...], Declared], dict[str, Declared], set[str]]:
    """Options of a dataclass by their paths and by their names, and the fields that are dataclasses."""
    known = {one.path: one for one in declared(cls)}
    named = {one.path[-1]: one for one in list(known.values())[::-1]}
    named |= {one.flag.replace("-", "_"): one for one in known.values() if one.flag}
    return known, named, {path[0] for path in known if len(path) > 1}


def with_values(options: Options, values: Mapping[tuple[str, ...], Any]) -> Options:
    """The same options with other values, by the paths of `Declared`."""
    own = {path[0]: value for path, value in values.items() if len(path) == 1}
    for name in {path[0] for path in values if len(path) > 1}:
        part = {path[1]: value for path, value in values.items() if path[0] == name}
        whole = getattr(options, name)
        own[name] = {**whole, **part} if isinstance(whole, Mapping) else dataclasses.replace(whole, **part)
    return dataclasses.replace(options, **own)  # type: ignore[type-var]


def plain_values(options: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Options as JSON holds them, but for those whose effect is one of ``without``."""
    kept = {f.name for f in dataclasses.fields(options) if f.metadata.get("effect") not in without}
    values = {name: value for name, value in dataclasses.asdict(options).items() if name in kept}
    return json.loads(json.dumps(values, default=list))


def chosen(options: Any) -> dict[str, Any]:
    """The fields that are not the defaults."""
    both = ((f.name, getattr(options, f.name), f.default) for f in dataclasses.fields(options))
    return {name: value for name, value, default in both if value != default}


_SECTIONS = re.compile(r"(.*?\n\nParameters\n-+\n)(.*?)((?:\n\n\w+\n---.*)?)", re.DOTALL)
"""What stands before the entries of the parameters in a docstring, the entries, and what follows them."""


def documented(cls: type[Options]) -> type[Options]:
    """Take the help of the fields of a dataclass of options from its docstring, and add there what the fields declare.

    The first paragraph of a parameter is the line for ``--help``, further ones are for the documentation alone.
    """
    sections = _SECTIONS.fullmatch(inspect.cleandoc(cls.__doc__ or ""))
    if sections is None:  # Python runs without docstrings
        return cls
    entries = (entry.partition("\n") for entry in re.split(r"\n(?=\w)", sections[2]))
    texts = {name: [" ".join(part.split()) for part in text.split("\n\n")] for name, _, text in entries}
    hints, lines = _hints(cls), []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in texts:  # the others are those of the dataclass that it extends
            line, *more = texts[field.name]
            given = {"help": line, "more": " ".join(more)} if more else {"help": line}
            field.metadata = types.MappingProxyType(given | dict(field.metadata))
        hint, bounds, default = hints[field.name], field.metadata, field.default
        kind = getattr(hint, "__name__", "") if dataclasses.is_dataclass(hint) else _expected(hint, bounds)
        is_stated = default is not None and default is not dataclasses.MISSING
        state = ", optional" if default is None else f", default {default!r}" if is_stated else ""
        unset = f"None: {bounds['unset']}." if "unset" in bounds else ""
        lines += [f"{field.name} : {kind}{state}"]
        lines += [f"    {' '.join(filter(None, (bounds['help'], unset, bounds.get('more'))))}"]
    cls.__doc__ = sections[1] + "\n".join(lines) + sections[3]
    return cls


class CheckedOptions:
    """Base of dataclasses of options: every field is checked when one is made."""

    def __post_init__(self) -> None:
        check(self)


def check(options: Any, *, error: type[MorpheusError] = OptionError) -> None:
    """Check every field of a dataclass; lists become tuples, and whole numbers floats where a field is a float.

    Call it first in ``__post_init__``.

    Raises
    ------
    OptionError
        (or ``error``) A value is of another type than its field, not finite, or out of bounds.
    """
    hints = _hints(type(options))
    for field in dataclasses.fields(options):
        value = _checked(getattr(options, field.name), hints[field.name], field.metadata, field.name, error)
        object.__setattr__(options, field.name, value)


def _checked(
    value: Any, hint: Any, bounds: Mapping[str, Any], name: str, error: type[MorpheusError] = OptionError
) -> Any:
    """The value as its field holds it, or an error that names the field."""
    try:
        value = _converted(value, hint, bounds)
    except (TypeError, ValueError, OverflowError) as reason:
        wanted = _expected(hint, bounds)
        if "choices" in bounds and not isinstance(reason, TypeError):
            raise error(f"{name} {_strange(value, bounds)}: choose {wanted}") from None
        kind = " is of the wrong kind" if isinstance(reason, TypeError) else ""
        raise error(f"{name} {_shown(value)}{kind}: expected {wanted}") from None
    if "part_of" not in bounds:
        return value
    return {path[0]: one for path, one in read_values(bounds["part_of"](), value, name).items()}


def from_table(cls: type[Options], table: Any, where: str, *, error: type[MorpheusError] = OptionError) -> Options:
    """Build a dataclass of options from a table of TOML; fields that are dataclasses are built from tables in it.

    Parameters
    ----------
    cls : type
        The dataclass.
    table : mapping
        The options by name.
    where : str
        What to call the table in messages.
    error : type
        Of the error.

    Raises
    ------
    OptionError
        (or ``error``) An option is missing, unknown or impossible.
    """
    if not isinstance(table, Mapping):
        raise error(f"{where} = {_shown(table)}: expected a table of options")
    declared = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    missing = [name for name, one in declared.items() if _default_of(one) is dataclasses.MISSING and name not in table]
    unknown = [_shown(name).strip("'") for name in table if name not in declared]
    if missing or unknown:
        faults = [f"{kind} {', '.join(names)}" for kind, names in (("missing", missing), ("unknown", unknown)) if names]
        raise error(f"{where}: {' and '.join(faults)}; expected {', '.join(sorted(declared))}")
    hints = _hints(cls)
    values = {name: _built(value, hints[name], name) for name, value in table.items()}
    try:
        return cls(**values)
    except MorpheusError as fault:
        raise error(f"{where}: {fault}") from fault


def _built(value: Any, hint: Any, where: str) -> Any:
    """A value of a table with the dataclasses in it; all else is left to `check`."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and not isinstance(value, hint):
        return from_table(hint, value, where)
    item = get_args(hint)[0] if get_origin(hint) is tuple else None
    if dataclasses.is_dataclass(item) and isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_built(one, item, f"item {number} of {where}") for number, one in enumerate(value, 1))
    return value


def _kinds(hint: Any) -> list[tuple[Any, tuple[Any, ...]]]:
    """Types that a value may have: each with those of its items, of which only lists and tables have any."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [(get_origin(one) or one, get_args(one)) for one in kinds]


def _converted(value: Any, hint: Any, bounds: Mapping[str, Any]) -> Any:
    """The value as its field holds it; raise TypeError or ValueError where it is none."""
    for kind, items in _kinds(hint):
        with suppress(TypeError):
            if kind is tuple:
                return _converted_tuple(value, items, bounds)
            if not items:
                return value if kind is Any else _converted_scalar(value, kind, bounds)
            if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
                return {key: _converted(one, items[1], bounds) for key, one in value.items()}
    raise TypeError


def _converted_tuple(value: Any, items: tuple[Any, ...], bounds: Mapping[str, Any]) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError
    if items[-1] is Ellipsis:
        _check_length(value, bounds)
        items = items[:1] * len(value)
    if len(value) != len(items):
        raise ValueError
    return tuple(_converted(one, item, bounds) for one, item in zip(value, items, strict=True))


def _converted_scalar(value: Any, hint: Any, bounds: Mapping[str, Any]) -> Any:
    kind = {int: Integral, float: Real}.get(hint, hint)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not hint):
        raise TypeError
    if kind is not hint:
        value = hint(value)
        if not math.isfinite(value) or abs(value) > (_LARGEST if hint is int else sys.float_info.max):
            raise ValueError
        if not all(is_inside(value, bounds[name]) for name, (_, is_inside) in _BOUNDS.items() if name in bounds):
            raise ValueError
    elif isinstance(value, str):
        _check_length(value, bounds)
        if "\0" in value or value not in bounds.get("choices", (value,)):
            raise ValueError
    return value


def _check_length(value: Sequence, bounds: Mapping[str, Any]) -> None:
    least, most = bounds.get("length", (0, None))
    if len(value) < least or (most is not None and len(value) > most):
        raise ValueError


def _from_text(text: Any, hint: Any) -> Any:
    """A text as a plain value of a type; as it is where it is none, which `_converted` then refuses."""
    if not isinstance(text, str):
        return text
    kinds = _kinds(hint)
    for kind, items in kinds:
        if kind is tuple and (str, ()) not in kinds:
            return tuple(_from_text(part, items[0]) for part in re.split(r"[,\s]+", text) if part)
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind in (int, float):
            with suppress(ValueError):
                return kind(text)
    return text


def named_values(option: str, texts: Iterable[str]) -> dict[str, str]:
    """``("A=x", "B=y")`` as a dict, each name once."""
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            raise OptionError(f"{option} {text}: expected NAME=VALUE, such as {option} F160W=...")
        if name in found:
            raise OptionError(f"{option} names {name} twice: {found[name]} and {value}")
        found[name] = value
    return found


def _expected(hint: Any, bounds: Mapping[str, Any], *, plural: bool = False) -> str:
    """Describe the values a field accepts: ``"a whole number, at least 1"``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_expected(one, bounds, plural=plural) for one in arguments if one is not type(None))
    if origin is tuple and "choices" in bounds:
        return f"one or more of {', '.join(bounds['choices'])}"
    if origin is tuple:
        length = _length(bounds) if arguments[-1] is Ellipsis else f" of {len(arguments)}"
        return f"{_expected(arguments[0], bounds, plural=True)}, in {'lists' if plural else 'a list'}{length}"
    if origin is not None:
        return f"a table of {_expected(arguments[1], bounds, plural=True)}"
    if "choices" in bounds and hint is str:
        return f"one of {', '.join(bounds['choices'])}"
    if hint in (int, float):
        is_positive = bounds.get("above") == 0
        noun = f"{'positive ' if is_positive else 'whole ' if hint is int else 'finite '}number"
        unit = f" of {bounds['unit']}" if "unit" in bounds else ""
        limits = {word: bounds[name] for name, (word, _) in _BOUNDS.items() if name in bounds}
        words = [f"{word} {limit:g}" for word, limit in limits.items() if not (is_positive and word == "above")]
        return ", ".join([f"{noun}s{unit}" if plural else f"a {noun}{unit}", *words])
    if hint is str:
        is_short = bounds.get("length", (0, None))[0] > 0 and not plural
        return "texts" if plural else "a text that is not empty" if is_short else "a text"
    return {bool: "true or false"}.get(hint, "a table")


def _length(bounds: Mapping[str, Any]) -> str:
    least, most = bounds.get("length", (0, None))
    if least == most:
        return f" of {least}"
    return f" of at least {least}" if least else ""


def _strange(value: Any, bounds: Mapping[str, Any]) -> str:
    """Find what is not a valid choice, for a message: the value itself, or items of a list."""
    if isinstance(value, str | Real):
        return _shown(value)
    return ", ".join(str(one) for one in value if one not in bounds["choices"])[:60] or "(none)"


def _shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
