"""Detection to catalogue for images larger than memory, with the result of the whole image."""

from morpheus_lite.streamed.run import catalogue_sections

__all__ = ["catalogue_sections"]
