"""Pictures: the field in colour, class maps, outlines, and a summary of them; the only place that needs matplotlib."""

from morpheus_lite.visualization.colours import PALETTES, colorize, field_rgb, hex_colours
from morpheus_lite.visualization.plots.figures import (
    plot_calibration,
    plot_confusion_matrix,
    plot_fractions,
    plot_percentiles,
)
from morpheus_lite.visualization.plots.stamps import LARGEST_STAMP, choose_sources, plot_stamp, plot_stamp_sheet
from morpheus_lite.visualization.plots.summary import (
    plot_class_map,
    plot_classification,
    plot_field,
    plot_names,
    plot_outlines,
    plot_scale_bar,
    save_summary,
)
