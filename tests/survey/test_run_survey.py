"""Surveys on real worker processes: one answer however it is run, and whatever is killed on the way."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
from astropy.io import fits
from survey_inputs import FAST, keeping_models, kept_model, write_tile

from morpheus_lite import ClusterOptions, RunOptions, Tile, classify_file, classify_survey, read_catalog
from morpheus_lite.cli import main
from morpheus_lite.errors import MorpheusError, OptionError, OutputError
from morpheus_lite.runtime.resources import usable_cores
from morpheus_lite.survey.cluster import shared_out
from morpheus_lite.survey.jobs import ClusterExecutor, SchedulerLostError
from morpheus_lite.survey.state import LOG, MARKER, locked, tile_directory

distributed = pytest.importorskip("distributed")

HERE = ClusterOptions(workers=0)
PATIENCE = 180


@pytest.fixture(scope="module", autouse=True)
def models_are_loaded_once():
    """Every survey in this process would load and compile its model anew."""
    with keeping_models():
        yield


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes on loopback that all tests share, since each takes seconds to load TensorFlow."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=None,
            silence_logs=50,
        ) as made,
    ):
        yield ClusterOptions(scheduler=made.scheduler_address)


def write_images(folder):
    return [write_tile(folder / f"t{k}.fits", seed=k, n_sources=k) for k in range(4)]


@pytest.fixture
def images(tmp_path):
    """Four small tiles that the test may change."""
    return write_images(tmp_path / "in")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Four small tiles, and a survey of them in this process: neither is to be changed."""
    place = tmp_path_factory.mktemp("finished")
    images = write_images(place / "in")
    assert not classify_survey(images, place / "out", FAST, cluster=HERE).failed
    return images, place / "out"


@pytest.fixture
def resumed(finished, tmp_path):
    """The tiles, and a copy of their survey that goes on."""
    images, root = finished
    return images, Path(shutil.copytree(root, tmp_path / "out"))


def tables(root, names=("t0", "t1", "t2", "t3")):
    return {name: read_catalog(tile_directory(root, name) / f"{name}_catalog.parquet") for name in names}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, table in one.items():
        assert table.colnames == other[name].colnames
        for column in table.colnames:
            np.testing.assert_array_equal(table[column], other[name][column], err_msg=f"{name} {column}")


def wait_for(what, seconds=PATIENCE):
    """The first true value of a function."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")


@contextmanager
def running(*arguments, **options):
    """A survey in another thread; a list that its result, or its error, is put into."""
    found = []

    def work():
        try:
            found.append(classify_survey(*arguments, **options))
        except MorpheusError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield found
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the survey did not end"


def at_work(root, name):
    """Process that works on a tile, from the tile's log."""
    log = tile_directory(root, name) / LOG
    headers = [line for line in log.read_text().splitlines() if line.startswith("== ")] if log.exists() else []
    return int(headers[-1].split("process ")[1].split()[0]) if headers else None


def test_one_answer_in_this_process_and_on_two(cluster, finished, tmp_path):
    images, here = finished
    seen = []
    there = classify_survey(
        images, tmp_path / "there", FAST, cluster=cluster, progress=lambda done, total: seen.append((done, total))
    )
    assert not there.failed
    assert seen == [(k, 4) for k in range(5)]
    assert_same(tables(here), tables(tmp_path / "there"))
    again = classify_survey(images, tmp_path / "there", FAST, cluster=cluster)
    assert again.outcomes == ()
    assert again.plan.counts == {"done": 4, "check": 0, "stale": 0, "missing": 0}


def test_a_worker_loads_its_model_once_for_all_tiles(images, tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        "morpheus_lite.survey.worker.load_model", lambda name, **how: loaded.append(name) or kept_model(name, **how)
    )
    result = classify_survey(images, tmp_path / "out", FAST, cluster=HERE, run=RunOptions(noise="tile"))
    assert [one.status for one in result.outcomes] == ["done"] * 4
    assert loaded == ["hausen2020"]


