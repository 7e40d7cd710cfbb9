"""The command as a user runs it: in process, and as a real process that can be interrupted."""

import functools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from morpheus_lite.cli import main
from morpheus_lite.cli.main import COMMANDS
from morpheus_lite.cli.options import logging_to_stderr

FAST = ["--model", "hausen2020", "--stride", "30", "--products", "catalog"]


def write(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def band_hdus(shape=(50, 60), bands=("F160W", "F125W", "F606W", "F850LP")):
    rng = np.random.default_rng(3)
    return [fits.ImageHDU(rng.normal(0, 0.01, shape).astype("f4"), name=band) for band in bands]


def test_help_lists_the_commands(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "classify" in out
    assert "Exit codes" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_classify_prints_where_the_products_are(sim_field, tmp_path, capsys):
    assert main(["classify", str(sim_field), "-o", str(tmp_path), "--model", "hausen2020", "--stride", "15"]) == 0
    captured = capsys.readouterr()
    assert "120 x 130 px" in captured.out
    for path in tmp_path.iterdir():
        assert str(path) in captured.out
    assert captured.err == ""


def test_json_is_json(sim_field, tmp_path, capsys):
    assert main(["classify", str(sim_field), "-o", str(tmp_path), "--json", *FAST]) == 0
    record = json.loads(capsys.readouterr().out)["images"][0]
    assert record["n_sources"] == sum(record["classes"].values()) > 0
    assert Path(record["products"]["catalog"]).is_file()


def test_one_file_a_band_gives_the_same_catalogue(sim_field, tmp_path):
    arguments = []
    with fits.open(sim_field) as hdus:
        for band in ("F160W", "F125W", "F606W", "F850LP"):
            write(tmp_path / f"{band}.fits", hdus[band].copy())
            arguments += ["--band", f"{band}={tmp_path / band}.fits[1]"]
    assert main(["classify", *arguments, "--name", "split", "-o", str(tmp_path / "a"), *FAST]) == 0
    assert main(["classify", str(sim_field), "--name", "split", "-o", str(tmp_path / "b"), *FAST]) == 0
    from morpheus_lite import read_catalog

    one, two = (read_catalog(tmp_path / side / "split_catalog.ecsv") for side in "ab")
    assert list(one["label"]) == list(two["label"])
    np.testing.assert_array_equal(one["p_disk"], two["p_disk"])


def bad_inputs(folder):
    """Name -> (arguments, exit code, what the message must say)."""
    good = write(folder / "good.fits", *band_hdus())
    cut = folder / "truncated.fits"
    cut.write_bytes(good.read_bytes()[:20000])
    text = folder / "notes.fits"
    text.write_text("not an image")
    uneven = [*band_hdus(bands=("F160W", "F125W", "F606W")), *band_hdus((50, 61), ("F850LP",))]
    return {
        "missing file": ([str(folder / "absent.fits")], 3, "absent.fits"),
        "not FITS": ([str(text)], 3, "notes.fits"),
        "truncated": ([str(cut)], 3, "truncated"),
        "no such extension": ([f"{good}[NOPE]"], 3, "NOPE"),
        "one band short": (
            [str(write(folder / "three.fits", *band_hdus(bands=("F160W", "F125W", "F606W"))))],
            3,
            "F850LP",
        ),
        "shapes disagree": ([str(write(folder / "uneven.fits", *uneven))], 3, "61"),
        "smaller than a window": ([str(write(folder / "small.fits", *band_hdus((39, 80))))], 3, "39"),
        "one-dimensional": (
            [str(write(folder / "line.fits", fits.ImageHDU(np.zeros(9, "f4"), name="F160W")))],
            3,
            "line.fits",
        ),
        "empty": ([str(write(folder / "empty.fits"))], 3, "empty.fits"),
        "unknown model": ([str(good), "--model", "nonsense"], 3, "nonsense"),
        "holes": ([str(good), "--stride", "31"], 2, "holes"),
        "no image": ([], 2, "no image"),
        "stride zero": ([str(good), "--stride", "0"], 2, "stride"),
        "unknown product": ([str(good), "--products", "cake"], 2, "cake"),
        "unknown option": ([str(good), "--nope"], 2, "nope"),
        "malformed band": (["--band", "F160W"], 2, "NAME=VALUE"),
        "zero-point nonsense": ([str(good), "--zero-point", "F160W=bright"], 2, "bright"),
    }


NAMES = ["missing file", "not FITS", "truncated", "no such extension", "one band short", "shapes disagree",
         "smaller than a window", "one-dimensional", "empty", "unknown model", "holes", "no image", "stride zero",
         "unknown product", "unknown option", "malformed band", "zero-point nonsense"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_gives_a_code_a_message_and_no_file(name, tmp_path, capsys):
    cases = bad_inputs(tmp_path)
    assert set(cases) == set(NAMES)
    arguments, code, message = cases[name]
    output = tmp_path / "products"
    assert main(["classify", "--model", "hausen2020", *arguments, "-o", str(output)]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not output.exists() or not list(output.iterdir())


def test_one_bad_image_does_not_stop_the_others(sim_field, tmp_path, capsys):
    assert main(["classify", str(tmp_path / "absent.fits"), str(sim_field), "-o", str(tmp_path), *FAST]) == 4
    captured = capsys.readouterr()
    assert "absent.fits" in captured.err
    assert "sources" in captured.out


def test_options_from_a_file_and_the_command_line_on_top(sim_field, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text('stride = 29\nproducts = "catalog"\ncatalog-format = "csv"\n')
    assert (
        main(
            [
                "classify",
                str(sim_field),
                "-o",
                str(tmp_path),
                "--config",
                str(config),
                "--model",
                "hausen2020",
                "--stride",
                "30",
                "--json",
            ]
        )
        == 0
    )
    products = json.loads(capsys.readouterr().out)["images"][0]["products"]
    assert list(products) == ["catalog"]
    assert products["catalog"].endswith(".csv")
    config.write_text("strides = 3\n")
    assert main(["classify", str(sim_field), "--config", str(config)]) == 2
    assert "strides" in capsys.readouterr().err


def test_info_says_how_a_product_was_made(sim_field, tmp_path, capsys):
    assert (
        main(
            [
                "classify",
                str(sim_field),
                "-o",
                str(tmp_path),
                "--model",
                "hausen2020",
                "--stride",
                "30",
                "--products",
                "maps",
            ]
        )
        == 0
    )
    capsys.readouterr()
    (product,) = tmp_path.iterdir()
    assert main(["info", str(product)]) == 0
    out = capsys.readouterr().out
    assert "hausen2020" in out
    assert "SEGMENTATION" in out
    assert main(["info", str(sim_field)]) == 0
    assert "\n  band F160W: [1]; unit" in capsys.readouterr().out


def test_models_lists_bands_scales_and_scores(capsys):
    assert main(["models"]) == 0
    by_name = {part.splitlines()[0]: part for part in re.split(r"\n(?=\w)", capsys.readouterr().out)}
    assert {"any", "hausen2020", "hst"} <= set(by_name)
    assert "F160W" in by_name["hst"] and "class right" in by_name["hst"]
    assert "bands: any; pixels: 0.025 to 0.45" in by_name["any"]


def test_interrupted_run_leaves_nothing(sim_field, tmp_path):
    output = tmp_path / "products"
    arguments = ["classify", str(sim_field), "-o", str(output), "--model", "hausen2020", "--stride", "1", "-v"]
    command = [sys.executable, "-m", "morpheus_lite", *arguments]
    # A job in the background of a shell without job control ignores SIGINT, and so would its children.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        assert any("120 x 130 px" in line for line in process.stderr), "it never came to the network"
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in message
    assert not output.exists() or not list(output.iterdir())


def test_models_describes_a_directory_and_prints_cards(capsys):
    weights = Path(__file__).parents[2] / "weights"
    assert main(["models", str(weights / "any")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "any"
    assert main(["models", "hst", "--card"]) == 0
    assert capsys.readouterr().out == (weights / "hst" / "card.md").read_text() + "\n"
    assert main(["models", "nonesuch"]) == 3
    assert "nonesuch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clasify", "a.fits"], "no command 'clasify'; did you mean morpheus classify?"),
        (["goods.fits"], "no command 'goods.fits'; did you mean morpheus classify goods.fits?"),
        (["xyz"], "no command 'xyz'; choose one of classify, batch"),
        (["classify", "--overwrit", "a.fits"], "--overwrite"),
    ],
)
def test_mistyped_words_are_answered_with_the_right_ones(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_mistyped_option_in_a_file_is_answered_with_the_right_one(tmp_path, capsys):
    (tmp_path / "o.toml").write_text("min_aera = 9\n")
    assert main(["classify", "a.fits", "--config", str(tmp_path / "o.toml")]) == 2
    assert "did you mean min-area?" in capsys.readouterr().err.replace("\n", " ")


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "morpheus_lite", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("morpheus, version")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("cl", ["plain,classify"]),
        ("classify goo", ["file,goo"]),
        ("classify --engine open", ["plain,openvino"]),
        ("classify --products maps,st", ["plain,maps,stamps"]),
        ("classify --model h", ["plain,hausen2020", "plain,hst"]),
        ("classify --model my_", ["file,my_"]),
        ("classify --rms noi", ["file,noi"]),
        ("models an", ["plain,any"]),
    ],
)
def test_the_shell_completes_words_names_and_files(words, completed):
    words = {
        "_MORPHEUS_COMPLETE": "bash_complete",
        "COMP_WORDS": f"morpheus {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    script = "from morpheus_lite.cli import main; main([])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, **words})
    assert done.stdout.split() == completed


def test_a_message_is_said_once(capsys):
    log = logging.getLogger("morpheus_lite.test")
    with logging_to_stderr(verbose=0, quiet=False):
        for said in ("deep", "deep", "wide", "deep"):
            log.warning("field %s is odd", said)
    assert capsys.readouterr().err == "morpheus: field deep is odd\nmorpheus: field wide is odd\n"


def test_doubts_about_an_input_are_said(tmp_path, capsys):
    fits.writeto(tmp_path / "odd.fits", np.ones((40, 40), np.float32), fits.Header({"BUNIT": "furlong"}))
    assert main(["info", str(tmp_path / "odd.fits")]) == 0
    said = capsys.readouterr().err
    assert said.startswith("morpheus: ") and said.count("BUNIT furlong is not understood") == 1
    assert ".py:" not in said
    assert main(["info", "-q", str(tmp_path / "odd.fits")]) == 0
    assert capsys.readouterr().err == ""


def test_a_command_leaves_logging_as_it_was():
    loggers = logging.root, logging.getLogger("morpheus_lite"), logging.getLogger("py.warnings")
    before = logging.root.handlers[:], [logger.level for logger in loggers], warnings.showwarning
    assert main(["models", "-vv"]) == 0
    assert (logging.root.handlers[:], [logger.level for logger in loggers], warnings.showwarning) == before


def test_a_build_that_cannot_be_used_is_one_line(monkeypatch, capsys):
    def refuse(name):
        raise ImportError(f"{name}: install it again")

    monkeypatch.setattr(sys.modules["morpheus_lite.cli.main"], "import_module", refuse)
    assert main(["classify", "a.fits"]) == 1
    assert capsys.readouterr().err.splitlines() == ["morpheus: morpheus_lite.cli.pipeline: install it again"]
