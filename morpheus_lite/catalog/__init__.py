"""The catalogue: where sources are, their shape, light and morphology, with errors and flags."""

from morpheus_lite.catalog.noise import CorrelatedNoise, measure_noise
from morpheus_lite.catalog.settings import MeasureOptions
from morpheus_lite.catalog.sextractor import sextractor_columns
from morpheus_lite.catalog.table import measure

__all__ = ["CorrelatedNoise", "MeasureOptions", "measure", "measure_noise", "sextractor_columns"]
