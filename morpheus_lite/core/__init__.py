"""Data structures of all stages: images, class maps, labels, windows and blocks; no files, no networks."""
