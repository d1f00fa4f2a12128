"""Every baseline, where its package is installed, answers every task in the shape and unit of the metrics."""

from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from pipeline.baselines import BASELINES, BOOSTING, fit_baselines
from pipeline.config import Baseline
from pipeline.data.datamodule import TableDataModule
from tests.conftest import mixed_frame, quick, write_csv

TARGETS = {"bought": 2, "grade": 4, "amount": 1, "[amount,second]": 2}
INSTALLED = [name for name in BASELINES if name not in BOOSTING or find_spec(name)]


def test_what_can_be_asked_for_is_what_there_is() -> None:
    assert get_args(Baseline) == (*BASELINES,)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in BOOSTING else []) for name in INSTALLED]
)
def test_a_baseline_answers_with_one_seed_the_same_and_learns(name: str, target: str, tmp_path: Path) -> None:
    drop = {"bought", "grade", "amount", "second"} - {*target.strip("[]").split(",")}
    path = write_csv(tmp_path / "shop.csv", mixed_frame(400), drop=sorted(drop))
    data = TableDataModule(quick("data=csv", f"data.path={path}", f"data.target={target}"))
    data.setup()
    found, again = (fit_baselines([name], data, seed=0)[name] for _ in range(2))
    y = data.targets(data.splits.test)
    assert found.test.shape == (len(data.splits.test), TARGETS[target])
    assert found.val.shape == (len(data.splits.val), TARGETS[target])
    assert np.array_equal(found.test, again.test)
    if data.table.task == "regression":
        error = np.square(y - found.test).mean() / np.square(y - y.mean(axis=0)).mean()
        assert error < (0.5 if name != "dummy" else 1.1)
    else:
        np.testing.assert_allclose(found.test.sum(axis=1), 1, rtol=1e-5)
        assert (found.test.argmax(axis=1) == y).mean() > (0.7 if name != "dummy" else 0.2)
