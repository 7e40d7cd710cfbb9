"""The catalogue: where sources are, their shape, light and morphology, with errors and flags."""

from morpheus_lite.catalog.table import measure

__all__ = ["measure"]
