"""Contestants measured in turn, in one sitting, and compared: medians, ranges, ratios of each round."""

import gc
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

Sample = Mapping[str, float]  # what a contestant took, by quantity
Round = Mapping[str, Sample]  # by contestant
Results = dict[str, dict[str, Any]]  # of a bench by case: what is kept as JSON

ROOT = Path(__file__).resolve().parents[2]


class LeftOutError(Exception):
    """A bench cannot run on this machine; the message says why."""


@dataclass(frozen=True)
class Line:
    """A number that each round gives, and what its median should be at most, where it has a target."""

    name: str
    of: Callable[[Round], float]
    at_most: float | None = None


@dataclass(frozen=True)
class Case:
    """Contestants at the same work, and what is said of them."""

    name: str
    contestants: Mapping[str, Callable[[], Sample]]
    lines: Sequence[Line]


def ratio(ours: str, other: str, quantity: str = "s", at_most: float | None = None) -> Line:
    """A quantity of one contestant over that of another."""
    return Line(f"{quantity}: {ours} / {other}", lambda taken: taken[ours][quantity] / taken[other][quantity], at_most)


def seconds(work: Callable[[], object]) -> Sample:
    """What a piece of work takes."""
    start = time.perf_counter()
    work()
    return {"s": time.perf_counter() - start}


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


def process(*arguments: str, folder: Path, code: int = 0) -> tuple[float, str]:
    """Run this Python in `folder`: seconds and standard output; `code` is how it has to end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    taken = time.perf_counter() - start
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return taken, done.stdout


def measure(cases: Sequence[Case], repeats: int, *, warm_up: bool, say: Callable[[str], None]) -> Results:
    """Measure every case `repeats` times, round by round; a warm-up fills the caches and does not count."""
    rounds: dict[str, list[Round]] = {case.name: [] for case in cases}
    for number in range(0 if warm_up else 1, repeats + 1):
        for case in cases:
            say(f"round {number} of {repeats}: {case.name}")
            taken = _play(case, number)
            if number > 0:
                rounds[case.name].append(taken)
    return {case.name: _result(case, rounds[case.name]) for case in cases}


def _play(case: Case, number: int) -> Round:
    """A sample of each contestant; each second round goes backwards, so that none always comes first."""
    names = list(case.contestants)
    taken = {}
    for name in names if number % 2 else names[::-1]:
        gc.collect()  # nobody pays for what the one before left
        taken[name] = case.contestants[name]()
    return taken


def _result(case: Case, rounds: Sequence[Round]) -> dict[str, Any]:
    return {"rounds": rounds, "lines": {line.name: _judged(line, rounds) for line in case.lines}}


def _judged(line: Line, rounds: Sequence[Round]) -> dict[str, Any]:
    each = [line.of(taken) for taken in rounds]
    met = None if line.at_most is None else median(each) <= line.at_most
    return {"each": each, "median": median(each), "at_most": line.at_most, "met": met}


def last_medians(folder: Path, *, quick: bool) -> dict[tuple[str, str, str], float]:
    """The median that each bench's line had when it was measured last, at the same sizes."""
    known: dict[tuple[str, str, str], float] = {}
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text())
        for bench, results in content["benches"].items() if content["quick"] == quick else ():
            for case, result in results.items():
                known |= {(bench, case, name): line["median"] for name, line in result["lines"].items()}
    return known


def contestants_table(bench: str, results: Results) -> Table:
    """What each contestant took."""
    table = _table(bench, ["case", "contestant", "quantity"], ["median", "range"])
    for case, result in results.items():
        rounds = result["rounds"]
        for contestant, sample in rounds[0].items():
            for quantity in sample:
                each = [taken[contestant][quantity] for taken in rounds]
                table.add_row(case, contestant, quantity, _number(median(each)), _range(each))
    return table


def lines_table(bench: str, results: Results, last: Mapping[tuple[str, str, str], float]) -> Table:
    """What is compared, beside its target and the last time."""
    table = _table(bench, ["case", "compared"], ["median", "range", "at most", "met", "last time"])
    for case, result in results.items():
        for name, line in result["lines"].items():
            met = {True: "yes", False: "[bold red]no", None: ""}[line["met"]]
            target, before = _number(line["at_most"]), _number(last.get((bench, case, name)))
            table.add_row(case, name, _number(line["median"]), _range(line["each"]), target, met, before)
    return table


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in (*texts, *numbers):
        table.add_column(heading, justify="right" if heading in numbers else "left")
    return table


def _range(each: Sequence[float]) -> str:
    return f"{_number(min(each))} to {_number(max(each))}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
