"""Whitened signals of SNR 1, made once from a seed and kept on disk in chunks, so that making them can be resumed."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from .noise import taper, whiten
from .orbit import OrbitError
from .population import Prior, draw
from .sizes import STEP, Size
from .waveform import Inspiral, observe

CHUNK = 64
MINIMUM_SNR = 0.05  # at 1 Gpc; a fainter one (every harmonic above the Nyquist frequency, say) is drawn again
COLUMNS = ("snr", "mass", "spin", "inclination", "eccentricity", "frequency", "plunge")


@dataclass(frozen=True)
class Templates:
    """Signals and what they are.

    Attributes
    ----------
    chunks : tuple of (n_chunk, 2, n_samples) float16 arrays
        Whitened signals of unit root mean square, on disk until they are read. Dividing by ``sqrt(2 n_samples)`` makes
        their SNR 1.
    table : (n, 7) float64 array
        The `COLUMNS`: SNR at 1 Gpc, redshifted mass, spin, inclination, eccentricity and radial frequency at the start
        of the data, and time to plunge in seconds.
    """

    chunks: tuple[np.ndarray, ...]
    table: np.ndarray

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.chunks[index // CHUNK][index % CHUNK].astype(np.float32)

    def column(self, name: str) -> np.ndarray:
        """One of the `COLUMNS`, shape (n,)."""
        return self.table[:, COLUMNS.index(name)]


def cache_folder() -> Path:
    """Folder of the templates: the variable ``EMRI_CACHE``, or ``~/.cache/emri``."""
    return Path(os.environ.get("EMRI_CACHE", Path.home() / ".cache" / "emri"))


def make(inspiral: Inspiral, size: Size, signal: Callable = observe) -> tuple[np.ndarray, float]:
    """Whitened signal of unit root mean square, shape (2, n_samples), and its SNR at the inspiral's distance."""
    white = whiten(signal(inspiral, size.times) * taper(size.n_samples), STEP)
    snr = float(np.sqrt(np.sum(white**2)))
    return white * (np.sqrt(white.size) / snr) if snr else white, snr


def draw_audible(rng: np.random.Generator, prior: Prior, size: Size, signal: Callable = observe) -> tuple:
    """Draw inspirals until one leaves a signal in the band: the white signal and its row of the table."""
    for _ in range(1000):
        inspiral = draw(rng, prior, size.duration)
        try:
            white, snr = make(inspiral, size, signal)
        except OrbitError:  # another model than the one it was drawn for may not reach it
            continue
        if snr >= MINIMUM_SNR:
            binary = inspiral.binary
            row = (snr, binary.mass, binary.spin, binary.inclination, *inspiral.start[:2], inspiral.plunge)
            return white.astype(np.float16), row
    raise OrbitError(f"no draw of 1000 is louder than SNR {MINIMUM_SNR} at 1 Gpc: {prior}")


def chunk(prior: Prior, size: Size, seed: tuple[int, ...], first: int, n: int, signal: Callable = observe) -> tuple:
    """Templates ``first`` to ``first + n`` of a set; each has its own stream of random numbers."""
    pairs = [draw_audible(np.random.default_rng([*seed, i]), prior, size, signal) for i in range(first, first + n)]
    return np.stack([white for white, _ in pairs]), np.array([row for _, row in pairs])


def save_chunk(folder: Path, prior: Prior, size: Size, seed: tuple[int, ...], signal: Callable, first: int) -> None:
    """Make a chunk of a set and keep it."""
    white, table = chunk(prior, size, seed, first, CHUNK, signal)
    save(folder / f"{first:06d}.table.npy", table)
    save(folder / f"{first:06d}.npy", white)


def build(
    name: str, prior: Prior, size: Size, n: int, seed: tuple[int, ...], *,
    signal: Callable = observe, progress: Callable[[str], None] | None = None,
) -> Templates:  # fmt: skip
    """A set of templates, read from the cache as far as it is there and made otherwise, on all cores.

    Parameters
    ----------
    name : str
        Name of the set's folder in the cache.
    prior, size
        What to draw and how long the data are.
    n : int
        Number of templates; a larger set begins with a smaller one's templates.
    seed : tuple of int
    signal : callable
        ``(inspiral, times) -> (2, n)`` strain; the analytic kludge unless another model is given.
    """
    folder = cache_folder() / size.name / f"{name}-{'-'.join(map(str, seed))}-{digest(prior)}"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [first for first, _ in spans(n) if not (folder / f"{first:06d}.npy").exists()]
    make_one = partial(save_chunk, folder, prior, size, seed, signal)
    with ExitStack() as stack:
        run = map
        if len(missing) > 1:
            run = stack.enter_context(ProcessPoolExecutor(mp_context=get_context("spawn"))).map
        for done, _ in enumerate(run(make_one, missing), 1):
            if progress:
                progress(f"{name}: {done} of {len(missing)} chunks of {CHUNK} templates")
    paths = [(folder / f"{first:06d}.npy", count) for first, count in spans(n)]
    return Templates(
        tuple(np.load(path, mmap_mode="r")[:count] for path, count in paths),
        np.concatenate([np.load(path.with_suffix(".table.npy"))[:count] for path, count in paths]),
    )


def digest(prior: Prior) -> str:
    """Short name of a prior: templates drawn from another one are kept in another folder."""
    return hashlib.sha256(repr(prior).encode()).hexdigest()[:8]


def spans(n: int) -> Iterator[tuple[int, int]]:
    """First index and number of templates wanted of every chunk."""
    for first in range(0, n, CHUNK):
        yield first, min(CHUNK, n - first)


def save(path: Path, array: np.ndarray) -> None:
    """Write an array under a temporary name, then rename: a file that is there is whole."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.save(stream, array)
    partial.replace(path)
