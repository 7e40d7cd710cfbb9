"""Pictures: the field in colour, class maps, outlines, and a summary of them; the only place that needs matplotlib."""

from morpheus_lite.visualization.plots.axes import plot_class_map, plot_field, plot_names, plot_outlines, plot_scale_bar
from morpheus_lite.visualization.plots.colours import PALETTES, colorize, field_rgb, hex_colours
from morpheus_lite.visualization.plots.scores import (
    plot_calibration,
    plot_confusion_matrix,
    plot_fractions,
    plot_percentiles,
)
from morpheus_lite.visualization.plots.stamps import (
    LARGEST_STAMP,
    choose_sources,
    plot_stamp,
    plot_stamp_sheet,
    save_stamp_sheet,
)
from morpheus_lite.visualization.plots.summary import plot_classification, save_summary

__all__ = [
    "LARGEST_STAMP",
    "PALETTES",
    "choose_sources",
    "colorize",
    "field_rgb",
    "hex_colours",
    "plot_calibration",
    "plot_class_map",
    "plot_classification",
    "plot_confusion_matrix",
    "plot_field",
    "plot_fractions",
    "plot_names",
    "plot_outlines",
    "plot_percentiles",
    "plot_scale_bar",
    "plot_stamp",
    "plot_stamp_sheet",
    "save_stamp_sheet",
    "save_summary",
]
