"""Pictures: colours that mean something, files that are whole."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from astropy.wcs import WCS
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from skimage.color import deltaE_ciede2000, rgb2lab

from morpheus_lite import Classification, InputError, OptionError, OutputError, SkyImage
from morpheus_lite.catalog import measure
from morpheus_lite.core.windows import block_mean
from morpheus_lite.visualization.colours import _wavelength
from morpheus_lite.visualization.plots import (
    PALETTES,
    colorize,
    field_rgb,
    plot_classification,
    plot_outlines,
    save_summary,
)

BANDS = ("F160W", "F125W", "F606W", "F850LP")
PNG = b"\x89PNG\r\n\x1a\n"


def sky_wcs(shape):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 53.1, -27.8
    wcs.wcs.crpix = shape[1] / 2, shape[0] / 2
    wcs.wcs.cdelt = -0.06 / 3600, 0.06 / 3600
    return wcs


def scene(shape=(90, 110), n_sources=8, *, wcs=True, seed=4):
    """Round sources on noise: image, class maps, labels, table."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    labels = np.zeros(shape, dtype=np.int32)
    light = np.zeros(shape)
    for label in range(1, n_sources + 1):
        centre = rng.uniform(8, np.array(shape) - 8)
        distance = np.hypot(y - centre[0], x - centre[1])
        labels[(distance < 5) & (labels == 0)] = label
        light += label * np.exp(-((distance / 3) ** 2))
    data = np.stack([light * f for f in (1, 0.9, 0.4, 0.6)], axis=2) + rng.normal(0, 0.02, (*shape, 4))
    image = SkyImage(
        data.astype(np.float32), BANDS, np.ones(data.shape, bool), wcs=sky_wcs(shape) if wcs else None, name="scene"
    )
    vote = np.zeros((*shape, 5), dtype=np.float32)
    vote[..., 4] = labels == 0
    for k in range(4):
        vote[..., k] = (labels > 0) & (labels % 4 == k)
    seen = np.ones(shape, dtype=bool)
    result = Classification(probability=vote, vote=vote, coverage=seen.astype(np.int32), valid=seen)
    return image, result, labels, measure(labels, image, result)


def maps(planes):
    planes = np.asarray(planes, dtype=np.float32)
    seen = np.isfinite(planes[..., 0])
    return Classification(probability=planes, vote=planes, coverage=seen.astype(np.int32), valid=seen)


class TestColorize:
    """Class maps as a colour picture."""

    def test_it_is_hue_saturation_and_value(self):
        planes = np.random.default_rng(0).dirichlet(np.ones(5), (20, 30)).astype(np.float32)
        ranked = np.sort(planes[..., :4], axis=2)
        hue = np.array([0.0, 0.7, 0.3, 0.18])[planes[..., :4].argmax(axis=2)]
        expected = hsv_to_rgb(np.stack([hue, ranked[..., 3] - ranked[..., 2], 1 - planes[..., 4]], axis=2))
        picture = colorize(maps(planes))
        assert picture.dtype == np.float32
        np.testing.assert_allclose(picture, expected, atol=1e-5)

    def test_unclassified_is_black(self):
        planes = np.full((4, 5, 5), 0.2)
        planes[1] = np.nan
        picture = colorize(maps(planes))
        assert not picture[1].any()
        np.testing.assert_allclose(picture[0], 0.8, rtol=1e-6)

    def test_the_maps_and_palette_are_chosen(self):
        result = maps(np.full((2, 2, 5), (0, 1, 0, 0, 0)))
        result = replace(result, probability=np.full((2, 2, 5), (1, 0, 0, 0, 0), dtype=np.float32))
        np.testing.assert_allclose(colorize(result)[0, 0], PALETTES["paper"][1], atol=1e-6)
        picture = colorize(result, maps="probability", palette="legible")
        np.testing.assert_allclose(picture[0, 0], PALETTES["legible"][0], atol=1e-6)

    @pytest.mark.parametrize("options", [{"palette": "neon"}, {"maps": "variance"}])
    def test_impossible_options(self, options):
        with pytest.raises(OptionError, match=r"neon|variance"):
            colorize(maps(np.zeros((2, 2, 5))), **options)

    def test_votes_are_needed(self):
        with pytest.raises(OptionError, match="no rank votes"):
            colorize(replace(maps(np.zeros((2, 2, 5))), vote=None))


