"""Detection and deblending: from class maps to sources."""
