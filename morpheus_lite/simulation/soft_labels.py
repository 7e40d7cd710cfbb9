"""The class of a source follows from what was drawn; where people would disagree, so do the soft labels.

The rule. The kind that was drawn is the top class. The votes of the other classes are those that the visual classifiers
of CANDELS gave, on average, to sources of that top class (``distributions.json``), scaled by how ambiguous the drawing
is:

* spheroid: ambiguous when it holds a disk (bulge share below 0.8), when it is as flat as a disk (axis ratio below 0.5),
  or when its Sersic index is below 2.2;
* disk: ambiguous when the bulge share is above 0.3, when it is smooth and round, or lopsided (asymmetry above 0.2);
* irregular: ambiguous when the asymmetry is below 0.5;
* point source: never.

Galaxies whose half-light radius is below half the width of the sharpest PSF are ambiguous too, and give votes to
point_source. Disks without visible structure that are small and round give votes to spheroid, up to two fifths of
them: with "smooth" and "round" people often mean spheroid, whatever the profile.
"""

import numpy as np

from morpheus_lite.simulation.populations import KINDS, Source, distributions

LEAST_MIXED = 0.08
"""Share of the average votes in the label of a source that nobody would doubt."""

MOST_MIXED = 0.9
"""The same for the most ambiguous one; below 1 the kind that was drawn stays the top class."""

LOOKS_ALIKE = 0.35
"""Share of the votes that the smoothest, roundest and smallest disks give to spheroid."""


def ramp(value: float, low: float, high: float) -> float:
    """0 at ``low``, 1 at ``high``, linear between (``low`` may be the larger)."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def featureless(source: Source) -> float:
    """Lack of visible structure in a disk: 1 where none is drawn, 0.8 where it is too small to be made out."""
    if source.structure == "smooth":
        return 1.0
    return 0.8 * ramp(source.radius, 0.45, 0.25)


def ambiguity(source: Source) -> float:
    """Ambiguity of a source to visual classifiers, 0 (none) to 1."""
    doubts: tuple[float, ...] = (0.0,)
    if source.kind == "spheroid":
        doubts = (ramp(source.bulge, 0.8, 0.5), ramp(source.axis_ratio, 0.5, 0.3), ramp(source.sersic, 2.2, 1.6))
    elif source.kind == "disk":
        plain = 0.6 * featureless(source) if source.axis_ratio > 0.6 else 0.0
        doubts = (ramp(source.bulge, 0.3, 0.55), plain, ramp(source.asymmetry, 0.2, 0.5))
    elif source.kind == "irregular":
        doubts = (ramp(source.asymmetry, 0.5, 0.25),)
    return max(doubts)


def soft_label(source: Source, sharpest: float) -> np.ndarray:
    """Votes over `KINDS` for a source, given the FWHM in arcsec of the sharpest PSF it is seen with.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(4,)``, sum 1; the largest is that of ``source.kind``.
    """
    index = KINDS.index(source.kind)
    drawn = np.eye(len(KINDS))[index]
    votes = np.array(distributions()["votes"]["mean_votes"][index])
    doubt = ambiguity(source)
    label = drawn + (LEAST_MIXED + (MOST_MIXED - LEAST_MIXED) * doubt) * (votes / votes.sum() - drawn)
    if source.kind != "point_source":
        compact = 0.45 * ramp(source.radius, 0.5 * sharpest, 0.1 * sharpest)
        label = (1 - compact) * label + compact * np.eye(len(KINDS))[-1]
    if source.kind == "disk":
        alike = LOOKS_ALIKE * featureless(source) * ramp(source.axis_ratio, 0.55, 0.72) * ramp(source.radius, 0.5, 0.3)
        label = (1 - alike) * label + alike * np.eye(len(KINDS))[KINDS.index("spheroid")]
    label[index] = max(label[index], np.delete(label, index).max() + 0.02)
    return (label / label.sum()).astype(np.float32)
