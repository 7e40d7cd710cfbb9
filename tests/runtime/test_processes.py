"""Work shared between processes."""

import os
import signal

import numpy as np
import pytest

from morpheus_lite.runtime import resources as processes
from morpheus_lite.runtime.resources import parallel_map


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
