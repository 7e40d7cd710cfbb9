"""What every stage shares: images, class maps, labels, windows and blocks; no files, no networks."""
