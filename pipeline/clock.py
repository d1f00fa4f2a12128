"""Where a run's time goes: seconds by part, each second counted once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

PARTS = ("import", "data", "compute", "evaluation", "baselines", "doctor", "bundle", "checkpoint", "tracking", "report")
LARGE_SHARE = 1 / 3  # of the run, from which what is not compute is worth a line


def median_seconds(call: Callable[[], object], times: int = 9) -> float:
    """The median time that a call takes, in seconds; a first one, which may have to load things, is left out."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return median(taken)


class Clock:
    """Charges time to the part that was entered last and not yet left.

    Attributes:
        seconds: seconds by part, in the order of PARTS.
    """

    def __init__(self, import_seconds: float = 0.0) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0) | {"import": import_seconds}
        self._open: list[str] = []
        self._mark = time.perf_counter()

    def enter(self, part: str) -> None:
        """Charge to `part` from now on."""
        self._charge()
        self._open.append(part)

    def leave(self) -> None:
        """Charge to the part before again."""
        self._charge()
        self._open.pop()

    @contextmanager
    def part(self, part: str) -> Iterator[None]:
        """Charge a block to `part`, but for the parts entered inside it."""
        self.enter(part)
        try:
            yield
        finally:
            self.leave()

    def total(self) -> float:
        """Seconds of all parts so far, but for the one under way."""
        return sum(self.seconds.values())

    def overhead(self) -> str | None:
        """One line when what is not compute exceeds a third of the run, naming the largest part; else None."""
        total = self.total()
        others = {part: seconds for part, seconds in self.seconds.items() if part != "compute"}
        spent = sum(others.values())
        if spent <= LARGE_SHARE * total:
            return None
        largest = max(others, key=lambda part: others[part])
        return f"{spent:.1f} of {total:.1f} s were not training; the largest part is {largest}, {others[largest]:.1f} s"

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._mark
        self._mark = now
