"""The HTML report: what is in the file, and that it is what the run says. How it behaves is tested in a browser."""

import base64
import hashlib
import html
import json
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from report_inputs import HOSTILE, NOISE, make_run, tangent_wcs, without_wcs

from morpheus_lite.core.classes import BACKGROUND
from morpheus_lite.core.windows import block_mean
from morpheus_lite.errors import InputError, OutputError
from morpheus_lite.visualization.html_report import layers, write_report
from morpheus_lite.visualization.html_report.layers import interpolate, pixel_unit_vectors, sky_grid
from morpheus_lite.visualization.html_report.page import pack, plain_json, script_json
from morpheus_lite.visualization.html_report.sources import label_runs, outline_arrays, table_columns

SMALL = st.tuples(st.integers(1, 9), st.integers(1, 9))
TYPES = {"u1": "u1", "i2": "<i2", "u2": "<u2", "i4": "<i4", "u4": "<u4", "f4": "<f4", "f8": "<f8"}


def unpack(index: dict, text: str) -> dict[str, np.ndarray]:
    """What the page does with a block."""
    raw = zlib.decompress(base64.b64decode(text))
    found = {}
    for name, entry in index.items():
        dtype = np.dtype(TYPES[entry["dtype"]])
        n = int(np.prod(entry["shape"]))
        part = np.frombuffer(raw, np.uint8, n * dtype.itemsize, entry["offset"])
        shuffled = part.reshape(dtype.itemsize, n).T
        found[name] = np.ascontiguousarray(shuffled).view(dtype).reshape(entry["shape"])
    return found


class Page(HTMLParser):
    """The elements of a page as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, str] = {}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id", tag)

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data

    @property
    def payload(self) -> dict:
        return json.loads(self.texts["payload"])


@pytest.fixture(scope="module")
def run():
    return make_run()


@pytest.fixture(scope="module")
def page(run, tmp_path_factory) -> Page:
    image, classification, labels, table, told = run
    path = write_report(image, classification, labels, table, tmp_path_factory.mktemp("report") / "r.html", run=told)
    return Page(path.read_text("utf-8"))


# ---- the file ---------------------------------------------------------------------------------------------------


def test_nothing_of_the_input_becomes_markup(page):
    assert page.texts["title"] == f"Morpheus: {HOSTILE}"
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "base", "embed")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert sum("type" not in attributes for attributes in scripts) == 1
    assert page.payload["title"] == HOSTILE and page.payload["run"]["command"] == HOSTILE


def test_the_policy_allows_the_pages_own_script_and_nothing_else(run, page):
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none';")
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_nothing_is_loaded_from_elsewhere(page):
    addresses = [attributes[key] for _, attributes in page.tags for key in ("src", "href") if key in attributes]
    assert addresses == ["data:,"]
    assert not re.search(r"\b(?:https?:)?//[a-z]", page.texts["style"])
    # a name, not a place, and two links that somebody has to click
    assert re.findall(r"https?://[^\"\s?]+", page.texts["script"]) == [
        "http://www.w3.org/2000/svg",
        "https://aladin.cds.unistra.fr/AladinLite/",
        "https://simbad.cds.unistra.fr/simbad/sim-coo",
    ]


def test_the_blocks_hold_the_run(run, page):
    _, classification, labels, table, _ = run
    payload = page.payload
    sources = unpack(payload["sources"]["index"], page.texts["block-sources"])
    index = painted(sources, labels.shape)
    np.testing.assert_array_equal(np.append(0, table["label"])[index], labels)
    planes = unpack(payload["classmap"]["index"], page.texts["block-classmap"])
    seen = classification.classified
    for name in ("spheroid", "point_source"):
        plane = planes[f"p_{name}"][::-1]
        assert np.all(plane[~seen] == layers.MISSING)
        np.testing.assert_allclose(plane[seen] / 254, classification.plane(name)[seen], atol=0.5 / 254 + 1e-6)
    columns = {column["name"]: (number, column) for number, column in enumerate(payload["table"]["columns"])}
    cells = unpack(payload["table"]["index"], page.texts["block-table"])
    number, about = columns["ra"]
    np.testing.assert_array_equal(cells[str(number)], table["ra"].to_value(u.deg))
    assert about["unit"] == "°" and about["kind"] == "float"
    assert payload["flags"]["16"] == "deblend_child"
    assert payload["run"]["model"] == "hausen2020" and payload["run"]["timings"]["network"] == 3.0


def painted(arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The label map that runs describe, as rows of the table plus 1."""
    index = np.zeros(shape, int)
    for row in range(shape[0]):
        for run in range(arrays["row_start"][row], arrays["row_start"][row + 1]):
            start, length = int(arrays["run_x"][run]), int(arrays["run_length"][run])
            index[shape[0] - 1 - row, start : start + length] = arrays["run_source"][run]
    return index


def test_a_file_that_exists_is_kept(run, tmp_path):
    image, classification, labels, table, _ = run
    path = tmp_path / "r.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_report(image, classification, labels, table, path)
    assert path.read_text() == "mine"
    write_report(image, classification, labels, table, path, overwrite=True)
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.html"]


