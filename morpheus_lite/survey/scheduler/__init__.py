"""Jobs and workers of a survey."""