# Full protanopia, deuteranopia and tritanopia in linear RGB: Machado, Oliveira & Fernandes (2009), severity 1.
COLOUR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def closest(palette, blindness):
    """Smallest CIEDE2000 between two colours of a palette, black and white."""
    colours = np.array([*PALETTES[palette], (0, 0, 0), (1, 1, 1)])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(COLOUR_BLINDNESS[blindness]), 0, 1)
    shown = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return min(deltaE_ciede2000(one, other) for one, other in combinations(rgb2lab(shown), 2))


@pytest.mark.parametrize("blindness", COLOUR_BLINDNESS)
def test_the_legible_palette_is_legible(blindness):
    assert closest("legible", blindness) > 18


def test_the_papers_palette_is_not():
    assert closest("paper", "protanopia") < 5


class TestField:
    """Colour pictures of any bands."""

    @pytest.mark.parametrize("n_bands", [1, 2, 3, 4, 7])
    def test_any_number_of_bands(self, n_bands):
        data = np.random.default_rng(1).normal(size=(30, 40, n_bands)).astype(np.float32)
        data[10:15, 10:15] += 50
        names = tuple(str(k + 1) for k in range(n_bands))
        picture = field_rgb(SkyImage(data, names, np.ones(data.shape, bool)))
        assert picture.shape == (30, 40, 3)
        assert picture.dtype == np.float32
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert picture[12, 12].mean() > 0.8
        if n_bands == 1:
            np.testing.assert_allclose(picture, picture[:, :, :1].repeat(3, axis=2), rtol=1e-5)

    def test_red_light_is_red(self):
        data = np.random.default_rng(1).normal(0, 0.1, (60, 60, 4)).astype(np.float32)
        spots = {"F160W": (10, 0), "F850LP": (30, 1), "F606W": (50, 2)}
        for band, (y, _) in spots.items():
            data[y : y + 4, 10:14, BANDS.index(band)] += 20
        data[30:40, 30:40] += 20
        picture = field_rgb(SkyImage(data, BANDS, np.ones(data.shape, bool)))
        for y, channel in spots.values():
            assert picture[y + 1, 12].argmax() == channel
        assert np.ptp(picture[35, 35]) < 0.2

    def test_units_do_not_matter(self):
        image = scene()[0]
        scaled = replace(image, data=image.data * np.float32([1e-3, 1, 50, 1e6]) + np.float32([0, 3, 100, -5]))
        np.testing.assert_allclose(field_rgb(scaled), field_rgb(image), atol=0.02)

    def test_invalid_pixels(self):
        image = scene()[0]
        valid = image.valid.copy()
        valid[10:20, 10:20] = False
        valid[40:50, 40:50, 1] = False
        data = np.where(valid, image.data, np.nan)
        picture = field_rgb(replace(image, data=data, valid=valid))
        assert np.isfinite(picture).all()
        np.testing.assert_allclose(picture[10:20, 10:20], 0.25)
        np.testing.assert_allclose(picture[60:], field_rgb(image)[60:], atol=0.1)

    @pytest.mark.parametrize("value", [0.0, 5.0, -1e-20])
    def test_nothing_to_see(self, value):
        data = np.full((20, 20, 4), value, dtype=np.float32)
        assert np.isfinite(field_rgb(SkyImage(data, BANDS, np.ones(data.shape, bool)))).all()
        np.testing.assert_allclose(field_rgb(SkyImage(data, BANDS, np.zeros(data.shape, bool))), 0.25)

    @pytest.mark.parametrize(
        ("band", "expected"),
        [
            ("F160W", 1.6),
            ("F606W", 0.606),
            ("F850LP", 0.85),
            ("F098M", 0.98),
            ("F435W", 0.435),
            ("F444W", 4.44),
            ("F770W", 7.7),
            ("F775W", 0.775),
            ("F1500W", 15),
            ("1", None),
            ("G", None),
        ],
    )
    def test_names_of_filters_tell_the_wavelength(self, band, expected):
        assert _wavelength(band) == expected


def test_shrinking_keeps_the_mean_of_ragged_blocks():
    picture = np.arange(5 * 7 * 3, dtype=float).reshape(5, 7, 3)
    small = block_mean(picture, 3)
    assert small.shape == (2, 3, 3)
    np.testing.assert_allclose(small[0, 0], picture[:3, :3].mean(axis=(0, 1)))
    np.testing.assert_allclose(small[1, 2], picture[3:, 6:].mean(axis=(0, 1)))


