"""Which tiles a survey has: images, directories, globs, and manifests in three formats that say the same."""

import json

import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from morpheus_lite.config import schema
from morpheus_lite.errors import InputError, MorpheusError, OptionError
from morpheus_lite.io.fitsfile import header_of_run
from morpheus_lite.survey import Tile, read_tiles
from morpheus_lite.survey.manifest import read_manifest

TOML = """
[defaults]
bands = ["H", "J"]

[[tile]]
name = "a"
image = "images/a.fits[SCI]"
rms = "images/a_rms.fits"
zero_points = {H = 25.9, J = 26.2}
options = {stride = 7}

[[tile]]
name = "b"
tract = 9813
patch = "3,4"
image = {H = "images/b_h.fits", J = "/data/b_j.fits"}
weight = {H = "s3://survey/b_w.fits"}
"""

COLUMNS = ["name", "image", "image_H", "image_J", "rms", "weight_H", "bands", "zero_point_H", "zero_point_J", "stride"]
COLUMNS += ["tract", "patch"]
ROWS = [
    ["a", "images/a.fits[SCI]", "", "", "images/a_rms.fits", "", "H J", "25.9", "26.2", "7", "", ""],
    ["b", "", "images/b_h.fits", "/data/b_j.fits", "", "s3://survey/b_w.fits", "H J", "", "", "", "9813", '"3,4"'],
]


def as_values(tiles):
    return [(tile.name, tile.image, dict(tile.read_options), dict(tile.options)) for tile in tiles]


def manifests(folder):
    (folder / "m.toml").write_text(TOML)
    (folder / "m.csv").write_text("\n".join(",".join(row) for row in [COLUMNS, *ROWS]))
    table = Table(rows=[[value.strip('"') for value in row] for row in ROWS], names=COLUMNS)
    table.write(folder / "m.ecsv", format="ascii.ecsv")
    return [folder / name for name in ("m.toml", "m.csv", "m.ecsv")]


def test_three_formats_say_the_same(tmp_path):
    expected = [
        (
            "a",
            str(tmp_path / "images/a.fits[SCI]"),
            {"rms": str(tmp_path / "images/a_rms.fits"), "bands": ("H", "J"), "zero_points": {"H": 25.9, "J": 26.2}},
            {"stride": 7},
        ),
        (
            "b",
            {"H": str(tmp_path / "images/b_h.fits"), "J": "/data/b_j.fits"},
            {"weight": {"H": "s3://survey/b_w.fits"}, "bands": ("H", "J")},
            {},
        ),
    ]
    for path in manifests(tmp_path):
        tiles = read_manifest(path)
        assert as_values(tiles) == expected, path.suffix
        assert [(tile.tract, tile.patch) for tile in tiles] == [("", ""), ("9813", "3,4")], path.suffix


def test_numbers_in_ecsv_are_numbers(tmp_path):
    Table({"name": ["a"], "image": ["a.fits"], "zero_point_H": [25.5], "stride": [9]}).write(tmp_path / "m.ecsv")
    (tile,) = read_tiles(tmp_path / "m.ecsv")
    assert tile.read_options["zero_points"] == {"H": 25.5}
    assert tile.options == {"stride": 9}


def test_a_path_with_an_equals_sign_is_a_path(tmp_path):
    (tmp_path / "m.csv").write_text("name,image,rms,zero_point\na,night=1/a.fits,night=1/r.fits,25.5\n")
    (tile,) = read_tiles(tmp_path / "m.csv")
    assert tile.read_options == {"rms": str(tmp_path / "night=1/r.fits"), "zero_points": 25.5}


def test_the_schema_is_read_once_per_tile(tmp_path, monkeypatch):
    read, tables = schema.read_values, []
    monkeypatch.setattr("morpheus_lite.survey.tile.read_values", lambda *given: tables.append(given) or read(*given))
    monkeypatch.setattr(
        "morpheus_lite.survey.manifest.read_values", lambda *given, **how: tables.append(given) or read(*given, **how)
    )
    rows = "".join(f"t{k},{k}.fits,25.5\n" for k in range(10))
    (tmp_path / "m.csv").write_text("name,image,zero_point\n" + rows)
    tiles = read_tiles(tmp_path / "m.csv")
    assert [tile.read_options for tile in tiles] == [{"zero_points": 25.5}] * 10
    assert len(tables) == 10


def test_directory_glob_and_list(tmp_path):
    for name in ("b.fits", "a.fits.fz", "notes.txt"):
        (tmp_path / name).touch()
    names = ["a", "b"]
    assert [tile.name for tile in read_tiles(tmp_path)] == names
    assert [tile.name for tile in read_tiles(str(tmp_path / "*.f*"))] == names
    assert [tile.name for tile in read_tiles([tmp_path / "b.fits", "https://host/c.fits[1]"])] == ["b", "c"]