def test_only_what_has_changed_is_done_again(images, tmp_path):
    classify_survey(images, tmp_path / "out", FAST, cluster=HERE)
    write_tile(images[1], seed=9)
    os.utime(images[2], (0, 0))
    shutil.rmtree(tile_directory(tmp_path / "out", "t3"))
    result = classify_survey(images, tmp_path / "out", FAST, cluster=HERE)
    assert {one.name: one.status for one in result.outcomes} == {"t1": "done", "t2": "revalidated", "t3": "done"}
    result = classify_survey(images, tmp_path / "out", replace(FAST, stride=29), cluster=HERE)
    assert len(result.outcomes) == 4
    assert result.plan.reasons == {"options.stride was 30, is 29": 4}
    assert classify_survey(
        images[:2], tmp_path / "out", replace(FAST, stride=29), cluster=HERE
    ).plan.unrecognized_tiles == (
        "t2",
        "t3",
    )


def pipe(path):
    """A file that nobody ever writes: whoever opens it waits for ever, and costs nothing."""
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    return Tile(path.stem, str(path))


def arrive(path, **options):
    """An image takes the place of a pipe; whoever waits at the pipe is let go."""
    write_tile(path.with_name("whole.part"), **options)
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    path.with_name("whole.part").replace(path)


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_worker_killed_in_the_middle_of_a_tile(ended_by, cluster, resumed, tmp_path):
    images, root = resumed
    waiting = pipe(tmp_path / "in" / "waiting.fits")
    with running([*images, waiting], root, FAST, cluster=cluster) as found:
        worker = wait_for(lambda: at_work(root, "waiting"))
        write_tile(tmp_path / "whole.fits", n_sources=3).replace(waiting.image)
        os.kill(worker, ended_by)
    (result,) = found
    assert [(one.name, one.status, one.n_sources) for one in result.outcomes] == [("waiting", "done", 3)]
    assert (tile_directory(root, "waiting") / LOG).read_text().count("== ") == 3, "looked at twice, and classified"
    assert not [path for path in (root / "tiles").iterdir() if path.name.startswith(".")], "the killed worker's files"


def test_a_worker_killed_in_the_middle_of_a_mosaic(cluster, tmp_path):
    field = write_tile(tmp_path / "in" / "field.fits", shape=(110, 130), n_sources=8)
    options = replace(FAST, stride=10)
    parquet = replace(options, catalog_format="parquet")
    whole = classify_file(field, tmp_path / "whole", parquet, model=kept_model("hausen2020")).table
    root = tmp_path / "out"
    log = root / "tiles" / "field" / "pieces" / "y1x1.log"
    with running([field], root, options, cluster=cluster, run=RunOptions(tile_size=64)) as found:
        first = wait_for(lambda: log.exists() and log.read_text().split("process ")[1:])
        os.kill(int(first[0].split()[0]), signal.SIGKILL)
    (result,) = found
    assert [(one.name, one.status) for one in result.outcomes] == [("field", "done")]
    assert_same(tables(root, ["field"]), {"field": whole})


def test_a_worker_out_of_memory_is_noticed(images, tmp_path):
    limited = ClusterOptions(workers=1, memory_limit="250MB")
    result = classify_survey(images[:1], tmp_path / "out", FAST, cluster=limited, run=RunOptions(retries=0))
    assert "1 worker processes died of it" in result.failed[0].error
    assert not (tile_directory(tmp_path / "out", "t0") / MARKER).exists()


def test_the_client_killed_and_started_again(cluster, images, tmp_path):
    root = tmp_path / "out"
    last = pipe(tmp_path / "in" / "u.fits")
    arguments = [str(tmp_path / "in"), "-o", str(root), "--model", "hausen2020", "--stride", "30"]
    arguments += ["--products", "catalog", "--scheduler", cluster.scheduler, "--noise", "tile"]
    command = [sys.executable, "-m", "morpheus_lite", "batch", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: at_work(root, "u") and len(list(root.glob(f"tiles/t*/{MARKER}"))) == len(images))
        client.kill()
    before = {path: path.stat().st_mtime_ns for path in root.glob(f"tiles/*/{MARKER}")}
    arrive(Path(last.image))
    result = classify_survey(tmp_path / "in", root, FAST, cluster=cluster, run=RunOptions(noise="tile"))
    assert [(one.name, one.status) for one in result.outcomes] == [("u", "done")], result
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was done stays done"


