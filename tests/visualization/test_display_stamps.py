"""The stamp sheet, and the figures of scores that other figures are made of."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from test_display import PNG, scene

from morpheus_lite import InputError, OptionError
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.evaluation.metrics import Fractions
from morpheus_lite.visualization.plots import (
    choose_sources,
    plot_calibration,
    plot_fractions,
    plot_percentiles,
    plot_stamp_sheet,
)


class TestChoice:
    """Which sources are shown."""

    def test_the_brightest_come_first(self):
        table = scene()[3]
        rows = choose_sources(table, 3)
        flux = np.asarray(table["segment_flux_F160W"])
        assert flux[rows].tolist() == np.sort(flux)[::-1][:3].tolist()

    def test_the_most_uncertain(self):
        table = scene()[3]
        table["entropy"] = np.linspace(0, 0.5, len(table))
        table["entropy"][-1] = np.nan
        assert choose_sources(table, 2, order="uncertain").tolist() == [len(table) - 2, len(table) - 3]

    def test_some_of_each_class(self):
        table = scene(n_sources=12)[3]
        rows = choose_sources(table, 2, per_class=True)
        assert [str(name) for name in table["morphology"][rows]] == [name for name in SOURCE_CLASSES for _ in range(2)]
        assert set(choose_sources(table, 9, morphology="disk")) <= set(np.flatnonzero(table["morphology"] == "disk"))

    @pytest.mark.parametrize("wrong", [{"order": "best"}, {"morphology": "blob"}])
    def test_what_there_is_not(self, wrong):
        with pytest.raises(OptionError, match="choose one of"):
            choose_sources(scene()[3], 2, **wrong)


class TestSheet:
    """The sheet itself."""

    def test_bars_are_the_class_probabilities(self):
        image, _, labels, table = scene()
        rows = choose_sources(table, 5)
        figure = plot_stamp_sheet(image, labels, table, rows=rows, n_columns=3)
        bars = [ax for ax in figure.axes if len(ax.patches) == len(SOURCE_CLASSES)]
        assert len(bars) == 5
        (legend,) = figure.legends
        names = [text.get_text() for text in legend.get_texts()]
        assert names == ["spheroid", "disk", "irregular", "point source", "uncertain"]
        colours = [patch.get_facecolor()[:3] for patch in legend.get_patches()][:4]
        np.testing.assert_allclose(colours, [patch.get_facecolor()[:3] for patch in bars[0].patches])
        for ax, row in zip(bars, rows, strict=True):
            widths = [patch.get_width() for patch in ax.patches]
            np.testing.assert_allclose(widths, [table[f"p_{name}"][row] for name in SOURCE_CLASSES])

    def test_a_stamp_shows_its_source(self):
        image, _, labels, table = scene()
        figure = plot_stamp_sheet(image, labels, table, rows=[0], n_columns=1)
        upper = figure.axes[0]
        x, y = (float(table[name][0].value) for name in ("x_centroid", "y_centroid"))
        assert upper.get_xlim()[0] < x < upper.get_xlim()[1]
        assert upper.get_ylim()[0] < y < upper.get_ylim()[1]
        vertices = np.concatenate([path.vertices for path in upper.collections[0].get_paths()])
        assert np.hypot(*(vertices - [x, y]).T).min() < 7
        assert upper.get_title().startswith(str(table["label"][0]))

    @pytest.mark.parametrize("n_sources", [0, 1, 8])
    def test_sheets_of_any_number_of_sources(self, tmp_path, n_sources):
        image, _, labels, table = scene(n_sources=n_sources, wcs=False)
        path = tmp_path / "sheet.png"
        plot_stamp_sheet(image, labels, table, n_columns=4).savefig(path)
        assert path.read_bytes().startswith(PNG)
        assert imread(path).std() > 0 or n_sources == 0

    def test_rows_that_are_not_there(self):
        image, _, labels, table = scene()
        with pytest.raises(InputError, match="the catalogue has 8"):
            plot_stamp_sheet(image, labels, table, rows=[99])


class TestScores:
    """Pieces that figures of scores are made of."""

    def test_fractions_are_drawn_where_there_were_trials(self):
        binned = Fractions(
            edges=np.array([20.0, 21, 22, 23]), n_tried=np.array([10, 0, 4]), n_success=np.array([10, 0, 1])
        )
        ax = Figure().subplots()
        plot_fractions(binned, ax, label="ours")
        x, y = ax.lines[0].get_data()
        assert x.tolist() == [20.5, 22.5]
        assert y.tolist() == [1.0, 0.25]

    def test_calibration_has_its_diagonal_once(self):
        class Diagram:
            weight = np.array([2.0, 0, 2])
            mean_confidence = np.array([0.1, np.nan, 0.9])
            mean_outcome = np.array([0.2, np.nan, 0.8])
            total = 4.0

        ax, shares = Figure().subplots(2)
        for series in range(2):
            plot_calibration(Diagram(), ax, series=series, shares=shares)
        assert len(ax.lines) == 3
        assert ax.lines[1].get_ydata().tolist() == [0.2, 0.8]
        assert len(shares.patches) == 2

    def test_percentiles_leave_thin_bins(self):
        ax = Figure().subplots()
        plot_percentiles(np.array([20.1, 20.2, 20.3, 21.5]), np.array([1.0, 2, 3, 9]), [20, 21, 22], ax)
        assert ax.lines[0].get_ydata().tolist() == [2.0]
