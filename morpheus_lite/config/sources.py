"""Options of detection in class maps, and of deblending."""

from dataclasses import dataclass

from morpheus_lite.config.schema import check, documented, option
from morpheus_lite.errors import OptionError


@documented
@dataclass(frozen=True)
class DetectionOptions:
    """Options of the method ``"probability"``; a model may state its own, chosen for a purity.

    Raises
    ------
    OptionError
        A value out of range, or ``threshold`` above ``seed_threshold``.
    """

    seed_threshold: float = option(0.7, "Source probability that a source reaches.", above=0, high=1, metavar="P")
    threshold: float = option(0.4, "Source probability that its pixels have.", above=0, high=1, metavar="P")
    min_area: int = option(5, "Smallest source.", low=1, unit="pixels")
    min_snr: float = option(
        0.0,
        "Smallest signal-to-noise ratio of a source.",
        more="All bands are in units of their noise. The noise is that of sums over as many pixels of empty sky, "
        "correlated as it is.",
        low=0,
        metavar="RATIO",
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.threshold <= self.seed_threshold:
            raise OptionError(
                f"threshold = {self.threshold} and seed_threshold = {self.seed_threshold}: expected a threshold at "
                "most as high as seed_threshold"
            )


@documented
@dataclass(frozen=True)
class MultithresholdOptions:
    """Options of multi-threshold deblending.

    Raises
    ------
    OptionError
        A value out of range.
    """

    n_levels: int = option(32, "Levels between noise and peak, even in the logarithm.", low=1, flag="levels")
    contrast: float = option(0.001, "Smallest share of a source's light in a piece.", low=0, high=1, metavar="SHARE")
    min_area: int = option(5, "Smallest piece.", low=1, unit="pixels")
    smoothing: float = option(0.8, "Gaussian that smooths the light.", low=0, unit="pixels")
    min_saddle_depth: float = option(
        3.5,
        "Depth of a saddle over its noise.",
        more="It counts from the peak of the fainter piece; pieces with a shallower saddle are joined.",
        low=0,
        metavar="RATIO",
    )
    merge_contrast: float = option(
        0.01, "Join a piece with less of its light above the saddle.", low=0, high=1, metavar="SHARE"
    )
    merge_contrast_structured: float = option(
        0.18,
        "The same between disk and irregular light.",
        more="These are arms and clumps of one galaxy. In between, the limit rises from the one to the other with the "
        "probability; it falls again for a round piece with the square of its share of its neighbour's light.",
        low=0,
        high=1,
        metavar="SHARE",
    )
    max_knot_area: int = option(
        12,
        "Largest knot of a disk or irregular galaxy.",
        more="It is counted down to half of its height above the saddle. Knots are joined with their galaxy, however "
        "much they stand out. 12 is for a PSF of 2.5 to 3 px.",
        low=0,
        unit="pixels",
    )
    max_knot_contrast: float = option(0.2, "Most light of a knot above the saddle.", low=0, high=1, metavar="SHARE")
    min_knot_probability: float = option(
        0.85,
        "Least probability of disk and irregular of a knot.",
        more="Both the knot and its neighbour have it at their peaks.",
        low=0,
        metavar="P",
    )
    max_spike_contrast: float = option(
        0.06,
        "Join spikes with less of a star's light.",
        more="A spike is a piece of a point source that touches a brighter one.",
        low=0,
        high=1,
        metavar="SHARE",
    )
    point_probability: float = option(
        0.5,
        "Probability of point_source that makes a piece a star.",
        more="It is weighted with the light. A star is never joined with a galaxy.",
        low=0,
        high=1,
        metavar="P",
    )

    def __post_init__(self) -> None:
        check(self)
