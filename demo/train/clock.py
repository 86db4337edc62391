"""Wall-clock budget of a stage, its log and its checkpoints."""

import math
import time
import traceback
from pathlib import Path


class Clock:
    """Counts the time a stage may take; `spent` is what earlier, interrupted runs used of it."""

    def __init__(self, seconds: float, spent: float = 0.0):
        self.seconds, self.start = max(seconds, 1e-3), time.monotonic() - spent

    def spent(self) -> float:
        return time.monotonic() - self.start

    def fraction(self) -> float:
        return self.spent() / self.seconds


def rate(fraction: float, warm: float = 0.015, hold: float = 0.5) -> float:
    """Warm-up, plateau, then a cosine down to zero."""
    if fraction < warm:
        return max(fraction / warm, 0.01)
    if fraction < hold:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min((fraction - hold) / (1 - hold), 1.0)))


class Log:
    def __init__(self, folder: Path, name: str, columns: list[str]):
        folder.mkdir(parents=True, exist_ok=True)
        self.text, self.table = folder / "log.txt", folder / f"{name}.csv"
        self.name, self.columns, self.begin = name, columns, time.monotonic()
        if not self.table.exists():
            self.table.write_text(",".join(columns) + "\n")

    def row(self, **values):
        with open(self.table, "a") as file:
            file.write(",".join(f"{values[c]:.6g}" for c in self.columns) + "\n")

    def say(self, message: str):
        line = f"[{self.name} {time.monotonic() - self.begin:7.1f}s] {message}"
        print(line, flush=True)
        with open(self.text, "a") as file:
            file.write(line + "\n")

    def attempt(self, what: str, action, *args, **kwargs):
        """Runs something that training can do without."""
        try:
            return action(*args, **kwargs)
        except Exception:
            self.say(f"{what} failed:\n{traceback.format_exc()}")
            return None
