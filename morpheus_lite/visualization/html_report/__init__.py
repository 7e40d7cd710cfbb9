"""Reports that people look at: one self-contained HTML page a run, and the inputs of FitsMap for larger mosaics."""

from morpheus_lite.visualization.html_report.fitsmap import FitsMapInputs, build_fitsmap, write_fitsmap_inputs
from morpheus_lite.visualization.html_report.page import write_report

__all__ = ["FitsMapInputs", "build_fitsmap", "write_fitsmap_inputs", "write_report"]
