"""Reading images and writing products."""

from morpheus_lite.io.planes import ImageDescription
from morpheus_lite.io.reader import open_image, read_image
from morpheus_lite.io.source import ImageSource

__all__ = ["ImageDescription", "ImageSource", "open_image", "read_image"]
