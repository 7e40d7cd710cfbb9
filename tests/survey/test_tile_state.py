"""What is done, what is stale and why; and one run at a time in a directory."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.errors import OutputError
from morpheus_lite.io.fitsfile import Location
from morpheus_lite.survey.plan import survey_options
from morpheus_lite.survey.state import (
    HOLDER,
    MARKER,
    State,
    content_hash,
    describe_inputs,
    differences,
    digest,
    fingerprint_product,
    holds,
    locked,
    log_tail,
    read_marker,
    read_states,
    run_of,
    tile_directory,
    tile_state,
    unrecognized_tiles,
    write_marker,
)
from morpheus_lite.survey.tile import Tile

OPTIONS = survey_options(ClassifyOptions(model="hausen2020", products=("catalog",), stride=5))
WEIGHTS = {"hausen2020": "0" * 64, "hst": "1" * 64}


@pytest.fixture
def finished(tmp_path):
    """A tile that is done: its input, its directory and a product."""
    image = tmp_path / "in" / "a.fits"
    image.parent.mkdir()
    image.write_bytes(b"pixels")
    tile = Tile("a", str(image))
    directory = tile_directory(tmp_path, "a")
    directory.mkdir(parents=True)
    product = directory / "a_catalog.parquet"
    product.write_bytes(b"rows")
    write_marker(
        directory, run_of(tile, OPTIONS, WEIGHTS), describe_inputs(tile), {"catalog": fingerprint_product(product)}
    )
    return tile, directory, image, product


def state_of(finished, *, options=OPTIONS, weights=WEIGHTS, tile=None, verify=False):
    tile = tile or finished[0]
    return tile_state(finished[1], tile, run_of(tile, options, weights), verify=verify)


def test_a_finished_tile_is_done(finished):
    assert state_of(finished, verify=True).state == State.DONE


def test_options_weights_and_version_make_it_stale(finished, monkeypatch):
    state = state_of(finished, options=replace(OPTIONS, stride=7))
    assert (state.state, state.reason) == (State.STALE, "options.stride was 5, is 7")
    state = state_of(finished, weights={"hausen2020": "2" * 64})
    assert state.state == State.STALE
    assert state.reason.startswith("weights was 0000")
    monkeypatch.setattr("morpheus_lite.survey.state.__version__", "99.0")
    state = state_of(finished)
    assert state.state == State.STALE
    assert state.reason.endswith("is 99.0")


def test_overwriting_is_no_option_of_the_result(finished):
    assert state_of(finished, options=replace(OPTIONS, overwrite=False)).state == State.DONE


def test_products_that_are_gone_short_or_damaged(finished):
    product = finished[3]
    product.write_bytes(b"ROWS")
    assert state_of(finished).state == State.DONE
    assert state_of(finished, verify=True).reason == "a_catalog.parquet is damaged"
    product.write_bytes(b"ro")
    assert state_of(finished).reason == "a_catalog.parquet has another size"
    product.unlink()
    assert state_of(finished).reason == "a_catalog.parquet is gone"


def test_a_clock_that_is_wrong_asks_for_a_look_and_no_more(finished):
    for when in (0, 4102444800):  # 1970 and 2100
        os.utime(finished[2], (when, when))
        assert state_of(finished).state == State.CHECK


def test_a_renamed_input_asks_for_a_look(finished):
    moved = finished[2].with_name("b.fits")
    finished[2].rename(moved)
    assert state_of(finished, tile=Tile("a", str(moved))).state == State.CHECK


def test_an_input_of_another_size_is_another_input(finished):
    finished[2].write_bytes(b"more pixels")
    assert state_of(finished).reason == "the size of an input has changed"


def test_an_input_that_is_gone_is_said_and_not_missed(finished):
    finished[2].unlink()
    state = state_of(finished)
    assert state.state == State.DONE
    assert "the input is gone" in state.reason


def test_another_plane_is_another_input(finished):
    tile = Tile("a", finished[0].image, {"rms": finished[0].image})
    assert state_of(finished, tile=tile).state == State.STALE


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": {}}'])
def test_a_broken_marker_is_no_marker(finished, content):
    (finished[1] / MARKER).write_text(content)
    assert state_of(finished).state == State.MISSING


def test_states_of_many(finished, tmp_path):
    tiles = [Tile(f"t{k}", "x.fits") for k in range(100)]
    tiles[42] = finished[0]
    states = read_states(tmp_path, tiles, OPTIONS, WEIGHTS)
    assert [state.state for state in states.values()].count(State.MISSING) == 99
    assert states["a"].state == State.DONE
    assert unrecognized_tiles(tmp_path, tiles) == []
    assert unrecognized_tiles(tmp_path, tiles[:10]) == ["a"]
    assert read_states(tmp_path / "elsewhere", tiles, OPTIONS, WEIGHTS)["a"].state == State.MISSING


def test_digest_knows_no_order_and_differences_name_the_place():
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None})) == ["a.c was 2, is 3"]


def test_content_hash_is_that_of_the_file(tmp_path):
    import hashlib

    (tmp_path / "x").write_bytes(b"abc" * 10)
    assert content_hash(Location(str(tmp_path / "x"))) == hashlib.sha256(b"abc" * 10).hexdigest()


def test_log_tail_is_the_end(tmp_path):
    (tmp_path / "log.txt").write_text("\n".join(f"line {k}" for k in range(5000)))
    assert log_tail(tmp_path / "log.txt", 2) == "line 4998\nline 4999"
    assert log_tail(tmp_path / "nothing") == ""


def test_the_second_run_refuses(tmp_path):
    with locked(tmp_path) as run:
        assert holds(tmp_path, run)
        with pytest.raises(OutputError, match=f"in use by another run .process {os.getpid()}"), locked(tmp_path):
            pass
        assert holds(tmp_path, run)
    assert not holds(tmp_path, run)
    with locked(tmp_path) as other:
        assert other != run


def test_a_killed_run_does_not_stand_in_the_way(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from morpheus_lite.survey.state import locked
with locked(Path({str(tmp_path)!r})):
    print("locked", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "locked\n"
    assert json.loads((tmp_path / HOLDER).read_text())["host"] == socket.gethostname()
    with locked(tmp_path) as run:
        assert holds(tmp_path, run)


def test_a_run_on_another_machine_is_respected(tmp_path):
    (tmp_path / HOLDER).write_text(json.dumps({"run": "x", "host": "elsewhere", "pid": 1, "since": "yesterday"}))
    with pytest.raises(OutputError, match=r"process 1 on elsewhere.*remove"), locked(tmp_path):
        pass


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no directory that nobody can write in")
def test_a_directory_that_cannot_be_written():
    with pytest.raises(OutputError, match="nothing can be written"), locked(Path("/proc/morpheus")):
        pass


@pytest.mark.parametrize(
    "change",
    [
        {"run": None}, {"run": 3}, {"inputs": ["image"]}, {"inputs": {"image": "a.fits"}},
        {"products": {"maps": "m.fits"}},
        {"products": {"maps": {"file": "m.fits", "size": "1", "sha256": "0"}}},
    ],
)  # fmt: skip
def test_a_damaged_marker_is_none(change, tmp_path):
    run = {"run": {"version": "1"}, "digest": "d", "inputs": {"image": {"size": 1}}}
    whole = run | {"products": {"maps": {"file": "m.fits", "size": 1, "sha256": "0"}}}
    (tmp_path / MARKER).write_text(json.dumps(whole))
    assert read_marker(tmp_path) == whole
    (tmp_path / MARKER).write_text(json.dumps(whole | change))
    assert read_marker(tmp_path) is None
