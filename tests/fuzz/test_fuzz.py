"""Broken files: none brings down the interpreter, hangs it, takes its memory, or shows a foreign traceback."""

from .runner import OUTCOMES, run

CASES = 2000


def test_broken_files_end_well():
    result = run(1, range(CASES))
    assert not result.faults, f"{len(result.faults)} of {CASES}, the first of them\n" + "\n".join(
        " ".join(str(part) for part in fault) for fault in result.faults[:20]
    )
    # The fuzzer does reach both ends.
    ends = {outcome: sum(n for (_, one), n in result.counts.items() if one == outcome) for outcome in OUTCOMES}
    assert sum(ends.values()) == CASES
    assert min(ends["read"], ends["clear error"]) > CASES // 5
