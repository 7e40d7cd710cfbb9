"""Reports that people look at: one self-contained HTML page per run."""

from morpheus_lite.visualization.html_report.page import write_report
