"""From class maps to sources: detection and deblending."""
