"""Runs one job in a fresh process, so that its CPU time and its peak of memory are its own.

A job is a function that takes and returns JSON values. `python -m dangol.bench.child MODULE:FUNCTION` reads
its arguments as one JSON line and writes its answer as the last line of standard output.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from dangol.errors import DangolError

__all__ = ["JobFailed", "Served", "Usage", "answer_of", "measured", "run_job", "serving"]

_SAMPLE_SECONDS = 0.02
_DRAIN_SECONDS = 60
Job = Callable[..., dict[str, Any]]


class JobFailed(DangolError):
    """A job of the bench ended with an error, or its result is not what the batch oracle says."""


class Usage:
    """What a stretch of this process has used; filled in when the stretch ends."""

    wall = cpu = 0.0
    peak_rss_mb = peak_anon_mb = 0.0

    def figures(self, lines: int) -> dict[str, Any]:
        """Return all of it, with the rates for so many lines."""
        return {
            "lines": lines,
            "wall": self.wall,
            "cpu": self.cpu,
            "lines_per_second": lines / max(self.wall, 1e-9),
            "lines_per_cpu_second": lines / max(self.cpu, 1e-9),
            "peak_rss_mb": self.peak_rss_mb,
            "peak_anon_mb": self.peak_anon_mb,
        }


@contextlib.contextmanager
def measured() -> Iterator[Usage]:
    """Measure a `with` block: wall clock, CPU of all threads, and the peak of resident memory.

    The peak is the process's (VmHWM), code and mapped files with it; that of private memory is sampled.
    """
    usage, ended = Usage(), threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            usage.peak_anon_mb = max(usage.peak_anon_mb, _memory_mb("RssAnon"))

    watcher = threading.Thread(target=sample, daemon=True)
    usage.peak_anon_mb = _memory_mb("RssAnon")
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield usage
    finally:
        usage.cpu, usage.wall = time.process_time() - cpu, time.perf_counter() - wall
        ended.set()
        watcher.join()
        usage.peak_anon_mb = max(usage.peak_anon_mb, _memory_mb("RssAnon"))
        usage.peak_rss_mb = _memory_mb("VmHWM")


def _memory_mb(name: str) -> float:
    """Read one figure of this process from the kernel; 0 where there is no such file."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    return 0.0


def run_job(job: Job, **arguments: Any) -> dict[str, Any]:
    """Run `job` in a fresh process and return its answer; raises JobFailed with what it said."""
    name = f"{job.__module__}:{job.__name__}"
    command = [sys.executable, "-m", __name__, name]
    return answer_of(name, command, json.dumps(arguments, default=str))


def answer_of(name: str, command: Sequence[str], text: str = "") -> dict[str, Any]:
    """Run any command that answers with a line of JSON; raises JobFailed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)  # noqa: S603
    return _answer(name, done.stdout, done.stderr, done.returncode)


def _answer(name: str, out: str, err: str, code: int) -> dict[str, Any]:
    """Read a job's answer off its last line; raises JobFailed with what it said instead."""
    told = out.strip().splitlines()
    answer: dict[str, Any] = json.loads(told[-1]) if told and told[-1].startswith("{") else {}
    if code or not answer or "error" in answer:
        why = answer.get("error") or (err.strip().splitlines() or [f"exit code {code}"])[-1]
        message = f"the bench job {name} failed: {why}"
        raise JobFailed(message)
    return answer


class Served:
    """A server in a process of its own; `url` until the `serving` block ends, `figures` after it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.figures: dict[str, Any] = {}


@contextlib.contextmanager
def serving(job: Job, **arguments: Any) -> Iterator[Served]:
    """Run a server job: it writes `{"url": …}`, serves until its input ends, and then answers."""
    name = f"{job.__module__}:{job.__name__}"
    command = [sys.executable, "-m", __name__, name]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+") as said,  # a pipe that nobody reads would fill up
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True) as process,  # noqa: S603
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(arguments, default=str) + "\n")
            process.stdin.flush()
            first = process.stdout.readline()
            if '"url"' not in first:
                _end(name, process, said, first)
            served = Served(json.loads(first)["url"])
            yield served
            served.figures = _end(name, process, said)
        finally:
            process.kill()


def _end(name: str, process: subprocess.Popen[str], said: IO[str], out: str = "") -> dict[str, Any]:
    """Close a job's input, wait for it to end, and read its answer."""
    out += process.communicate(timeout=_DRAIN_SECONDS)[0]
    said.seek(0)
    return _answer(name, out, said.read(), process.returncode)


def main() -> None:
    """Run the job that the command line names."""
    module, _, function = sys.argv[1].partition(":")
    arguments = json.loads(sys.stdin.readline())
    job: Job = getattr(importlib.import_module(module), function)
    try:
        answer = job(**arguments)
    except Exception as error:  # noqa: BLE001 - the top of this process; the parent raises it again
        answer = {
            "error": str(error) if isinstance(error, DangolError) else f"{type(error).__name__}: {error}"
        }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
