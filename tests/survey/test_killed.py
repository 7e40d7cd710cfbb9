"""Runs that are killed at a random moment leave nothing half done, and the next run clears up after them."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from test_streaming import names, spotted, write_field

KILLS = 4
OPTIONS = ("-q", "--overwrite", "--no-domain-check", "--products", "maps,catalog")
RUNNER = """
import importlib, json, os, signal, sys, time
from morpheus_lite.models.engines import import_tensorflow_quietly
import_tensorflow_quietly()
importlib.import_module("morpheus_lite.pipeline.classify")
from morpheus_lite.cli.main import main

def begun(folder):
    return os.path.isdir(folder) and any(name.endswith(".morpheus-part") for name in os.listdir(folder))

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.setsid()
        sys.stdin.close()
        os.dup2(2, 1)
        os._exit(main(order["arguments"]) or 0)
    start, since, status = time.perf_counter(), None, None
    while status is None:
        done, code = os.waitpid(child, os.WNOHANG)
        now = time.perf_counter()
        if since is None and begun(order["folder"]):
            since = now
        clock = start if order["from"] == "start" else since
        if done:
            status = os.waitstatus_to_exitcode(code)
        elif order["delay"] is not None and clock is not None and now - clock >= order["delay"]:
            os.killpg(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            time.sleep(0.002)
    print(json.dumps({"status": status, "seconds": now - start, "writing": now - (since or now)}), flush=True)
"""
"""Runs of the command as processes that an importing one forks, so that only the first one waits for TensorFlow."""


class Runner:
    """``morpheus classify`` of one image into one directory, again and again."""

    def __init__(self, process: subprocess.Popen, image: Path, folder: Path) -> None:
        self._process, self._image, self.folder = process, image, folder

    def __call__(self, *, delay: float | None = None, since: str = "start") -> dict:
        """Run, and kill the process group so many seconds after the start, or after the first temporary file."""
        arguments = ["classify", str(self._image), "-o", str(self.folder), *OPTIONS]
        order = {"arguments": arguments, "folder": str(self.folder), "delay": delay, "from": since}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@pytest.fixture
def runner(tmp_path):
    field = write_field(tmp_path / "field.fits", spotted((64, 80)))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", RUNNER], **pipes) as process:
        yield Runner(process, field, tmp_path / "products")
        process.stdin.close()


def contents(folder):
    """What the products in a directory hold, each by its name; reading fails where one is not whole."""
    found = {}
    for path in sorted(Path(folder).glob("[!.]*")):
        if path.suffix == ".fits":
            assert path.stat().st_size % 2880 == 0
            with fits.open(path) as hdus:
                found[path.name] = [(hdu.name, None if hdu.data is None else np.array(hdu.data)) for hdu in hdus]
        else:
            found[path.name] = QTable.read(path)
    return found


def same(one, other):
    if isinstance(one, QTable):
        return one.colnames == other.colnames and np.array_equal(one["label"], other["label"])
    return len(one) == len(other) and all(
        name == known and (plane is data or np.allclose(plane, data, atol=1e-5, equal_nan=True))
        for (name, plane), (known, data) in zip(one, other, strict=True)
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no SIGKILL")
def test_runs_killed_at_any_moment_leave_whole_products_or_none(runner):
    seed = int(os.environ.get("MORPHEUS_KILL_SEED", random.randrange(1 << 32)))
    print(f"MORPHEUS_KILL_SEED={seed}")
    draw = random.Random(seed)
    whole = runner()
    assert whole["status"] == 0
    expected = contents(runner.folder)
    assert {Path(name).suffix for name in expected} == {".fits", ".ecsv"}
    killed = 0
    for kill in range(KILLS):
        for path in runner.folder.iterdir():
            if not path.name.startswith("."):
                path.unlink()
        # Every other one while products are written, of which there may be little time.
        since, longest = (("start", "seconds"), ("writing", "writing"))[kill % 2]
        run = runner(delay=draw.uniform(0, whole[longest]), since=since)
        assert run["status"] in (0, -9)
        killed += run["status"] == -9
        found = contents(runner.folder) if runner.folder.exists() else {}
        assert all(same(product, expected[name]) for name, product in found.items())
        assert run["status"] == -9 or sorted(found) == sorted(expected)
    assert killed
    assert runner()["status"] == 0
    assert names(runner.folder) == sorted(expected)
    assert all(same(product, expected[name]) for name, product in contents(runner.folder).items())
