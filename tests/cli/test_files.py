"""Files as they come: a disk without room leaves one message and nothing half-written; names that are no text."""

import json
import os
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from morpheus_lite import read_catalog
from morpheus_lite.cli import main
from morpheus_lite.errors import OutputError
from morpheus_lite.io.tables import TABLE_FORMATS
from morpheus_lite.runtime.atomic import atomic_write

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
TRAINING = """
name = "tiny"
steps = 1
[model]
down = [[1, 16]]
intermediate = [1, 32]
up = [[1, 16]]
bands = ["F160W", "F125W", "F606W", "F850LP"]
[[stages]]
patch = 16
batch = 1
pool = 1
[[images]]
image = "field.fits"
labels = "truth.fits[LABELS]"
classes = "truth.fits"
"""


@contextmanager
def room_for(size):
    """No file grows beyond a size in bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("extra", [[], ["--training"]])
def test_simulating_on_a_full_disk(extra, tmp_path, capsys):
    pytest.importorskip("galsim")
    with room_for(3000):
        assert main(["simulate", "--seed", "1", "--shape", "64", "64", "-o", str(tmp_path / "out"), *extra]) == 3
    message = capsys.readouterr().err
    assert "cannot be written" in message and "the file would be too large" in message
    assert len(message.splitlines()) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_training_on_a_full_disk(tmp_path, capsys):
    for name in ("field", "truth"):
        shutil.copyfile(EXAMPLES / f"demo_{name}.fits", tmp_path / f"{name}.fits")
    (tmp_path / "train.toml").write_text(TRAINING)
    run, out = tmp_path / "run", tmp_path / "out"
    arguments = ["train", str(tmp_path / "train.toml"), "--run", str(run), "-o", str(out), "-q"]
    with room_for(20_000):
        assert main(arguments) == 3
    message = capsys.readouterr().err
    assert "state.npz cannot be written: the file would be too large" in message and len(message.splitlines()) == 1
    left = {path.name for path in run.iterdir()}
    assert not out.exists() and left <= {"model.json", "training.json", "log.csv", "held_out.csv"}
    assert main(arguments) == 0
    steps = [line.partition(",")[0] for line in (run / "log.csv").read_text().splitlines()]
    assert steps == ["step", "1"]


def test_classifying_on_a_full_disk(tmp_path, capsys):
    with room_for(20_000):
        assert main(["classify", str(EXAMPLES / "demo_field.fits"), "-o", str(tmp_path / "out"), "-q"]) == 3
    message = capsys.readouterr().err
    assert "the file would be too large" in message and len(message.splitlines()) == 1
    assert not list(tmp_path.rglob("*.*"))


def test_errors_of_writers_after_a_full_disk_are_the_disks(tmp_path):
    with (
        room_for(1000),
        pytest.raises(OutputError, match=r"a.npz cannot be written: the file would be too large"),
        atomic_write(tmp_path / "a.npz") as temporary,
        temporary.open("wb") as handle,
    ):
        np.savez(handle, a=np.random.default_rng(0).normal(size=10_000))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_names_that_are_no_text(suffix, tmp_path, capsysbinary):
    try:
        (folder := Path(os.fsdecode(os.fsencode(tmp_path) + b"/k\xe4se"))).mkdir()
    except OSError:
        pytest.skip("the file system takes only text")
    shutil.copyfile(EXAMPLES / "demo_field.fits", image := folder / os.fsdecode(b"f\xfcnf.fits"))
    if suffix == ".fits":
        products = "maps,catalog,picture,stamps,regions,report"
        formats = ["--catalog-format", "fits", "--products", products]
    elif suffix == ".xml":
        pytest.skip("another name of .vot")
    else:
        formats = ["--catalog-format", suffix[1:], "--products", "catalog"]
    assert main(["classify", str(image), "-o", str(folder), *formats]) == 0
    captured = capsysbinary.readouterr()
    catalog = folder / os.fsdecode(b"f\xfcnf_catalog" + suffix.encode())
    assert os.fsencode(catalog) in captured.out and b"Traceback" not in captured.err
    table = read_catalog(catalog)
    assert len(table) > 10
    if suffix != ".csv":
        assert table.meta["image"] == r"f\udcfcnf"
    assert main(["info", str(catalog), "--json"]) == 0
    assert json.loads(capsysbinary.readouterr().out)[0]["contents"]
