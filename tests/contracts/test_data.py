"""What every source gives: a table that can be split, prepared, kept and read again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from pipeline.compose import load_config
from pipeline.config import Data, Preprocess
from pipeline.data.prepared import prepare
from pipeline.data.preprocess import Preprocessor
from pipeline.data.sources import SOURCES
from pipeline.data.splits import split_table
from pipeline.errors import DataError
from pipeline.types import Table, Task
from tests.conftest import mixed_frame, quick, write_csv
from tests.test_preprocess import fitted_to, rows_of
from tests.test_sources import whole_table

PREPROCESS = Preprocess(scaling="standard", min_frequency=5, max_onehot=9)
IRIS = load_config(["data=iris"]).data


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
    table = whole_table(data)
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
    one, two = whole_table(data), whole_table(data)
    assert one.digest == two.digest
    assert len(one.digest) == 32
    assert one.frame.equals(two.frame)
    assert one.targets.equals(two.targets)
    assert one.notes == two.notes


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "none"])
def test_a_source_can_be_split_and_prepared(data: Data, scaling: str) -> None:
    table = whole_table(data)
    splits = split_table(table, data)
    np.testing.assert_array_equal(np.sort(np.concatenate(splits)), np.arange(len(table.frame)))
    preprocessor = fitted_to(table, splits.train, PREPROCESS.model_copy(update={"scaling": scaling}))
    features = preprocessor.features_
    for rows in splits:
        num, cat, y = rows_of(preprocessor, table, rows)
        assert (num.shape, cat.shape) == ((len(rows), features.n_num), (len(rows), len(features.cardinalities)))
        assert np.isfinite(num).all()
        assert ((cat >= 0) & (cat < features.cardinalities)).all()
        assert y.shape == ((len(rows), features.n_outputs) if table.task == "regression" else (len(rows),))
        assert np.isfinite(y).all()
    assert sum(features.class_counts) == (0 if table.task == "regression" else len(splits.train))


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "none"])
def test_a_preprocessor_is_the_same_after_json(data: Data, scaling: str) -> None:
    table = whole_table(data)
    rows = split_table(table, data).train
    for settings in ({"scaling": scaling}, {"scaling": scaling, "max_onehot": 0, "min_frequency": 1}):
        one = fitted_to(table, rows, PREPROCESS.model_copy(update=settings))
        text = json.dumps(one.to_dict(), allow_nan=False)
        two = Preprocessor.from_dict(json.loads(text))
        assert json.dumps(two.to_dict()) == text
        assert (two.config, two.features_, two.dropped_) == (one.config, one.features_, one.dropped_)
        assert two.sources() == one.sources()
        every = np.arange(table.n_rows)
        for first, second in zip(rows_of(one, table, every), rows_of(two, table, every), strict=True):
            assert first.dtype == second.dtype
            assert first.tobytes() == second.tobytes()


def test_a_table_prepared_is_the_same_when_it_is_taken_from_the_cache(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick().model_copy(update={"data": data})
    made = prepare(config)
    monkeypatch.delitem(SOURCES, data.name)
    kept = prepare(config)
    assert kept.table.notes == made.table.notes
    assert (kept.table.source, kept.table.digest) == (made.table.source, made.table.digest)
    assert kept.table.frame.dtypes.equals(made.table.frame.dtypes)
    for part in ("train", "val", "test", "splits"):
        for one, two in zip(getattr(made, part), getattr(kept, part), strict=True):
            np.testing.assert_array_equal(one, two)


@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=7),
    test_size=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**32 - 1),
)
def test_split_rows_are_scikit_learns(counts: list[int], test_size: float, seed: int) -> None:
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    classes = tuple(map(str, range(len(counts))))
    frame, targets = pd.DataFrame({"x": codes}), pd.DataFrame({"y": codes})
    section = IRIS.model_copy(update={"test_size": test_size, "split_seed": seed, "val_size": 0.2})
    cases: list[tuple[Task, np.ndarray | None]] = [("multiclass", codes), ("regression", None)]
    for task, labels in cases:
        table = Table("t", "", "", frame, targets, task, classes if task == "multiclass" else ())
        try:
            splits = split_table(table, section)
        except DataError:
            continue
        rest, test = train_test_split(np.arange(len(codes)), test_size=test_size, random_state=seed, stratify=labels)
        share = round(0.2 / (1 - test_size), 12)
        strata = None if labels is None else labels[rest]
        train, val = train_test_split(rest, test_size=share, random_state=seed, stratify=strata)
        for own, expected in zip(splits, (train, val, test), strict=True):
            np.testing.assert_array_equal(own, expected)
