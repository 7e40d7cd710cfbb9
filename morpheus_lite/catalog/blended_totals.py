"""Total fluxes of blended and crowded sources: their own share of the light, grown as isolated sources grow."""

from collections.abc import Sequence

import numpy as np

from morpheus_lite.catalog.surroundings import calibrated
from morpheus_lite.core.flags import SourceFlag

# Measured by `python tests/benchmarks/total_fluxes.py --seeds 7101 7102 7103 7104 7105 7106` on simulated fields of
# GOODS-S depth: total over isophotal flux of isolated sources is 1.05 + 9.4 / snr, to 3 % and 3.3 / snr.
_WINGS = 1.05
_GROWTH = 9.4
_SCATTER = 0.03, 3.3
_FEWEST = 15
_FAINTEST, _BRIGHTEST = 8.0, 100.0
# Pieces of a blend hold more of their light, or of their neighbour's, than isolated sources of the same S/N.
_OF_PIECES = 0.8
# By how many errors, with a floor, the flux in the Kron ellipse may exceed the grown share before the excess is taken
# for light of neighbours.
_EXCESS = 2.0
_FLOOR = 0.08
# Errors of what is left, of the flux: a constant, and one over S/N.
_DOUBT = 0.065, 3.5


def total_of_blends(
    rows: dict[str, np.ndarray], bands: Sequence[str], zero_points: Sequence[float | None]
) -> dict[str, np.ndarray]:
    """Total fluxes, magnitudes and their errors, with those of blended and crowded sources put right.

    Parameters
    ----------
    rows : dict
        Rows of all sources: ``flags, parent_label, snr``, and of each band fluxes of segment and total, and shared.
    bands, zero_points : sequence
        Bands of the image, and AB magnitude of one data unit in each.

    Returns
    -------
    dict
        The columns ``total_...`` of each band.

    Notes
    -----
    The Kron ellipse of a faint source beside a bright one is filled with the light of the bright one. The light that is
    shared between the pieces of a blend, or the segment, times the growth of isolated sources of the same S/N is less
    precise, but nobody else's. It replaces the total flux where that is larger by more than the errors allow. The
    growth is measured on the isolated sources of the catalogue itself, if there are 15 or more.
    """
    flags, snr = rows["flags"], rows["snr"]
    _, family, n_pieces = np.unique(rows["parent_label"], return_inverse=True, return_counts=True)
    pieces = (n_pieces[family] > 1) | ((flags & int(SourceFlag.BLENDED)) > 0)
    mixed = pieces | ((flags & int(SourceFlag.CROWDED)) > 0)
    found: dict[str, np.ndarray] = {}
    for band, zero_point in zip(bands, zero_points, strict=True):
        total, error = rows[f"total_flux_{band}"], rows[f"total_fluxerr_{band}"]
        segment = rows[f"segment_flux_{band}"]
        shared = rows[f"shared_flux_{band}"]
        own = np.where(np.isfinite(shared), shared, segment)
        with np.errstate(invalid="ignore", divide="ignore"):
            growth = _WINGS + _growth(total / segment, snr, flags == 0) / snr
            growth = growth ** np.where(pieces, _OF_PIECES, 1.0)
            scatter = np.hypot(_SCATTER[0], _SCATTER[1] / snr)
            doubt = np.hypot(_DOUBT[0], _DOUBT[1] / snr)
            noise = np.where(np.isfinite(shared), rows[f"shared_fluxerr_{band}"], rows[f"segment_fluxerr_{band}"])
        most = own * (growth + _EXCESS * np.maximum(scatter, _FLOOR))
        whole = rows[f"segment_covered_{band}"] == 1
        known = mixed & whole & (snr > 0) & (own > 0) & np.isfinite(total)
        too_much = known & (total > most)
        flux = np.where(too_much, own * growth, total)
        spread = np.where(too_much, np.hypot(noise * growth, own * scatter), error)
        spread = np.where(known, np.hypot(spread, doubt * np.abs(flux)), spread)
        found |= {f"total_flux_{band}": flux, f"total_fluxerr_{band}": spread}
        if zero_point is not None:
            found |= calibrated(flux, spread, float(zero_point), f"total_{{}}_{band}")
    return found


def _growth(ratio: np.ndarray, snr: np.ndarray, isolated: np.ndarray) -> float:
    """Growth of total over isophotal flux with one over S/N, on the isolated sources."""
    chosen = isolated & (snr > _FAINTEST) & (snr < _BRIGHTEST) & np.isfinite(ratio)
    return float(np.median(((ratio - _WINGS) * snr)[chosen])) if chosen.sum() >= _FEWEST else _GROWTH
