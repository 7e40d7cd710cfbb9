"""Work shared between processes."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS

from morpheus_lite.runtime import resources as processes
from morpheus_lite.runtime.resources import parallel_map, process_beside, results_ahead


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_arrays_are_not_sent(workers):
    plane = np.arange(20.0)
    found = list(parallel_map(lambda k: (plane[k], os.getpid()), range(20), workers=workers))
    assert [value for value, _ in found] == plane.tolist()
    here = {process == os.getpid() for _, process in found}
    assert here == {workers == 1}


def test_nothing_to_do():
    assert list(parallel_map(abs, [], workers=4)) == []


def test_errors_come_through():
    with pytest.raises(ZeroDivisionError):
        list(parallel_map(lambda k: 1 / k, [1, 0, 2], workers=2))


def test_when_a_process_dies_the_rest_is_done_here(caplog):
    parent = os.getpid()

    def fragile(k):
        if k == 5 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return k * k

    assert list(parallel_map(fragile, range(12), workers=2)) == [k * k for k in range(12)]
    assert "worker process died" in caplog.text


def test_without_fork_the_work_is_done_here(monkeypatch):
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    assert list(parallel_map(lambda _: os.getpid(), range(3), workers=2)) == [os.getpid()] * 3


def _note(path):
    path.write_text(str(os.getpid()))


def _fail(path):
    raise ValueError(path.name)


def _die(path):
    if os.getpid() != int(path.read_text()):
        os.kill(os.getpid(), signal.SIGKILL)
    path.write_text("here")


def test_a_process_beside_prepares_and_does_the_work(tmp_path):
    prepared, done = tmp_path / "prepared", tmp_path / "done"
    with process_beside(lambda: _note(prepared)) as start:
        start(_note, done)()
    assert prepared.read_text() == done.read_text() != str(os.getpid())


def test_what_fails_beside_is_raised_where_it_is_waited_for(tmp_path):
    with process_beside(lambda: 1 / 0) as start:
        wait = start(_fail, tmp_path / "name")
        with pytest.raises(ValueError, match="name"):
            wait()


def test_when_the_process_beside_dies_its_work_is_done_here(tmp_path, caplog):
    path = tmp_path / "who"
    _note(path)
    with process_beside() as start:
        start(_die, path)()
    assert path.read_text() == "here"
    assert "worker process died" in caplog.text


def test_without_fork_the_work_beside_is_done_here(tmp_path, monkeypatch):
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    with process_beside() as start:
        start(_note, tmp_path / "who")()
    assert (tmp_path / "who").read_text() == str(os.getpid())


def test_what_cannot_be_sent_is_done_here():
    done = []
    with process_beside() as start:
        start(lambda: done.append(os.getpid()))()
    assert done == [os.getpid()]


def _note_step(path, wcs):
    path.write_text(f"{abs(wcs.pixel_scale_matrix[1, 1]):.3g}")


def test_a_wcs_goes_to_the_process_beside_without_a_warning(tmp_path, recwarn):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cd = ["RA---TAN", "DEC--TAN"], [[-1e-5, 0], [0, 1e-5]]
    with process_beside() as start:
        start(_note_step, tmp_path / "step", wcs.slice((slice(1, None), slice(1, None))))()
    assert (tmp_path / "step").read_text() == "1e-05"
    assert not recwarn.list


def test_a_process_beside_ends_with_its_block(tmp_path):
    path = tmp_path / "who"
    with process_beside(lambda: _note(path)) as start:
        start(_note, tmp_path / "done")()
        assert Path("/proc", path.read_text()).exists()
    assert not Path("/proc", path.read_text()).exists()


def test_results_ahead_come_in_order_and_few_wait():
    begun = []

    def work(k):
        begun.append(k)
        return k * k

    results = results_ahead(work, range(20), threads=2)
    assert next(results) == 0
    assert len(begun) <= 3
    assert list(results) == [k * k for k in range(1, 20)]


def test_what_fails_ahead_is_raised_in_its_turn():
    results = results_ahead(lambda k: 1 // (3 - k), range(5), threads=2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
