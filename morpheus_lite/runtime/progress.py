"""Progress of a run: a bar where one is asked for, and one course through several stages."""

from collections.abc import Iterator
from contextlib import contextmanager

from morpheus_lite.errors import OptionError
from morpheus_lite.runtime.resources import Progress

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
    """A progress callable: the one given; for True a bar of tqdm, in a notebook or on stderr; else None."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise OptionError(
            "progress=True needs tqdm: pip install 'morpheus-lite[notebook]', or give a callable"
        ) from error

    with tqdm(
        desc=label, total=_STEPS, leave=False, bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    ) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
