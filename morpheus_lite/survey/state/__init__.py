"""State of the tiles, and the fingerprints of their products."""