def test_a_run_that_is_told_to_end_leaves_nothing_half_done(tmp_path):
    write_tile(tmp_path / "in" / "slow.fits", shape=(200, 200))
    command = [sys.executable, "-m", "morpheus_lite", "batch", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    command += ["--model", "hausen2020", "--stride", "1", "--workers", "1"]
    tiles = tmp_path / "out" / "tiles"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        wait_for(lambda: list(tiles.glob(".slow.*")) or run.poll() is not None)
        run.terminate()
        said = run.communicate(timeout=PATIENCE)[1]
    assert run.returncode == 130
    assert "interrupted; no half-written product was left" in said
    assert [path.name for path in tiles.iterdir()] == ["slow"]
    assert [path.name for path in (tiles / "slow").iterdir()] == [LOG]


def test_a_tile_that_hangs_is_noticed(cluster, resumed, tmp_path):
    images, root = resumed
    tiles = [pipe(tmp_path / "in" / "hanging.fits"), *images]
    result = classify_survey(tiles, root, FAST, cluster=cluster, run=RunOptions(tile_timeout=2))
    assert result.plan.counts["done"] == len(images)
    (failed,) = result.failed
    assert "2 worker processes died of it" in failed.error
    text = (tile_directory(root, "hanging") / LOG).read_text()
    assert text.count("took more than 2 s") == 2
    assert "in look_at" in text, "the log says where it was"


async def end_silent_workers(dask_scheduler):
    """What Dask does by itself with workers that have been silent for five minutes, after twenty seconds."""
    usual, dask_scheduler.worker_ttl = dask_scheduler.worker_ttl, 20
    await dask_scheduler.check_worker_ttl()
    dask_scheduler.worker_ttl = usual


def test_a_worker_that_is_stopped_is_ended_and_its_tile_done_by_another(cluster, resumed, tmp_path):
    images, root = resumed
    classify_survey(images, tmp_path / "before", FAST, cluster=cluster)  # workers are silent while TensorFlow loads
    waiting = pipe(tmp_path / "in" / "waiting.fits")
    with (
        running([*images, waiting], root, FAST, cluster=cluster) as found,
        distributed.Client(cluster.scheduler, set_as_default=False) as client,
    ):
        worker = wait_for(lambda: at_work(root, "waiting"))
        os.kill(worker, signal.SIGSTOP)
        write_tile(tmp_path / "whole.fits", n_sources=3).replace(waiting.image)
        wait_for(lambda: found or client.run_on_scheduler(end_silent_workers) or time.sleep(1))
    assert [(one.name, one.status, one.n_sources) for one in found[0].outcomes] == [("waiting", "done", 3)]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_an_item_that_takes_too_long_ends_its_worker(cluster):
    with (
        distributed.Client(cluster.scheduler, set_as_default=False) as client,
        pytest.raises((distributed.KilledWorker, CancelledError)),
    ):
        list(ClusterExecutor(client, retries=0, seconds=1).map(time.sleep, [60]))


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def listens(port):
    with socket.socket() as made:
        return made.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def certificates(tmp_path):
    """Files of an authority, a certificate and its key, which are one another's."""
    pytest.importorskip("cryptography", reason="comes with moto, which the tests need anyway")
    made = distributed.security.Security.temporary()
    paths = [tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")]
    for path, text in zip(paths, (made.tls_ca_file, made.tls_client_cert, made.tls_client_key), strict=True):
        path.write_text(text)
    return [str(path) for path in paths]


@contextmanager
def separate_processes(port, certificates):
    """A scheduler and a worker as a user starts them, with TLS."""
    dask_command = [sys.executable, "-m", "dask"]
    named = zip(("--tls-ca-file", "--tls-cert", "--tls-key"), certificates, strict=True)
    tls = [one for pair in named for one in pair]
    scheduler = [*dask_command, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    scheduler += ["--protocol", "tls", *tls]
    worker = [*dask_command, "worker", f"tls://127.0.0.1:{port}", "--nthreads", "1", *tls]
    worker += ["--no-dashboard", "--no-nanny"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(scheduler, **quiet) as first, ExitStack() as ending:
        ending.callback(first.kill)
        wait_for(lambda: listens(port))  # a worker gives up after half a minute
        ending.callback(ending.enter_context(subprocess.Popen(worker, **quiet)).kill)
        yield first


def test_the_scheduler_killed_and_started_again(resumed, tmp_path, certificates):
    images, root = resumed
    port = free_port()
    last = pipe(tmp_path / "in" / "last.fits")
    options = ClusterOptions(
        scheduler=f"tls://127.0.0.1:{port}", **dict(zip(("tls_ca", "tls_cert", "tls_key"), certificates, strict=True))
    )
    with (
        separate_processes(port, certificates) as scheduler,
        running([*images, last], root, FAST, cluster=options) as found,
    ):
        wait_for(lambda: at_work(root, "last"))
        scheduler.kill()
    assert isinstance(found[0], SchedulerLostError), found
    assert "run the same command" in str(found[0])
    arrive(Path(last.image))
    with separate_processes(port, certificates):
        result = classify_survey([*images, last], root, FAST, cluster=options)
    assert [(one.name, one.status) for one in result.outcomes] == [("last", "done")], result


def test_no_scheduler_at_the_address(images, tmp_path, monkeypatch):
    monkeypatch.setattr("morpheus_lite.survey.cluster.CONNECT", 1)
    with pytest.raises(MorpheusError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        classify_survey(images, tmp_path / "out", FAST, cluster=ClusterOptions(scheduler="tcp://127.0.0.1:9"))


@contextmanager
def small_disk(folder, *, size="1m"):
    """A file system of its own."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_loses_nothing(finished, tmp_path):
    images, done = finished
    with small_disk(tmp_path / "disk", size="2m") as root:
        here = {"cluster": HERE, "run": RunOptions(retries=0)}
        shutil.copytree(tile_directory(done, "t0"), tile_directory(root, "t0"))
        free = shutil.disk_usage(root).free
        (root / "ballast").write_bytes(bytes(free - 20_000))
        with pytest.raises(OutputError, match="no space left on the disk"):
            classify_survey(images, root, FAST, **here)
        assert sorted(path.parent.name for path in root.glob(f"tiles/*/{MARKER}")) == ["t0"]
        (root / "ballast").unlink()
        assert [one.status for one in classify_survey(images, root, FAST, **here).outcomes] == ["done"] * 3


def test_output_that_cannot_be_written(images, tmp_path):
    with small_disk(tmp_path / "disk") as root:
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        with pytest.raises(OutputError, match="Read-only file system"):
            classify_survey(images, root / "out", FAST, cluster=HERE)


def test_the_command_lists_what_failed_and_goes_on(images, tmp_path, capsys):
    images[1].write_bytes(images[1].read_bytes()[:9000])
    arguments = ["batch", str(images[0].parent), "-o", str(tmp_path / "out"), "--model", "hausen2020", "--stride", "30"]
    arguments += ["--products", "catalog", "--workers", "0"]
    assert main([*arguments, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["tiles"], plan["missing"]) == (4, 4)
    assert any("truncated" in problem for problem in plan["problems"])
    assert main([*arguments, "--json"]) == 4
    record = json.loads(capsys.readouterr().out)
    assert (record["done_now"], [one["tile"] for one in record["failed"]]) == (3, ["t1"])
    assert "truncated" in "\n".join(record["failed"][0]["log"])
    assert main(arguments) == 4
    out = capsys.readouterr().out
    assert "3 of 4 tiles are done, 0 of them now" in out
    assert "t1 failed" in out
    assert main([*arguments, "--dry-run"]) == 0
    assert "4 tiles: 3 done, 1 to do" in capsys.readouterr().out


def test_bad_tiles_are_a_line_each_in_the_report_and_the_others_are_done(images, tmp_path, capsys):
    folder = images[0].parent
    write_tile(folder / "three.fits", bands=("F160W", "F125W", "F606W"))
    (folder / "text.fits").write_text("no FITS file")
    for name, second in {"shape": {"shape": (64, 60)}, "scale": {"scale": 0.03}}.items():
        files = [write_tile(tmp_path / f"{name}{k}.fits", **one) for k, one in enumerate(({}, second))]
        bands = {band: f"{files[band == 'F850LP']}[{band}]" for band in ("F160W", "F125W", "F606W", "F850LP")}
        lines = [f"image_{band} = '{path}'" for band, path in bands.items()]
        listed = ", ".join(f"{line.removeprefix('image_')}" for line in lines)
        (tmp_path / f"{name}.toml").write_text(f"[[tile]]\nname = '{name}'\nimage = {{{listed}}}\n")
    sources = [str(folder), str(tmp_path / "shape.toml"), str(tmp_path / "scale.toml")]
    options = ["--model", "hausen2020", "--stride", "30", "--products", "catalog", "--workers", "0"]
    assert main(["batch", *sources, "-o", str(tmp_path / "out"), *options]) == 4
    printed = [line for line in capsys.readouterr().out.splitlines() if " failed: " in line]
    reasons = {"three": "has no band F850LP", "text": "FITS", "shape": "64 x 60 px", "scale": "not aligned"}
    assert len(printed) == len(reasons)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["totals"]["done"] == len(images)
    failed = {one["tile"]: one["error"] for one in report["failed"]}
    for name, reason in reasons.items():
        assert reason in next(line for line in printed if line.startswith(name))
        assert reason in failed[name]


def test_what_a_tile_is_warned_of_is_said(tmp_path, capsys):
    data = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    for name, cards in {"a": {"BUNIT": "nJy"}, "b": {"BUNIT": "nJy", "MAGZERO": 25.9}}.items():
        fits.PrimaryHDU(data, fits.Header({"FILTER": "F160W"} | cards)).writeto(tmp_path / f"{name}.fits")
    images = [str(tmp_path / f"{name}.fits") for name in "ab"]
    assert main(["batch", *images, "-o", str(tmp_path / "out"), "--products", "catalog", "--workers", "1"]) == 0
    said = capsys.readouterr().err
    assert "1 of 2 tiles have warnings in their log.txt; b: " in said
    assert "BUNIT nJy gives a zero-point of 31.400 AB, MAGZERO one of 25.900" in said


def test_a_tile_in_a_bucket_that_cannot_be_read_ends_the_command_with_4(tmp_path, capsys, monkeypatch):
    server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    bucket = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    bucket.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*bucket.get_host_and_port()))
        arguments = ["batch", "s3://survey/absent.fits", "-o", str(tmp_path / "out"), "-m", "hausen2020", "-w", "0"]
        assert main([*arguments, "--products", "catalog", "--retries", "1"]) == 4
    finally:
        bucket.stop()
    assert "absent failed: s3://survey/absent.fits cannot be reached" in capsys.readouterr().out


def test_the_second_run_on_a_directory_refuses(images, tmp_path, capsys):
    with locked(tmp_path / "out"):
        assert main(["batch", str(images[0]), "-o", str(tmp_path / "out"), "--workers", "0"]) == 3
    assert "is in use by another run" in capsys.readouterr().err


def test_options_that_contradict_each_other():
    with pytest.raises(OptionError, match="leave the number of workers out"):
        ClusterOptions(workers=2, scheduler="tcp://x:1")
    for address in ("host", "tcp://host", "tcp://host:port"):
        with pytest.raises(OptionError, match="expected an address such as tcp://host:8786"):
            ClusterOptions(scheduler=address)
    with pytest.raises(OptionError, match="positive number of seconds"):
        RunOptions(tile_timeout=0)
    with pytest.raises(OptionError, match="expected a whole number, at least 0"):
        RunOptions(retries=-1)


def test_shares_of_the_cores():
    assert ClusterOptions(scheduler="tcp://x:1").threads == 1
    one, many = ClusterOptions(workers=1), ClusterOptions(workers=1000)
    assert one.threads >= many.threads == 1
    assert ClusterOptions(workers=0).in_process


GB = 10**9


@pytest.mark.parametrize(
    ("given", "machine", "workers", "limit"),
    [
        ({}, 64 * GB, 8, 8 * GB),
        ({}, 9 * GB, 3, 3 * GB),
        ({}, 4 * GB, 1, 4 * GB),
        ({}, 1 * GB, 1, 2.5 * GB),
        ({"memory_limit": "1GB"}, 6 * GB, 4, "1GB"),
        ({"workers": 16}, 16 * GB, 16, 2.5 * GB),
        ({"workers": 0}, 16 * GB, 0, None),
        ({"scheduler": "tcp://x:1"}, 16 * GB, None, None),
    ],
)
def test_one_worker_per_core_as_far_as_memory_allows(given, machine, workers, limit, monkeypatch):
    monkeypatch.setattr("morpheus_lite.survey.cluster.usable_cores", lambda: 8)
    shared = shared_out(ClusterOptions(**given), 2 * GB, machine)
    assert (shared.workers, shared.memory_limit) == (workers, limit)


def test_the_default_fits_into_this_machine():
    assert 1 <= shared_out(ClusterOptions(), 2 * GB).workers <= usable_cores()