ASIDE = """
    a_wht a_rms a_exp a_dq a_seg a_weight a_var a_mask a_err a_msk a_segm a_segmentation a_ivar a_invvar a_unc
    a_area a_flags a_bkg a_psf a.weight a-rms a_drz_wht A_WHT a_expmap a_cat a_catalog wht_a rms_a
    legacysurvey-1-invvar-r legacysurvey-1-nexp-z hlsp_hst_f160w_v1_wht hlsp_f160w_wht_v
    rings.skycell.1.stk.r.unconv.mask rings.skycell.1.stk.r.unconv.wt
"""
TILES = """
    a a_drz a_sci a_f160w legacysurvey-1-image-r weight mask exp_001 a_exp1 sigma_ori deep_sky
    rings.stk.r.unconv
"""


def test_planes_and_products_in_a_directory_are_left_aside(tmp_path, caplog):
    aside, tiles = ASIDE.split(), TILES.split()
    for stem in [*aside, *tiles]:
        (tmp_path / f"{stem}.fits").touch()
    (tmp_path / "a_dq.fits.fz").touch()
    product = fits.PrimaryHDU(header=header_of_run({"model": "hst", "stride": 3}))
    product.writeto(tmp_path / "product.fits")
    assert {tile.name for tile in read_tiles(tmp_path)} == set(tiles)
    assert f"left aside, as planes or products by their names or headers, {len(aside) + 2} of" in caplog.text
    assert [tile.name for tile in read_tiles(tmp_path / "a_wht.fits")] == ["a_wht"]


def test_a_directory_of_planes_holds_no_images(tmp_path):
    (tmp_path / "a_wht.fits").touch()
    with pytest.raises(InputError, match=r"holds no images; .*1 of these are left aside"):
        read_tiles(tmp_path)


def test_locations_name_every_file():
    tile = Tile("a", {"H": "h.fits[1]", "J": "j.fits"}, {"rms": "r.fits", "dq": {"H": "d.fits"}, "weight": False})
    assert {role: str(one) for role, one in tile.locations.items()} == {
        "image:H": "h.fits[1]",
        "image:J": "j.fits",
        "rms": "r.fits",
        "dq:H": "d.fits",
    }


BAD = {
    "two of a name": ("name,image\na,1.fits\nA,2.fits\n", InputError, "two tiles are called A"),
    "no image": ("name,rms\na,1.fits\n", InputError, "tile a: there is no image"),
    "unknown column": ("name,image,colour\na,1.fits,red\n", OptionError, "colour is unknown"),
    "name with a slash": ("name,image\n../a,1.fits\n", OptionError, "tile name '../a'"),
    "hidden name": ("name,image\n.a,1.fits\n", OptionError, "not beginning"),
    "no rows": ("name,image\n", InputError, "no tile"),
    "short row": ("name,image\na\n", InputError, "more or fewer fields"),
    "zero-point": ("name,image,zero_point_H\na,1.fits,bright\n", OptionError, "bright'} is of the wrong kind"),
    "band without a name": ("image_H,image_J\n1.fits,2.fits\n", InputError, "needs a name"),
    "unknown option": ('[[tile]]\nimage="a.fits"\noptions={speed=3}\n', OptionError, "speed is unknown"),
    "not TOML": ("[[tile]\n", InputError, "not valid TOML"),
    "no list": ('[tile]\nname="a"\n', InputError, "[[tile]]"),
    "tile is a number": ("tile = [3]\n", InputError, "[[tile]]"),
    "options are no table": ('[[tile]]\nimage="a"\noptions=3\n', OptionError, "expected a table"),
    "path is a number": ("[[tile]]\nimage=3\n", InputError, "3 came where a path"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_manifests_say_what_is_wrong(name, tmp_path):
    text, error, message = BAD[name]
    path = tmp_path / ("m.toml" if text.startswith(("[", "tile")) else "m.csv")
    path.write_text(text)
    with pytest.raises(error, match=r".*") as caught:
        read_tiles(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_bad_sources(tmp_path):
    for source, message in [(tmp_path, "holds no images"), (tmp_path / "*.fits", "matches no file"), ([], "no tile")]:
        with pytest.raises(InputError, match=message):
            read_tiles(source)
    for name in ("m.toml", "typo.fits"):
        with pytest.raises(InputError, match=f"{name}: no such file"):
            read_tiles([tmp_path / name])


@given(st.text(max_size=40))
def test_any_text_is_a_manifest_or_an_error(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    for name in ("m.csv", "m.toml"):
        (folder / name).write_text(text)
        try:
            tiles = read_tiles(folder / name)
        except MorpheusError:
            continue
        assert tiles
        json.dumps(as_values(tiles))
