"""One schema: the options of the commands, of files of options, of manifests and of Python are the same."""

import json
from dataclasses import replace
from itertools import pairwise

import click
import pytest

from morpheus_lite import ClassifyOptions, DeblendingOptions, MeasureOptions, ModelError, OptionError
from morpheus_lite.cli.main import COMMANDS, cli, main
from morpheus_lite.config.classify import NOT_IN_SURVEYS
from morpheus_lite.config.schema import changed, declared, plain_values
from morpheus_lite.models.registry import read_info
from morpheus_lite.survey.manifest import read_tiles
from morpheus_lite.survey.state import tile_options


def command(name):
    return cli.get_command(click.Context(cli), name)


def long_options(name):
    return {flag for one in command(name).params for flag in one.opts if flag.startswith("--")}


def test_batch_has_every_option_of_classify_that_means_something_for_a_tile():
    of_one_image = {"--band", "--name", *(f"--{name.replace('_', '-')}" for name in NOT_IN_SURVEYS)}
    assert long_options("classify") - long_options("batch") == of_one_image


def test_catalog_has_every_option_of_classify_that_is_about_measuring():
    assert {f"--{one.flag}" for one in declared(MeasureOptions()) if one.flag} <= long_options("catalog")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options_and_lines_of_help_that_fit(name):
    assert {"--json", "--config", "--verbose", "--quiet"} <= long_options(name)
    context = click.Context(command(name), info_name=name, max_content_width=110, terminal_width=110)
    shown = command(name).get_help(context).partition(":\n  -")[2].splitlines()
    lines = pairwise(shown)
    wrapped = [line for before, line in lines if line.startswith("     ") and len(before.split("  ")) > 2]
    assert [line.strip() for line in wrapped if "maps,catalog" not in line] == []


def given_to(command_name, monkeypatch, tmp_path, *arguments):
    """The options and the reading that a command gives to the pipeline."""
    seen = {}

    def run(source, output, options, *, read_options=None, **_):
        seen.update(options=options, read_options=read_options)
        raise OptionError("seen")

    monkeypatch.setattr("morpheus_lite.pipeline.classify.classify_file", run)
    monkeypatch.setattr("morpheus_lite.survey.classify_survey", run)
    assert main([command_name, "a.fits", "-o", str(tmp_path / "out"), *arguments]) == 2
    return seen["options"], seen["read_options"]


LINE = [
    *("--products", "maps,catalog", "--aperture-radii", "4, 6", "--aperture-unit", "pixel", "--gain", "H=4"),
    *(
        "--deblend-contrast",
        "0.01",
        "--seed-threshold",
        "0.6",
        "--no-structure",
        "--stride",
        "7",
        "--background",
        "0.5",
    ),
    *("--zero-point", "F160W=25.9", "--band-names", "F160W,F606W", "--dq", "none", "--dq-bits", "1,16"),
]
FILE = """
products = ["maps", "catalog"]
aperture-radii = [4, 6]
aperture_unit = "pixel"
gain = {H = 4}
deblend-contrast = 0.01
seed-threshold = 0.6
structure = false
stride = 7
background = 0.5
zero-point = {F160W = 25.9}
band-names = ["F160W", "F606W"]
dq = "none"
dq-bits = "1,16"
"""
OPTIONS = ClassifyOptions(
    products=("maps", "catalog"),
    measuring=MeasureOptions(
        aperture_radii=(4, 6), aperture_unit="pixel", gain={"F160W": 4}, structure=False, background=0.5
    ),
    deblending=DeblendingOptions(contrast=0.01),
    detection={"seed_threshold": 0.6},
    stride=7,
)


def test_the_command_line_and_a_file_say_the_same(tmp_path, monkeypatch):
    (tmp_path / "options.toml").write_text(FILE)
    reading = {"zero_points": {"F160W": 25.9}, "bands": ("F160W", "F606W"), "dq": "none", "dq_bits": "1,16"}
    assert given_to("classify", monkeypatch, tmp_path, *LINE) == (OPTIONS, reading)
    assert given_to("classify", monkeypatch, tmp_path, "--config", str(tmp_path / "options.toml")) == (OPTIONS, reading)
    tables = FILE.replace("deblend-contrast = 0.01\nseed-threshold = 0.6\n", "") + (
        "[deblending]\ncontrast = 0.01\n[detection]\nseed_threshold = 0.6\n"
    )
    (tmp_path / "tables.toml").write_text(tables.replace("zero-point", "zero_points").replace("band-names", "bands"))
    assert given_to("classify", monkeypatch, tmp_path, "--config", str(tmp_path / "tables.toml")) == (OPTIONS, reading)
    more = ["--config", str(tmp_path / "options.toml"), "--stride", "9", "--report", "--structure"]
    options, _ = given_to("classify", monkeypatch, tmp_path, *more)
    assert options == replace(
        OPTIONS,
        stride=9,
        products=("maps", "catalog", "report"),
        measuring=replace(OPTIONS.measuring, structure=True),
    )


def test_batch_takes_them_too(tmp_path, monkeypatch):
    (tmp_path / "a.fits").touch()
    monkeypatch.chdir(tmp_path)
    assert given_to("batch", monkeypatch, tmp_path, *LINE)[0] == OPTIONS


def test_manifests_take_them_too(tmp_path):
    columns = "name,image,stride,gain,aperture_radii,aperture_unit,deblend_contrast,structure,seed_threshold,background"
    (tmp_path / "m.csv").write_text(f'{columns}\na,a.fits,7,H=4,"4,6",pixel,0.01,false,0.6,0.5\n')
    (tmp_path / "m.toml").write_text(
        '[[tile]]\nname = "a"\nimage = "a.fits"\n[tile.options]\nstride = 7\ndetection = {seed_threshold = 0.6}\n'
        'deblending = {contrast = 0.01}\nmeasuring = {gain = {H = 4}, aperture_radii = [4, 6], aperture_unit = "pixel",'
        " structure = false, background = 0.5}\n"
    )
    for name in ("m.csv", "m.toml"):
        (tile,) = read_tiles(tmp_path / name)
        assert tile_options(tile, ClassifyOptions(products=("maps", "catalog"))) == OPTIONS


def test_options_survive_json():
    back = changed(ClassifyOptions(), json.loads(json.dumps(plain_values(OPTIONS))))
    assert back == OPTIONS
    assert not {"memory", "device", "engine", "overwrite"} & set(plain_values(OPTIONS, without=("none",)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"strid": 3}, "options: strid is unknown; expected some of aperture_radii"),
        ({"deblending": {"levels": 3}}, "deblending: levels is unknown; expected some of n_levels"),
        ({"detection": {"threshold": 2}}, "threshold 2: expected a positive number, at most 1"),
        ({"measuring": 3}, "measuring = 3: expected a table"),
        ({"gain": {"H": "x"}}, "gain"),
    ],
)
def test_what_a_table_cannot_say(table, message):
    with pytest.raises(OptionError, match=message):
        changed(ClassifyOptions(), table)


def test_models_of_version_0_1_state_their_thresholds_by_other_names():
    info = read_info("hst")
    old = {"core": 0.5, "wings": 0.45, "min_area": 9, "min_significance": 5.0}
    read = replace(info, settings={"detection": old}).settings["detection"]
    assert read == {"seed_threshold": 0.5, "threshold": 0.45, "min_area": 9, "min_snr": 5.0}
    with pytest.raises(ModelError, match="detection: bright is unknown"):
        replace(info, settings={"detection": {"bright": 1}})