class TestSummary:
    """The figure of a run, and its file."""

    @pytest.mark.parametrize("wcs", [True, False])
    @pytest.mark.parametrize("shape", [(90, 110), (60, 200), (200, 60)])
    def test_a_picture_appears_whole(self, tmp_path, shape, wcs):
        path = save_summary(*scene(shape, wcs=wcs), tmp_path / "summary.png", dpi=50)
        assert path.read_bytes().startswith(PNG)
        assert [entry.name for entry in tmp_path.iterdir()] == ["summary.png"]
        picture = imread(path)
        assert min(picture.shape[:2]) > 100
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100

    def test_names_do_not_cover_each_other(self):
        image, result, labels, table = scene((300, 300), n_sources=60, wcs=False)
        figure = plot_classification(image, result, labels, table)
        ax = figure.axes[2]
        renderer = figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in ax.texts if text.get_text().isdigit()]
        assert 10 < len(boxes) <= 40
        for one, other in combinations(boxes, 2):
            assert not one.overlaps(other)
        frame = ax.get_window_extent(renderer)
        assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)

    def test_outlines_run_around_the_pixels_in_the_colour_of_the_class(self):
        _, _, labels, table = scene(n_sources=1)
        ax = Figure().subplots()
        plot_outlines(labels, table, ax, palette="paper")
        (lines,) = (child for child in ax.get_children() if isinstance(child, LineCollection))
        corners = np.concatenate(lines.get_segments())
        y, x = np.nonzero(labels)
        np.testing.assert_allclose(corners.min(axis=0), (x.min() - 0.5, y.min() - 0.5))
        np.testing.assert_allclose(corners.max(axis=0), (x.max() + 0.5, y.max() + 0.5))
        np.testing.assert_allclose(lines.get_color()[0][:3], PALETTES["paper"][1])

    def test_large_images_are_drawn_smaller(self):
        rng = np.random.default_rng(0)
        labels = np.zeros((2100, 60), dtype=np.int32)
        labels[1000:1040, 20:40] = 3
        data = rng.normal(size=(2100, 60, 1)).astype(np.float32)
        image = SkyImage(data, ("F160W",), np.ones(data.shape, bool))
        planes = np.zeros((2100, 60, 5), dtype=np.float32)
        planes[..., 4] = 1
        figure = plot_classification(image, maps(planes), labels, measure(labels, image, maps(planes)))
        assert figure.axes[0].images[0].get_array().shape == (1050, 30, 4)
        assert figure.axes[0].get_xlim() == (-0.5, 59.5)

    def test_no_sources(self, tmp_path):
        image, result, labels, _ = scene()
        nothing = np.zeros_like(labels)
        save_summary(image, result, nothing, measure(nothing, image, result), tmp_path / "empty.png", dpi=40)
        assert (tmp_path / "empty.png").read_bytes().startswith(PNG)

    def test_without_votes_the_picture_says_so(self):
        image, result, labels, table = scene()
        figure = plot_classification(image, replace(result, vote=None), labels, table)
        assert "mean probabilities" in figure.axes[1].get_title(loc="left")

    def test_hostile_names_are_only_text(self, tmp_path):
        image, result, labels, table = scene(wcs=False)
        image = replace(image, name=r"$\frac{ <script> ünïcode _^{")
        save_summary(image, result, labels, table, tmp_path / "hostile.png", dpi=40)

    def test_a_figure_of_ones_own(self):
        figure = Figure(figsize=(9, 4))
        assert plot_classification(*scene(), figure=figure) is figure
        assert len(figure.axes) == 3

    def test_nothing_is_overwritten_unasked(self, tmp_path):
        path = tmp_path / "summary.png"
        path.write_text("mine")
        with pytest.raises(OutputError, match="exists"):
            save_summary(*scene(), path)
        assert path.read_text() == "mine"
        save_summary(*scene(), path, overwrite=True, dpi=40)
        assert path.read_bytes().startswith(PNG)

    @pytest.mark.parametrize("name", ["summary.txt", "summary", "missing/summary.png"])
    def test_what_cannot_be_written(self, tmp_path, name):
        with pytest.raises(OutputError, match=r"not a picture format|cannot be written"):
            save_summary(*scene(), tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_labels_must_fit(self):
        _, _, labels, table = scene()
        with pytest.raises(InputError, match="float64"):
            plot_outlines(labels.astype(float), table, Figure().subplots())

    def test_pyplot_stays_out(self):
        code = "import sys, morpheus_lite.visualization.plots; print('matplotlib.pyplot' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"
