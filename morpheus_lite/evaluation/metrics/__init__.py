"""Metrics: matching of sources, overlap of regions, counts with intervals, reliability of probabilities.

Arrays in, arrays out: nothing here knows of files, images or models.
"""

from morpheus_lite.evaluation.metrics.counts import Fractions, binned_fractions, confusion_counts, wilson_interval
from morpheus_lite.evaluation.metrics.matching import (
    chance_match_rate,
    classify_matches,
    match_overlap,
    match_positions,
)
from morpheus_lite.evaluation.metrics.overlap import (
    Overlap,
    overlap_areas,
)
from morpheus_lite.evaluation.metrics.purity import OperatingPoint, purity_curve, purity_threshold, sweep_purity
from morpheus_lite.evaluation.metrics.regions import Segments, fill_labels, measure_segments, segment_means
from morpheus_lite.evaluation.metrics.reliability import (
    Reliability,
    chance_error,
    classwise_reliability,
    proper_scores,
    reliability,
    top_label_reliability,
)

__all__ = [
    "Fractions",
    "OperatingPoint",
    "Overlap",
    "Reliability",
    "Segments",
    "binned_fractions",
    "chance_error",
    "chance_match_rate",
    "classify_matches",
    "classwise_reliability",
    "confusion_counts",
    "fill_labels",
    "match_overlap",
    "match_positions",
    "measure_segments",
    "overlap_areas",
    "proper_scores",
    "purity_curve",
    "purity_threshold",
    "reliability",
    "segment_means",
    "sweep_purity",
    "top_label_reliability",
    "wilson_interval",
]
