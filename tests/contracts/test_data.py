"""What every source gives: a table that can be split, prepared and read again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.utils import Bunch

from pipeline.compose import load_config
from pipeline.config import Data, Preprocess
from pipeline.data.preprocess import Preprocessor
from pipeline.data.sources import SOURCES, load_table
from pipeline.data.splits import split_table
from tests.conftest import mixed_frame, write_csv

PREPROCESS = Preprocess(scaling="standard", min_frequency=5, max_onehot=9)


def own_bunch(name: str) -> Any:
    """In place of scikit-learn's fetchers, which need a network."""
    bunch: Bunch = (load_diabetes if name == "california_housing" else load_iris)(as_frame=True)
    return lambda **_: Bunch(frame=bunch.frame, target_names=["target"], details={"id": "1"})


@pytest.fixture(params=SOURCES)
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    """The section of each registered source, with files and fetchers in place."""
    path = write_csv(tmp_path / "table.csv", mixed_frame(), drop=["second", "amount", "bought"])
    for name in ("california_housing", "openml"):
        monkeypatch.setattr(f"sklearn.datasets.fetch_{name}", own_bunch(name))
    needed = {
        "csv": [f"data.path={path}", "data.target=grade"],
        "mobile_price": [f"data.path={path}", "data.target=grade"],
        "openml": ["data.dataset=iris"],
    }
    return load_config([f"data={request.param}", *needed.get(request.param, [])]).data


def test_a_source_gives_a_sound_table(data: Data) -> None:
    table = load_table(data)
    n_rows = len(table.frame)
    assert table.name
    assert table.source
    assert len(table.targets) == n_rows > 100
    assert not set(table.targets) & set(table.frame)
    assert all(isinstance(name, str) for name in [*table.frame, *table.targets])
    assert not table.targets.isna().to_numpy().any()
    assert table.notes[0].startswith("task: ")
    if table.task == "regression":
        assert (table.classes, table.targets.dtypes.iloc[0]) == ((), np.float64)
    else:
        codes = table.targets.iloc[:, 0]
        assert codes.dtype == np.int64
        assert sorted(codes.unique()) == list(range(len(table.classes)))


def test_a_source_reads_the_same_again(data: Data) -> None:
    one, two = load_table(data), load_table(data)
    assert one.digest == two.digest
    assert len(one.digest) == 32
    assert one.frame.equals(two.frame)
    assert one.targets.equals(two.targets)
    assert one.notes == two.notes


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "none"])
def test_a_source_can_be_split_and_prepared(data: Data, scaling: str) -> None:
    table = load_table(data)
    splits = split_table(table, data)
    np.testing.assert_array_equal(np.sort(np.concatenate(splits)), np.arange(len(table.frame)))
    preprocessor = Preprocessor(PREPROCESS.model_copy(update={"scaling": scaling})).fit(table, splits.train)
    features = preprocessor.features_
    for rows in splits:
        num, cat, y = preprocessor.arrays(table, rows)
        assert (num.shape, cat.shape) == ((len(rows), features.n_num), (len(rows), len(features.cardinalities)))
        assert np.isfinite(num).all()
        assert ((cat >= 0) & (cat < features.cardinalities)).all()
        assert y.shape == ((len(rows), features.n_outputs) if table.task == "regression" else (len(rows),))
        assert np.isfinite(y).all()
    assert sum(features.class_counts) == (0 if table.task == "regression" else len(splits.train))
