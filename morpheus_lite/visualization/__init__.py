"""Pictures and pages: plots, and the HTML report of a run."""
