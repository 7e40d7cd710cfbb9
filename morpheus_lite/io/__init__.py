"""Reading images and writing products."""

from morpheus_lite.io.corrections import read_corrections, write_corrections
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.maps import read_maps, write_maps
from morpheus_lite.io.products import describe_product
from morpheus_lite.io.reader import open_image, read_image
from morpheus_lite.io.regions import write_regions
from morpheus_lite.io.tables import read_catalog, write_catalog
