"""Runs a command in a process of its own and watches that process's memory."""

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_SECONDS = 0.005


@dataclass
class Sample:
    """Resident bytes of a process: of its own memory, and of the files that it maps."""

    seconds: float
    anonymous: int
    file: int


@dataclass
class Outcome:
    # Negative for a signal, as in subprocess.
    status: int
    seconds: float
    stdout: str
    stderr: str
    peak_anonymous: int = 0
    peak_file: int = 0
    # The last ones before the end.
    tail: list[Sample] = field(default_factory=list)


def run(
    command: list[str],
    enter: Callable[[], None] | None = None,
    env: dict[str, str] | None = None,
    on_sample: Callable[[Sample], None] | None = None,
) -> Outcome:
    """Runs it to its end. `enter` is called in the new process before the command."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=env, preexec_fn=enter)
        outcome = Outcome(0, 0, "", "")
        try:
            watch(child, start, outcome, on_sample)
        finally:
            # Only after an interruption: a reader of 20 GB does not notice that nobody waits.
            if child.poll() is None:
                child.kill()
                child.wait()
        outcome.status, outcome.seconds = child.returncode, time.perf_counter() - start
        for name, file in ("stdout", stdout), ("stderr", stderr):
            file.seek(0)
            setattr(outcome, name, file.read())
    return outcome


def watch(child: subprocess.Popen, start: float, outcome: Outcome, on_sample: Callable[[Sample], None] | None):
    status = Path(f"/proc/{child.pid}/status")
    while child.poll() is None:
        sample = read_status(status, time.perf_counter() - start)
        if sample:
            outcome.peak_anonymous = max(outcome.peak_anonymous, sample.anonymous)
            outcome.peak_file = max(outcome.peak_file, sample.file)
            outcome.tail = [*outcome.tail[-9:], sample]
            if on_sample:
                on_sample(sample)
        time.sleep(SAMPLE_SECONDS)


def read_status(path: Path, seconds: float) -> Sample | None:
    """`None` once the process has no memory any more."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    if "RssAnon" not in kib:
        return None
    return Sample(seconds, 1024 * kib["RssAnon"], 1024 * kib["RssFile"])
