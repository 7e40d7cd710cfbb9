"""One mosaic that is cut into pieces."""
