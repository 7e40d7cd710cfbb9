"""Check options against what their dataclass declares: the type of each field, its bounds and its choices."""

import dataclasses
import math
import sys
import types
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from morpheus_lite.errors import MorpheusError, OptionError

Options = TypeVar("Options")

_LARGEST = 2**53
"""Whole numbers beyond it have no exact float64."""


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
) -> Any:
    """Declare a field of a dataclass of options that `check` looks at.

    Parameters
    ----------
    default : object
        Default of the field; without it the option is required.
    low, high : float, optional
        Bounds of the number, or of every number in a list; the bound itself is allowed.
    above, below : float, optional
        The same where the bound itself is not allowed.
    length : (int, int or None), optional
        Least and greatest number of letters of a text, or of items of a list.
    choices : collection of str, optional
        The only texts allowed.
    unit : str, optional
        What the number counts, for messages.
    """
    bounds = {
        "unit": unit,
        "low": low,
        "high": high,
        "above": above,
        "below": below,
        "length": length,
        "choices": tuple(choices),
    }
    metadata = {key: value for key, value in bounds.items() if value not in (None, ())}
    return dataclasses.field(default=default, metadata=metadata)


def check(options: Any, *, error: type[MorpheusError] = OptionError) -> None:
    """Check every field of a dataclass; lists become tuples, and whole numbers floats where a field is a float.

    Call it first in ``__post_init__``.

    Raises
    ------
    OptionError
        (or ``error``) A value is of another type than its field, not finite, or out of bounds.
    """
    hints = get_type_hints(type(options))
    for field in dataclasses.fields(options):
        try:
            value = _converted(getattr(options, field.name), hints[field.name], field.metadata)
        except (TypeError, ValueError, OverflowError) as reason:
            given, is_kind = getattr(options, field.name), isinstance(reason, TypeError)
            wanted = _expected(hints[field.name], field.metadata)
            if "choices" in field.metadata and not is_kind:
                raise error(f"{field.name} {_strange(given, field.metadata)}: choose {wanted}") from None
            kind = " is of the wrong kind" if is_kind else ""
            raise error(f"{field.name} {_shown(given)}{kind}: expected {wanted}") from None
        object.__setattr__(options, field.name, value)


def from_table(cls: type[Options], table: Any, where: str) -> Options:
    """Build a dataclass of options from a table of TOML; fields that are dataclasses are built from tables in it.

    Parameters
    ----------
    cls : type
        The dataclass.
    table : mapping
        The options by name.
    where : str
        What to call the table in messages.

    Raises
    ------
    OptionError
        An option is missing, unknown or impossible.
    """
    if not isinstance(table, Mapping):
        raise OptionError(f"{where} = {_shown(table)}: expected a table of options")
    declared = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    missing = [name for name, one in declared.items() if _is_required(one) and name not in table]
    unknown = [_shown(name).strip("'") for name in table if name not in declared]
    if missing or unknown:
        faults = [f"{kind} {', '.join(names)}" for kind, names in (("missing", missing), ("unknown", unknown)) if names]
        raise OptionError(f"{where}: {' and '.join(faults)}; expected {', '.join(sorted(declared))}")
    hints = get_type_hints(cls)
    values = {name: _built(value, hints[name], name) for name, value in table.items()}
    try:
        return cls(**values)
    except MorpheusError as error:
        raise OptionError(f"{where}: {error}") from error


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _built(value: Any, hint: Any, where: str) -> Any:
    """A value of a table with the dataclasses in it; all else is left to `check`."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and not isinstance(value, hint):
        return from_table(hint, value, where)
    item = get_args(hint)[0] if get_origin(hint) is tuple else None
    if (
        isinstance(item, type)
        and dataclasses.is_dataclass(item)
        and isinstance(value, Sequence)
        and not isinstance(value, str)
    ):
        return tuple(_built(one, item, f"item {number} of {where}") for number, one in enumerate(value, 1))
    return value


def _converted(value: Any, hint: Any, bounds: Mapping[str, Any]) -> Any:
    """The value as its field holds it; raise TypeError or ValueError where it is none."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        for one in arguments:
            try:
                return _converted(value, one, bounds)
            except TypeError:
                continue
        raise TypeError
    if origin is tuple:
        return _converted_tuple(value, arguments, bounds)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise TypeError
        return {key: _converted(one, arguments[1], bounds) for key, one in value.items()}
    return _converted_scalar(value, hint, bounds)


def _converted_tuple(value: Any, items: tuple[Any, ...], bounds: Mapping[str, Any]) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError
    if items[-1] is Ellipsis:
        least, most = bounds.get("length", (0, None))
        if len(value) < least or (most is not None and len(value) > most):
            raise ValueError
        items = items[:1] * len(value)
    if len(value) != len(items):
        raise ValueError
    return tuple(_converted(one, item, bounds) for one, item in zip(value, items, strict=True))


def _converted_scalar(value: Any, hint: Any, bounds: Mapping[str, Any]) -> Any:
    if hint in (int, float):
        kind = Integral if hint is int else Real
        if isinstance(value, bool) or not isinstance(value, kind):
            raise TypeError
        value = hint(value)
        if not math.isfinite(value) or abs(value) > (_LARGEST if hint is int else sys.float_info.max):
            raise ValueError
        _check_bounds(value, bounds)
        return value
    if not isinstance(value, hint):
        raise TypeError
    if isinstance(value, str):
        least, most = bounds.get("length", (0, None))
        if len(value) < least or (most is not None and len(value) > most) or "\0" in value:
            raise ValueError
        if "choices" in bounds and value not in bounds["choices"]:
            raise ValueError
    return value


def _check_bounds(value: float, bounds: Mapping[str, Any]) -> None:
    is_outside = (
        value < bounds.get("low", -math.inf)
        or value > bounds.get("high", math.inf)
        or value <= bounds.get("above", -math.inf)
        or value >= bounds.get("below", math.inf)
    )
    if is_outside:
        raise ValueError


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
        unit = [f" of {bounds['unit']}"] if "unit" in bounds else []
        return ", ".join(["".join([f"{noun}s" if plural else f"a {noun}", *unit]), *_bounds_in_words(bounds)])
    if hint is str:
        is_short = bounds.get("length", (0, None))[0] > 0 and not plural
        return "texts" if plural else "a text that is not empty" if is_short else "a text"
    return {bool: "true or false"}.get(hint, "a table")


def _bounds_in_words(bounds: Mapping[str, Any]) -> list[str]:
    words = {"low": "at least", "above": "above", "high": "at most", "below": "below"}
    return [
        f"{word} {bounds[key]:g}" for key, word in words.items() if key in bounds and (key, bounds[key]) != ("above", 0)
    ]


def _length(bounds: Mapping[str, Any]) -> str:
    least, most = bounds.get("length", (0, None))
    if least == most:
        return f" of {least}"
    return f" of at least {least}" if least else ""


def _strange(value: Any, bounds: Mapping[str, Any]) -> str:
    """Find what is not a valid choice, for a message: the text itself, or the items of a list."""
    if isinstance(value, str):
        return _shown(value)
    return ", ".join(str(one) for one in value if one not in bounds["choices"])[:60] or "(none)"


def _shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
