"""Fit the distributions the simulator draws from, and write them as ``morpheus_lite/simulation/distributions.json``.

Three published catalogues go in; only fitted numbers come out:

* galfit Sersic fits in F160W (van der Wel et al. 2012, 2014): number counts, and size, Sersic index and axis ratio
  against magnitude;
* photometry of 3D-HST GOODS-S sources from 0.43 to 1.6 micron: colours;
* vote fractions of Kartaltepe et al. (2015): class shares, and how far people agree.

    python weights/recipes/fit_populations.py GALFIT.gz PHOTOMETRY.fits VOTES.csv -o distributions.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from astropy.table import Table

NODES = np.arange(19.0, 26.0)
"""H magnitudes (AB) at which shapes are fitted, each from the sources within 0.75 mag."""

HIGH_N = 2.0
"""Sersic index that separates the concentrated galaxies from the others."""

WAVELENGTHS = {"F435W": 0.433, "F606W": 0.592, "F775W": 0.770, "F850LP": 0.904, "F125W": 1.249, "F160W": 1.537}
RED = 1.8
"""F606W - F160W that separates red from blue galaxies."""


def read_galfit(path: Path) -> dict[str, np.ndarray]:
    """Columns of a galfit catalogue that matter here: flag, mag, re (arcsec), n and q."""
    rows = np.loadtxt(path)  # opens .gz itself
    columns = {"ra": 1, "dec": 2, "flag": 3, "mag": 4, "re": 6, "n": 8, "dn": 9, "q": 10}
    return {name: rows[:, index] for name, index in columns.items()}


def fit_counts(galaxies: dict[str, np.ndarray]) -> dict[str, float]:
    """Quadratic ``log10 N`` (per arcmin2 and mag) for 18 < H < 25; beyond, the slope of the last magnitude goes on."""
    good = galaxies["mag"] > 0
    dec = galaxies["dec"][good]
    area = np.ptp(galaxies["ra"][good]) * np.cos(np.deg2rad(dec.mean())) * np.ptp(dec) * 3600.0
    edges = np.arange(18.0, 25.01, 0.5)
    counts, _ = np.histogram(galaxies["mag"][good], edges)
    middle = (edges[1:] + edges[:-1]) / 2 - 23.0
    curve = np.polyfit(middle, np.log10(counts / area / 0.5), 2, w=np.sqrt(counts))
    return {"pivot": 23.0, "quadratic": curve[0], "linear": curve[1], "constant": curve[2], "limit": 24.75}


def beta_parameters(values: np.ndarray) -> tuple[float, float]:
    """Parameters of the beta distribution with the mean and variance of the values."""
    mean, variance = values.mean(), values.var()
    size = mean * (1 - mean) / variance - 1
    return mean * size, (1 - mean) * size


def fit_shapes(galaxies: dict[str, np.ndarray]) -> dict[str, dict[str, list[float]]]:
    """Log-normal size and Sersic index with their correlation, and beta axis ratio, at each magnitude node."""
    good = (galaxies["flag"] == 0) & (galaxies["mag"] > 0) & (galaxies["dn"] < 0.35 * galaxies["n"])
    mag, re, n, q = (galaxies[name][good] for name in ("mag", "re", "n", "q"))
    names = ("log_re", "log_re_std", "log_n", "log_n_std", "correlation", "q_a", "q_b")
    shapes: dict[str, dict[str, list[float]]] = {}
    for group, inside in (("concentrated", n > HIGH_N), ("diffuse", n <= HIGH_N)):
        table: dict[str, list[float]] = {name: [] for name in names}
        for node in NODES:
            chosen = inside & (np.abs(mag - node) < 0.75) & (q > 0.05) & (q < 0.99)
            log_re, log_n = np.log10(re[chosen]), np.log10(n[chosen])
            correlation = np.corrcoef(log_re, log_n)[0, 1]
            row = (log_re.mean(), log_re.std(), log_n.mean(), log_n.std(), correlation, *beta_parameters(q[chosen]))
            for name, value in zip(names, row, strict=True):
                table[name].append(value)
        shapes[group] = table
    return shapes


def fit_colours(photometry: Table) -> dict[str, object]:
    """Mean, slope with H and covariance of the colours ``m - H`` of blue and red galaxies with H < 25.5."""
    flux = np.array([photometry[name] for name in WAVELENGTHS], dtype=float)
    hmag = 23.9 - 2.5 * np.log10(np.clip(flux[-1], 1e-4, None))
    colour = -2.5 * np.log10(np.clip(flux[:-1], 2e-3, None) / flux[-1])
    bright = (hmag < 25.5) & np.all(np.abs(colour) < 5, axis=0)
    red = colour[1] > RED
    fitted: dict[str, object] = {"wavelengths": list(WAVELENGTHS.values()), "pivot": 23.5}
    for name, chosen in (("blue", bright & ~red), ("red", bright & red)):
        design = np.stack([np.ones(chosen.sum()), hmag[chosen] - 23.5], axis=1)
        line, *_ = np.linalg.lstsq(design, colour[:, chosen].T, rcond=None)
        rest = colour[:, chosen].T - design @ line
        fitted[name] = {"mean": line[0].tolist(), "slope": line[1].tolist(), "covariance": np.cov(rest.T).tolist()}
    shares = [red[bright & (np.abs(hmag - node) < 1.0)].mean() for node in (21.0, 22.0, 23.0, 24.0, 25.0)]
    fitted["red_share"] = {"magnitude": [21.0, 22.0, 23.0, 24.0, 25.0], "share": shares}
    return fitted


def fit_votes(path: Path) -> dict[str, object]:
    """Share of each top class, and the mean votes of the sources whose top class it is."""
    rows = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")
    columns = ("p_smooth", "p_features", "p_irregular", "p_point_source")
    votes = np.stack([rows[name] for name in columns], axis=1)
    votes = votes[votes.sum(axis=1) > 0.5]
    votes /= votes.sum(axis=1, keepdims=True)
    top = votes.argmax(axis=1)
    return {
        "share": (np.bincount(top, minlength=4) / top.size).tolist(),
        "mean_votes": [votes[top == kind].mean(axis=0).tolist() for kind in range(4)],
        "unanimous": [float((votes[top == kind].max(axis=1) > 0.98).mean()) for kind in range(4)],
    }


def rounded(value: object) -> object:
    """The same structure with numbers to four decimals."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry) for entry in value]
    return round(float(value), 4) if isinstance(value, (float, np.floating)) else value


def main() -> None:
    """Read the three catalogues and write the fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("galfit", type=Path)
    parser.add_argument("photometry", type=Path)
    parser.add_argument("votes", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("morpheus_lite/simulation/distributions.json"))
    options = parser.parse_args()
    galaxies = read_galfit(options.galfit)
    fitted = {
        "source": {
            "counts, shapes": "galfit F160W catalogue of CANDELS-COSMOS, van der Wel et al. 2012, 2014",
            "colours": "3D-HST GOODS-S photometry of 403 sources (Skelton et al. 2014)",
            "votes": "Kartaltepe et al. 2015, CANDELS GOODS-S visual classifications",
        },
        "counts": fit_counts(galaxies),
        "shapes": {"magnitude": NODES.tolist(), **fit_shapes(galaxies)},
        "colours": fit_colours(Table.read(options.photometry)),
        "votes": fit_votes(options.votes),
    }
    options.output.write_text(json.dumps(rounded(fitted), indent=1) + "\n")


if __name__ == "__main__":
    main()
