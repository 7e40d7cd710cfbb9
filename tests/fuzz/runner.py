"""Run cases in processes of their own, which may die or hang, and count how they ended."""

import os
import queue
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

OUTCOMES = ("read", "clear error", "foreign exception", "abort", "hang", "memory", "rms 0 where valid")
"""The first two are right."""

_SECONDS = 10
"""Processor time of a case; `_PATIENCE` times as much on the clock, which counts where it only waits."""
_PATIENCE = 20
_BYTES = 4 << 30


@dataclass
class Result:
    """How cases ended.

    Parameters
    ----------
    counts : Counter of (str, str)
        How many, by kind of file and outcome.
    faults : list of (int, str, str, str)
        Number, kind, outcome and detail of every case that did not end well.
    """

    counts: Counter = field(default_factory=Counter)
    faults: list[tuple[int, str, str, str]] = field(default_factory=list)

    def table(self) -> str:
        """Outcomes by kind of file, as text."""
        kinds = sorted({kind for kind, _ in self.counts})
        rows = [["", *OUTCOMES]]
        rows += [[kind, *(str(self.counts[kind, outcome]) for outcome in OUTCOMES)] for kind in kinds]
        rows.append(["all", *(str(sum(self.counts[kind, outcome] for kind in kinds)) for outcome in OUTCOMES)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join("  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in rows)


def run(seed: int, numbers: range, *, workers: int = 2, only: str = "") -> Result:
    """Run cases, and count how they ended.

    Parameters
    ----------
    seed : int
        Of all cases.
    numbers : range
        Which cases.
    workers : int
        Processes at a time.
    only : str
        Kind of file; empty for all.
    """
    result, todo, lock = Result(), iter(numbers), threading.Lock()

    def work() -> None:
        with TemporaryDirectory() as folder:
            worker = _Worker(seed, folder, only)
            try:
                while True:
                    with lock:
                        number = next(todo, None)
                    if number is None:
                        return
                    kind, outcome, detail = worker.outcome(number)
                    with lock:
                        result.counts[kind, outcome] += 1
                        if outcome not in OUTCOMES[:2]:
                            result.faults.append((number, kind, outcome, detail))
            finally:
                worker.stop()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.faults.sort()
    return result


class _Worker:
    """A process that works on cases by their number, and is started anew when it has died."""

    def __init__(self, seed: int, folder: str, only: str) -> None:
        self._command = [sys.executable, "-m", "tests.fuzz.runner", str(seed), folder, only]
        self._process: subprocess.Popen | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()

    def outcome(self, number: int) -> tuple[str, str, str]:
        """Kind, outcome and detail of a case."""
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None and process.stdin is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        kind = "unknown"
        try:
            while (line := self._lines.get(timeout=_PATIENCE * _SECONDS)) is not None:
                word, _, rest = line.partition("\t")
                if word == "began":
                    kind = rest
                elif word == "ended":
                    outcome, _, detail = rest.partition("\t")
                    return kind, outcome, detail
        except queue.Empty:
            self.stop()
            return kind, "hang", "on the clock"
        code = process.wait()
        self.stop()
        if -code in (signal.SIGPROF, signal.SIGXCPU):
            return kind, "hang", f"{_SECONDS} s"
        return kind, "memory" if -code == signal.SIGKILL else "abort", f"exit code {code}"

    def _start(self) -> None:
        lines: queue.Queue[str | None] = queue.Queue()
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        self._process, self._lines = process, lines
        stream = process.stdout

        def listen() -> None:
            for line in stream:
                lines.put(line.rstrip("\n"))
            lines.put(None)

        threading.Thread(target=listen, daemon=True).start()
        # Imports and whole files are not part of the first case; beside other work they take minutes.
        if lines.get(timeout=1800) != "ready":
            raise RuntimeError("a worker of the fuzzer does not start")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            with self._process:  # waits, and closes the pipes
                self._process = None


def _serve(seed: int, folder: Path, only: str) -> None:
    """What a worker process does: numbers come in, outcomes go out."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is not an outcome
    from .samples import samples

    known = samples()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras  # noqa: F401  (its start is not part of a case)

    resource.setrlimit(resource.RLIMIT_AS, (_size() + _BYTES, -1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", file=out)
    for number in _numbers():
        _one(seed, number, known, folder, only, out)


def _size() -> int:
    """Address space of this process as it is, in bytes: TensorFlow takes much of it that is never used."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _numbers() -> Iterator[int]:
    for line in sys.stdin:
        yield int(line)


def _one(seed: int, number: int, known: list, root: Path, only: str, out: object) -> None:
    from .cases import case_of
    from .targets import read

    with TemporaryDirectory(dir=root) as folder:
        case = case_of(seed, number, known, Path(folder), only)
        print(f"began\t{case.kind}", file=out)  # type: ignore[call-overload]
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)
        outcome, detail = _outcome(lambda: read(case.kind, Path(folder) / case.name))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(f"ended\t{outcome}\t{case.name} ({case.how}): {detail}", file=out)  # type: ignore[call-overload]


def _outcome(action: object) -> tuple[str, str]:
    from morpheus_lite.errors import MorpheusError

    from .targets import ZeroNoise

    try:
        action()  # type: ignore[operator]
    except MorpheusError as error:
        return "clear error", " ".join(str(error).split())[:300]
    except ZeroNoise as error:
        return "rms 0 where valid", str(error)
    except MemoryError as error:
        return "memory", _where(error)
    except Exception as error:
        return "foreign exception", f"{type(error).__name__}: {' '.join(str(error).split())[:120]} {_where(error)}"
    return "read", ""


def _where(error: BaseException) -> str:
    """The last line of this package that an error went through, and the one that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "morpheus_lite" in frame.filename] or frames
    return " <- ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (frames[-1], ours[-1]))


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
