"""(10) The test loss of `model=auto` against that of each network, a split a round.

The tables are scikit-learn's, or those of a folder named by TABLES: its `datasets.json` has, by a table's name, `file`
(a CSV in that folder), `target`, `task`, and `drop` if there is something to leave out.
"""

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from pipeline.compose import load_config
from pipeline.metrics import LOSS_METRIC
from pipeline.train import train
from tests.benchmarks.harness import Case, Line, Round, Sample, ratio

NETWORKS = ("mlp", "realmlp", "tabm")
AT_MOST = 1.02  # times the least loss
SHIPPED = ("breast_cancer", "wine", "diabetes", "digits")


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """A case a table."""
    place = os.environ.get("TABLES")
    tables = _in_folder(Path(place)) if place else {name: [f"data={name}"] for name in SHIPPED[: 1 if quick else None]}
    short = ["trainer.max_epochs=1"] if quick else []
    return [_case(name, [*table, *short, f"tracking.root={folder}/mlruns"]) for name, table in tables.items()]


def _in_folder(folder: Path) -> dict[str, list[str]]:
    """The overrides that make each table, by its name."""
    known: Mapping[str, Mapping[str, Any]] = json.loads((folder / "datasets.json").read_text())
    return {
        name: ["data=csv", f"data.path='{folder.resolve() / table['file']}'", f"data.target='{table['target']}'",
               f"data.task={table['task']}", f"data.drop={json.dumps(table.get('drop', []))}"]
        for name, table in known.items()
    }  # fmt: skip


def _case(name: str, table: list[str]) -> Case:
    contestants = {model: partial(_fit, [*table, f"model={model}"], count()) for model in ("auto", *NETWORKS)}
    lines = [ratio("auto", model, "loss") for model in NETWORKS]
    return Case(name, contestants, [*lines, Line("loss: auto / best", _over_best, AT_MOST)])


def _fit(overrides: list[str], splits: Iterator[int]) -> Sample:
    """Seconds, and log loss or RMSE on the test rows, of the next split."""
    split = next(splits)
    asked = [*overrides, f"data.split_seed={split}", f"seed={split}", "tracking=none", "doctor=off", "baselines=[]"]
    result = train(load_config(asked))
    loss = next(result.test[metric].value for metric in set(LOSS_METRIC.values()) if metric in result.test)
    return {"s": result.seconds, "loss": loss}


def _over_best(taken: Round) -> float:
    return taken["auto"]["loss"] / min(taken[model]["loss"] for model in NETWORKS)
