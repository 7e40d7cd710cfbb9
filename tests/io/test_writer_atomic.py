"""A product appears under its name when it is whole, or not at all."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from inputs import SHAPE, TRUTH

from morpheus_lite.core.classification import Classification
from morpheus_lite.errors import OutputError
from morpheus_lite.io import write_catalog, write_maps
from morpheus_lite.io.maps import MapFile
from morpheus_lite.runtime.atomic import (
    FOREIGN_AGE,
    SUFFIX,
    atomic_write,
    check_writable,
    clear_abandoned,
    temporary_path,
)


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def result() -> Classification:
    probability = np.full((*SHAPE, 5), 0.2, np.float32)
    return Classification(probability, np.ones(SHAPE, np.int32), np.ones(SHAPE, bool))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_nothing(error, tmp_path):
    with pytest.raises(error), atomic_write(tmp_path / "a.fits") as path:
        path.write_text("half")
        raise error
    assert not names(tmp_path)


def test_an_interrupted_overwrite_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.fits"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target, overwrite=True) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    with atomic_write(target, overwrite=True) as path:
        assert target.read_text() == "old"
        path.write_text("new")
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.fits"]


@pytest.mark.parametrize("when", ["maps", "compressed maps", "catalogue"])
def test_interrupted_products_leave_nothing(when, result, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(MapFile, "write_plane", interrupt)
    monkeypatch.setattr(fits.HDUList, "writeto", interrupt)
    with pytest.raises(KeyboardInterrupt):
        if when == "catalogue":
            write_catalog(QTable({"label": [1]}), tmp_path / "t.fits")
        else:
            write_maps(TRUTH, result, tmp_path / "t.fits", compress=when != "maps")
    assert not names(tmp_path)


def test_nothing_is_replaced_unasked(result, tmp_path):
    for name in ("maps.fits", "table.ecsv"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="exists already; give another place, or --overwrite"):
        write_maps(TRUTH, result, tmp_path / "maps.fits")
    with pytest.raises(OutputError, match="exists already"):
        write_catalog(QTable({"label": [1]}), tmp_path / "table.ecsv")
    assert all(path.read_text() == "mine" for path in tmp_path.iterdir())
    with pytest.raises(OutputError, match=r"maps.fits, .*table.ecsv exist already"):
        check_writable([tmp_path / "maps.fits", tmp_path / "table.ecsv", tmp_path / "new"])
    check_writable([tmp_path / "maps.fits"], overwrite=True)


def test_a_file_that_appears_meanwhile_is_left(tmp_path):
    with pytest.raises(OutputError, match="has appeared while"), atomic_write(tmp_path / "a") as path:
        path.write_text("mine")
        (tmp_path / "a").write_text("theirs")
    assert (tmp_path / "a").read_text() == "theirs"
    assert names(tmp_path) == ["a"]


def test_places_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder.fits").mkdir()
    with pytest.raises(OutputError, match="is not a directory, so nothing can be written in"):
        check_writable([tmp_path / "file" / "deep" / "a.fits"])
    with pytest.raises(OutputError, match="a directory has the name of a product"):
        check_writable([tmp_path / "folder.fits"], overwrite=True)
    check_writable([tmp_path / "not" / "yet" / "a.fits"])
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(OutputError, match="no permission to write in"):
        check_writable([tmp_path / "a.fits"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "there is no space left on the disk"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
    ],
)
def test_a_disk_that_refuses(code, message, tmp_path):
    with (
        pytest.raises(OutputError, match=f"a.fits cannot be written: .*{message}"),
        atomic_write(tmp_path / "a.fits") as p,
    ):
        p.write_text("half")
        raise OSError(code, "what the system says")
    assert not names(tmp_path)


def test_astropy_on_a_full_disk(tmp_path):
    with pytest.raises(OutputError, match="no space left"), atomic_write(tmp_path / "a.fits"):
        raise OSError("Not enough space on disk: requested 10, available 3. [Errno 28] ...")


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileExistsError), atomic_write(tmp_path / "a.fits"):
        raise FileExistsError(errno.EEXIST, "not the disk's fault")


def test_no_directory_is_an_output_error(tmp_path):
    with (
        pytest.raises(OutputError, match="the directory does not exist"),
        atomic_write(tmp_path / "none" / "a.fits") as path,
    ):
        path.write_text("x")


def test_temporary_files_look_like_no_product(tmp_path):
    path = temporary_path(tmp_path / "maps.fits")
    assert path.parent == tmp_path
    assert path.name.startswith(".") and path.name.endswith(SUFFIX)
    assert path != temporary_path(tmp_path / "maps.fits")
    assert len(temporary_path(tmp_path / ("x" * 240 + ".fits")).name) < 255


def test_what_a_killed_run_left_is_cleared(tmp_path):
    program = (
        "import os, sys, time\n"
        "from morpheus_lite.runtime.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as path:\n"
        "    path.write_text('half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.fits")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "writing\n"
        assert len(names(tmp_path)) == 1
        check_writable([tmp_path / "b.fits"])
        assert len(names(tmp_path)) == 1, "the writer is still at work"
    finally:
        process.kill()
        process.communicate()
    assert len(names(tmp_path)) == 1
    check_writable([tmp_path / "b.fits"])
    assert not names(tmp_path)


def test_unfinished_files_of_other_machines_are_cleared_when_old(tmp_path):
    name = temporary_path(tmp_path / "a.fits").name
    parts = name.rsplit(".", 2)
    theirs = tmp_path / f"{parts[0]}.elsewhere-1-0123abcd-0123abcd{SUFFIX}"
    theirs.write_text("half")
    ours = tmp_path / name
    ours.write_text("half")
    assert clear_abandoned(tmp_path) == []
    os.utime(theirs, (time.time() - FOREIGN_AGE - 9,) * 2)
    assert clear_abandoned(tmp_path) == [theirs]
    assert names(tmp_path) == [name]
