"""How runs and experiments are named and described; what the store then holds is in test_tracking."""

import re
import subprocess

import numpy as np
import pandas as pd
import pytest

from pipeline.compose import flatten
from pipeline.data.datamodule import TableDataModule
from pipeline.record import _git, _mlflow_type, experiment_note, run_name, split_digest
from tests.conftest import quick


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("optimizer.lr=1e-3", "mlp-adam-1e-3-"),
        ("optimizer.lr=0.05", "mlp-adam-5e-2-"),
        ("optimizer.lr=2", "mlp-adam-2e0-"),
        ("optimizer=rmsprop", "mlp-rmsprop-1e-3-"),
    ],
)
def test_a_run_is_named_after_model_optimizer_and_rate(override: str, name: str) -> None:
    assert re.fullmatch(re.escape(name) + "[0-9a-f]{4}", run_name(quick(override)))


def test_two_runs_have_different_names() -> None:
    assert len({run_name(quick()) for _ in range(5)}) > 1


def test_an_experiment_tells_its_data() -> None:
    data = TableDataModule(quick())
    data.setup()
    note = experiment_note(data.table)
    assert note.startswith("**iris**: multiclass, 150 rows, 4 features, target `target`.\n\nSource: `sklearn.datasets.")


def test_asplit_digest_names_rows_of_one_table() -> None:
    data = TableDataModule(quick())
    data.setup()
    train, test = (split_digest(data.table, rows) for rows in (data.splits.train, data.splits.test))
    assert train != test
    assert test == split_digest(data.table, data.splits.test.copy())
    assert re.fullmatch("[0-9a-f]{32}", train)


def test_settings_are_flat_params() -> None:
    assert flatten({"seed": 0, "model": {"hidden": [1, 2], "deep": {"x": None}}}) == {
        "seed": 0,
        "model.hidden": [1, 2],
        "model.deep.x": None,
    }


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, False], "boolean"),
        ([1, 2], "long"),
        ([0.5, 1.0], "double"),
        (["a", "b"], "string"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "datetime"),
        (pd.array([1, None], dtype="Int64"), "long"),
        (np.array([1, 2], dtype=np.uint8), "long"),
    ],
)
def test_columns_have_mlflows_types(values: object, kind: str) -> None:
    assert _mlflow_type(str(pd.Series(values).dtype)) == kind


def test_a_repository_without_a_commit_has_none_to_tell() -> None:
    assert _git() == {}
    subprocess.run(["git", "init", "-q"], check=True)
    assert _git() == {}