def test_inputs_that_disagree_are_refused_and_leave_no_file(run, tmp_path):
    image, classification, labels, table, _ = run
    path = tmp_path / "r.html"
    with pytest.raises(InputError, match=r"shape \(80, 130\)"):
        write_report(image, classification, labels[:80], table, path)
    with pytest.raises(InputError, match="float64"):
        write_report(image, classification, labels.astype(float), table, path)
    with pytest.raises(InputError, match="class maps of shape"):
        write_report(image, make_run(shape=(50, 60))[1], labels, table, path)
    with pytest.raises(InputError, match="no column label"):
        write_report(image, classification, labels, QTable({"x": [1.0]}), path)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_catalogue_and_a_missing_wcs_give_a_valid_page(tmp_path):
    image, classification, labels, table, _ = make_run(n_sources=0, bands=("1",))
    path = write_report(without_wcs(image), classification, labels, table, tmp_path / "r.html")
    payload = Page(path.read_text("utf-8")).payload
    assert payload["sky"] is None and payload["table"]["n_rows"] == 0


def test_importing_the_report_loads_no_matplotlib():
    code = "import sys, morpheus_lite.visualization.html_report\n"
    code += "sys.exit(bool({'matplotlib', 'keras', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- texts and arrays --------------------------------------------------------------------------------------------


@given(st.recursive(st.text() | st.integers() | st.booleans() | st.none(), lambda inner: st.lists(inner, max_size=3)))
def test_json_comes_back_and_holds_no_markup(value):
    text = script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == plain_json(value)


def test_whatever_is_told_of_a_run_becomes_json():
    told = {
        "nan": np.nan,
        "array": np.arange(2),
        b"bytes": b"\xff",
        "quantity": 3 * u.nJy,
        ("a", 1): {1},
        "s": "\ud800",
    }
    assert json.loads(script_json(told)) == {
        "nan": None, "array": [0, 1], "b'bytes'": "\ufffd", "quantity": "3.0 nJy", "('a', 1)": [1], "s": "?",
    }  # fmt: skip
    endless: list = []
    endless.append(endless)
    assert "[[" in script_json(endless)


@settings(deadline=None)
@given(
    st.sampled_from(list(TYPES)).flatmap(
        lambda name: arrays(TYPES[name], st.tuples(st.integers(0, 4), st.integers(0, 5)))
    )
)
def test_packed_arrays_come_back(array):
    index, text = pack({"first": np.arange(3, dtype=np.uint8), "second": array})
    found = unpack(json.loads(json.dumps(index)), text)["second"]
    np.testing.assert_array_equal(found, array)


# ---- sky ---------------------------------------------------------------------------------------------------------


def full_sky_wcs():
    wcs = tangent_wcs()
    wcs.wcs.ctype = ["RA---CAR", "DEC--CAR"]
    wcs.wcs.cd = [[-1.0, 0], [0, 1.0]]
    wcs.wcs.crval = [359.0, 0.0]
    return wcs


def polar_wcs():
    wcs = tangent_wcs(scale=30.0)
    wcs.wcs.crval = [77.0, 89.99]
    return wcs


@pytest.mark.parametrize(
    ("wcs", "shape"),
    [
        (tangent_wcs(), (90, 130)),
        (tangent_wcs((4000, 4000)), (4000, 4000)),
        (tangent_wcs((4000, 4000), distorted=True), (4000, 4000)),
        (polar_wcs(), (90, 130)),
        (full_sky_wcs(), (90, 130)),
        (tangent_wcs(), (1, 1)),
    ],
    ids=["small", "large", "distorted", "pole", "wide", "one pixel"],
)
def test_interpolated_positions_are_good_to_a_tenth_of_a_pixel(wcs, shape):
    layout, arrays = sky_grid(wcs, shape)
    rng = np.random.default_rng(7)
    x, y = rng.uniform(-0.5, shape[1] - 0.5, 3000), rng.uniform(-0.5, shape[0] - 0.5, 3000)
    error = np.linalg.norm(interpolate(arrays["vectors"], shape, x, y) - pixel_unit_vectors(wcs, x, y), axis=-1)
    in_pixels = error * 206264.806 / layout["pixel_scale"]
    assert in_pixels.max() < 0.1
    assert in_pixels.max() < 2 * layout["max_error"] + 1e-6
    assert layout["pixel_scale"] == pytest.approx(wcs.proj_plane_pixel_area().to_value("arcsec2") ** 0.5, rel=0.01)


def test_no_wcs_no_grid():
    assert sky_grid(None, (5, 5)) is None


