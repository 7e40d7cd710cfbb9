"""Pictures: the field in colour, class maps, outlines, and a summary of them; the only place that needs matplotlib."""

from morpheus_lite.display.axes import plot_class_map, plot_field, plot_outlines, plot_scale_bar
from morpheus_lite.display.colours import PALETTES, colorize, hex_colours
from morpheus_lite.display.field import field_rgb
from morpheus_lite.display.names import plot_names
from morpheus_lite.display.summary import plot_classification, save_summary

__all__ = [
    "PALETTES",
    "colorize",
    "field_rgb",
    "hex_colours",
    "plot_class_map",
    "plot_classification",
    "plot_field",
    "plot_names",
    "plot_outlines",
    "plot_scale_bar",
    "save_summary",
]
