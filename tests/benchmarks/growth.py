"""(4) Time and peak memory of one epoch as the table grows in rows and in columns."""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from pipeline.compose import load_config
from pipeline.train import train
from tests.benchmarks.harness import Case, Line, Round, Sample, peak_mb, process, ratio, seconds
from tests.benchmarks.tables import overrides, table_file

LEAST = "1e3 x 20"  # stands for what is loaded before any data is
MEMORY_TARGET = 2  # times the prepared arrays
LARGE = 32_000_000  # bytes of prepared arrays, below which what a network needs weighs more than they
TIME_TARGET = 1.5  # a row at 1e6 rows over one at 1e5


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """One case: every size is a contestant."""
    rows = [3, 4] if quick else [3, 4, 5, 6]
    sizes = {f"1e{power} x 20": (10**power, 20, "float64") for power in rows}
    sizes |= {} if quick else {"1e6 x 20, float32": (10**6, 20, "float32")}
    sizes |= {f"1e4 x {n}": (10**4, n, "float64") for n in ([10] if quick else [10, 100, 1000])}
    contestants = {name: partial(_epoch, folder, *size) for name, size in sizes.items()}
    lines = [line for name, size in sizes.items() for line in _lines(name, *size[:2])]
    slow = [] if quick else [ratio("1e6 x 20", "1e5 x 20", "us_per_row", TIME_TARGET)]
    return [Case("1 epoch", contestants, [*lines, *slow])]


def _lines(name: str, n_rows: int, n_columns: int) -> list[Line]:
    """Seconds a million cells, and peak memory over N, the bytes of the prepared arrays."""
    n_bytes = 4 * n_rows * n_columns

    def seconds_per_million(taken: Round) -> float:
        return taken[name]["s"] / (n_rows * n_columns / 1e6)

    def peak_over_n(taken: Round) -> float:
        return (taken[name]["peak_mb"] - taken[LEAST]["peak_mb"]) * 1e6 / n_bytes

    memory = Line(f"peak / N: {name}", peak_over_n, MEMORY_TARGET if n_bytes >= LARGE else None)
    return [Line(f"s per 1e6 cells: {name}", seconds_per_million), *([] if name == LEAST else [memory])]


def _epoch(folder: Path, n_rows: int, n_columns: int, dtype: str) -> Sample:
    """A process of its own, whose peak is nobody else's, and a root of its own, where nothing is cached."""
    file = table_file(folder, n_rows, n_float=n_columns, dtype=dtype)
    with tempfile.TemporaryDirectory(dir=folder) as root:
        asked = [*overrides(file, Path(root)), "trainer.batch_size=1024", "trainer.max_epochs=1"]
        taken: dict[str, float] = json.loads(process("-m", __name__, *asked, folder=folder)[1])
    return {**taken, "us_per_row": 1e6 * taken["s"] / n_rows}


def _main() -> None:
    """What the process runs: train as asked, tell seconds and peak."""
    config = load_config(sys.argv[1:])
    taken = seconds(lambda: train(config))
    sys.stdout.write(json.dumps({**taken, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    _main()
