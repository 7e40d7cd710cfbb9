"""One catalogue of all tiles, every source once."""