# ---- layers ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(arrays(np.float32, SMALL, elements=st.sampled_from([0.0, 1.0, 2.0, np.nan])), st.integers(1, 4))
def test_block_means_leave_out_nan(plane, step):
    found = block_mean(plane, step)
    assert found.shape == tuple(-(-size // step) for size in plane.shape)
    for (row, column), value in np.ndenumerate(found):
        block = plane[row * step : (row + 1) * step, column * step : (column + 1) * step]
        block = block[np.isfinite(block)]
        assert (np.isnan(value) and not block.size) or value == pytest.approx(block.mean())


def test_pixel_values_are_kept_to_a_fraction_of_the_noise_and_of_the_value(run):
    image = run[0]
    layout, codes = layers.pixel_values(image)
    for index, band in enumerate(layout["bands"]):
        plane = codes[band["name"]][::-1]
        found = band["softening"] * np.sinh(plane * layout["quantum"])
        usable = image.valid[:, :, index]
        assert np.all(plane[~usable] == layers.NO_VALUE)
        limit = 0.15 * NOISE + 0.003 * np.abs(image.data[:, :, index])
        assert np.all(np.abs(found - image.data[:, :, index])[usable] <= limit[usable])


def test_large_layers_become_block_means_and_the_page_says_so(run, tmp_path, monkeypatch):
    image, classification, labels, table, _ = run
    for limit in ("MAX_FIELD_PIXELS", "MAX_PLANE_PIXELS", "MAX_VALUES"):
        monkeypatch.setattr(layers, limit, 4000)
    path = write_report(image, classification, labels, table, tmp_path / "r.html")
    page = Page(path.read_text("utf-8"))
    payload = page.payload
    assert (payload["field"]["step"], payload["classmap"]["step"], payload["values"]["step"]) == (2, 2, 3)
    assert (payload["field"]["width"], payload["field"]["height"]) == (65, 45)
    planes = unpack(payload["classmap"]["index"], page.texts["block-classmap"])
    wanted = block_mean(classification.plane("disk")[::-1], 2)
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(planes["p_disk"][finite] / 254, wanted[finite], atol=0.5 / 254 + 1e-6)


def test_certain_pixels_have_no_entropy_and_undecided_ones_all(run):
    classification = run[1]
    certain = np.zeros_like(classification.probability)
    certain[..., BACKGROUND] = 1
    certain[5, 5] = 0.2
    _, planes = layers.class_planes(type(classification)(certain, classification.coverage, classification.valid))
    assert planes["entropy"][-6, 5] == 254 and planes["entropy"].sum() == 254
    assert "scatter" not in planes


# ---- sources -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.sampled_from([-1, 0, 3, 7, 900])))
def test_runs_describe_the_label_map(labels):
    runs = label_runs(labels, np.array([7, 3]))
    wanted = np.select([labels == 7, labels == 3, labels == 900], [1, 2, 3], 0)
    np.testing.assert_array_equal(painted(runs, labels.shape), wanted)
    assert set(outline_arrays(labels, np.array([7, 3]))["ring_source"]) == set(wanted[wanted > 0])


def test_columns_of_every_kind_are_shown():
    table = QTable()
    table["label"] = np.array([1, 2], np.int64)
    table["big"] = np.array([2**40, 2**62], np.int64)
    table["ok"] = [True, False]
    table["flux"] = Masked([1.5, 2.5] * u.nJy, mask=[False, True])
    table["n"] = MaskedColumn([4, 5], mask=[True, False])
    table["text"] = MaskedColumn(["b", "a"], mask=[False, True])
    table["raw"] = np.array([b"x", b"\xff"])
    table["pair"] = np.arange(4.0).reshape(2, 2)
    table["spectrum"] = np.zeros((2, 50))
    table["sky"] = SkyCoord([10, 20] * u.deg, [-5, 5] * u.deg)
    table["when"] = Time([50000.0, 50001.0], format="mjd")
    columns, arrays_, left_out = table_columns(table)
    names = [column["name"] for column in columns]
    assert names == [
        "label",
        "big",
        "ok",
        "flux",
        "n",
        "text",
        "raw",
        "pair[0]",
        "pair[1]",
        "sky.ra",
        "sky.dec",
        "when",
    ]
    assert left_out == ["spectrum"]
    cells = {name: arrays_[str(number)] for number, name in enumerate(names)}
    about = dict(zip(names, columns, strict=True))
    assert cells["flux"][0] == 1.5 and np.isnan(cells["flux"][1]) and about["flux"]["unit"] == "nJy"
    assert np.isnan(cells["n"][0]) and cells["n"][1] == 5
    assert [about["text"]["values"][code] for code in cells["text"]] == ["b", ""]
    assert [about["big"]["values"][code] for code in cells["big"]] == [str(2**40), str(2**62)]
    assert cells["sky.dec"].tolist() == [-5, 5] and cells["sky.dec"].dtype == np.float64
    assert [column["kind"] for column in columns[:4]] == ["int", "text", "bool", "float"]
    json.dumps(columns)


def test_an_empty_table_of_every_kind_is_shown():
    columns, arrays_, _ = table_columns(Table({"label": np.zeros(0, int), "x": np.zeros(0), "t": np.zeros(0, "U3")}))
    assert [len(array) for array in arrays_.values()] == [0, 0, 0] and len(columns) == 3


def test_a_name_is_escaped_in_the_title(run, tmp_path):
    text = write_report(*run[:4], tmp_path / "r.html").read_text("utf-8")
    assert f"<title>{html.escape(f'Morpheus: {HOSTILE}')}</title>" in text
