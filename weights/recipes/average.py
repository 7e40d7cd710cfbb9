"""Weights that are the mean of several sets of one network.

    python weights/recipes/average.py OUT DIRECTORY SHARE [DIRECTORY SHARE ...]

Each DIRECTORY is that of a model; shares need not sum to 1. The description is that of the last.
"""

import sys
from pathlib import Path

import numpy as np

from morpheus_lite.models.registry import load_weights, save_model


def main() -> None:
    """Average."""
    out, *pairs = sys.argv[1:]
    if len(pairs) < 2 or len(pairs) % 2:
        sys.exit(__doc__)
    shares = np.array(pairs[1::2], float)
    infos, arrays = zip(*(load_weights(Path(directory)) for directory in pairs[::2]), strict=True)
    mean = {
        name: np.asarray(sum(share * one[name] for share, one in zip(shares / shares.sum(), arrays, strict=True)))
        for name in arrays[-1]
    }
    save_model(Path(out), infos[-1], {name: a.astype(np.float32) for name, a in mean.items()}, overwrite=True)


if __name__ == "__main__":
    main()
