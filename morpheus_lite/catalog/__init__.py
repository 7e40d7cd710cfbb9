"""The catalogue: where sources are, their shape, light and morphology, with errors and flags."""

from morpheus_lite.catalog.measurement import measure
from morpheus_lite.catalog.sextractor_names import sextractor_columns
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.noise.correlated import CorrelatedNoise, measure_correlated_noise

__all__ = ["CorrelatedNoise", "MeasureOptions", "measure", "measure_correlated_noise", "sextractor_columns"]
