"""The exceptions of morpheus_lite: few, and each says what came, what was expected and what to do."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class MorpheusError(Exception):
    """Base class of every error raised on purpose by morpheus_lite."""


class InputError(MorpheusError, ValueError):
    """The data cannot be used: unreadable file, missing band, shapes or WCS that disagree."""


class OptionError(MorpheusError, ValueError):
    """An option or argument is impossible or contradicts another."""


class ModelError(MorpheusError):
    """A model directory is unknown, incomplete, or does not match its checksum."""


class OutputError(MorpheusError):
    """A product cannot be written: it exists already, or there is no room or permission for it."""


class InputWarning(UserWarning):
    """A doubt about an input that is read all the same."""


@contextmanager
def reading(
    what: object,
    kind: type[MorpheusError] = InputError,
    *,
    form: str = "",
    reason: Callable[[Exception], str] | None = None,
) -> Iterator[None]:
    """Turn whatever a library throws at bytes that it cannot read into one error that says which they are.

    Parameters
    ----------
    what : object
        The file, and the part of it: the first words of the message.
    kind : type
        Of the error.
    form : str
        What it was read as, such as ``" as ASDF"``.
    reason : callable
        Says what an error means; `reason_of` if not given.

    Raises
    ------
    MorpheusError
        Of this kind; errors of this package pass as they are.

    Notes
    -----
    Libraries throw dozens of types at broken files, from `KeyError` to `zlib.error`, so that a list of them is never
    whole. The original error is the cause of the one raised.
    """
    try:
        yield
    except MorpheusError:
        raise
    except MemoryError as error:
        raise kind(f"{what} cannot be read{form}: it needs more memory than there is") from error
    except Exception as error:
        raise kind(f"{what} cannot be read{form}: {(reason or reason_of)(error)}") from error


def expect(value: object, kind: type, what: str) -> None:
    """Check what a function is given.

    Raises
    ------
    InputError
        It is of another type.
    """
    if not isinstance(value, kind):
        raise InputError(f"{what} takes a {kind.__name__} here, not a {type(value).__name__}: is it another argument?")


def warn(message: str) -> None:
    """Warn of what is doubtful about an input, and is read all the same."""
    warnings.warn(message, InputWarning, stacklevel=3)


def reason_of(error: BaseException) -> str:
    """Message of an error on one line; its type if it has no message."""
    text = " ".join(str(error).split())[:200]
    name = type(error).__name__
    if not text:
        return name
    return f"{name} {text}" if isinstance(error, KeyError | IndexError | AttributeError | TypeError) else text
