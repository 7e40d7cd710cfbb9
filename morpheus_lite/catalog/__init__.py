"""The catalogue: where sources are, their shape, light and morphology, with errors and flags."""

from morpheus_lite.catalog.sextractor import sextractor_columns
from morpheus_lite.catalog.table import measure
from morpheus_lite.measurement import MeasureOptions
from morpheus_lite.skynoise import CorrelatedNoise, measure_noise

__all__ = ["CorrelatedNoise", "MeasureOptions", "measure", "measure_noise", "sextractor_columns"]
