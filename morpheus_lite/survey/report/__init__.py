"""The report of a survey."""
