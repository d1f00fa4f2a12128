"""`make bench`: measures speed, prints tables, keeps the numbers under mlruns/bench."""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import auto, ensembles, growth, predict, reading, serving, startup, steps, study, tracking, whole
from tests.benchmarks.harness import ROOT, Case, LeftOutError, contestants_table, last_medians, lines_table, measure

BENCHES: dict[str, Callable[..., list[Case]]] = {
    module.__name__.rpartition(".")[2]: module.cases
    for module in (steps, whole, ensembles, tracking, growth, reading, startup, study, serving, predict, auto)
}
KEPT = Path("mlruns") / "bench"
LEAST_REPEATS = 3
SILENCED = ("pipeline", "pytorch_lightning", "lightning_fabric")  # loggers


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benches named, all where none is."""
    asked = _parse(arguments)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # nobody's server is measured, or written to
    warnings.simplefilter("ignore")
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.ERROR)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    sitting = _sitting(asked.quick)
    last = last_medians(KEPT, quick=asked.quick)
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        for name in asked.benches or BENCHES:
            try:
                with console.status(name) as status:
                    cases = BENCHES[name](Path(folder), quick=asked.quick)
                    results = measure(cases, asked.repeats, warm_up=not asked.quick, say=status.update)
            except LeftOutError as reason:
                console.print(f"{name}: left out, {reason}")
                continue
            sitting["benches"][name] = results
            file = _keep(sitting)  # after each, so that Ctrl-C loses no more than one
            console.print(contestants_table(name, results), lines_table(name, results, last), f"kept in {file}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=", ".join(BENCHES))
    parser.add_argument("--repeats", type=int, default=LEAST_REPEATS, metavar="N", help="rounds that count")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only whether it works")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.benches if name not in BENCHES]:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    least = 1 if asked.quick else LEAST_REPEATS
    if asked.repeats < least:
        parser.error(f"--repeats must be at least {least}, got {asked.repeats}")
    return asked


def _sitting(quick: bool) -> dict[str, Any]:
    """Where and on what it was measured."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    libraries = ("torch", "pytorch-lightning", "mlflow", "scikit-learn", "pandas", "numpy", "pyarrow")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries},
        "commit": commit.stdout.strip(),
        "quick": quick,
        "benches": {},
    }


def _keep(sitting: dict[str, Any]) -> Path:
    KEPT.mkdir(parents=True, exist_ok=True)
    file = KEPT / f"{sitting['time'].replace(':', '').removesuffix('+0000')}.json"
    file.write_text(json.dumps(sitting, indent=1))
    return file


if __name__ == "__main__":
    main()
