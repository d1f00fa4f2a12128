"""Baselines: each as scikit-learn used directly, kept between runs, beside every run but trials."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
from mlflow import MlflowClient
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_limits

from pipeline import baselines
from pipeline.baselines import BOOSTING, check_installed, fit_baselines, frame_of
from pipeline.compose import load_config
from pipeline.data.datamodule import TableDataModule
from pipeline.errors import ConfigError
from pipeline.tracking import connect
from pipeline.train import train, try_out
from pipeline.types import Arrays
from tests.conftest import Done, mixed_frame, quick, write_csv

pytestmark = pytest.mark.usefixtures("without_figures")

TARGETS = {"bought", "grade", "amount", "second"}


def shop(tmp_path: Path, target: str, *overrides: str) -> TableDataModule:
    """The mixed table with one or more targets, prepared; `city` is the one column of codes."""
    path = write_csv(tmp_path / "shop.csv", mixed_frame(300), drop=sorted(TARGETS - {*target.strip("[]").split(",")}))
    data = TableDataModule(quick("data=csv", f"data.path={path}", f"data.target={target}", *overrides))
    data.setup()
    return data


def inputs(arrays: Arrays) -> np.ndarray:
    return np.hstack([arrays.num, arrays.cat])


def encoded(data: TableDataModule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training, validation and test rows for a linear model: standardised numbers, one-hot codes."""
    n_num = data.features.n_num
    columns = make_column_transformer(
        (StandardScaler(), slice(0, n_num)), (OneHotEncoder(handle_unknown="ignore"), slice(n_num, None))
    )
    train_rows = columns.fit_transform(inputs(data.train))
    return train_rows, columns.transform(inputs(data.val)), columns.transform(inputs(data.test))


# ---------------------------------------------------------------- what they answer
@pytest.mark.parametrize("target", ["bought", "grade"])
def test_the_baselines_of_a_classification_are_scikit_learns(tmp_path: Path, target: str) -> None:
    data = shop(tmp_path, target, "preprocess=none")
    found, y = fit_baselines(["dummy", "linear", "hist_gb"], data, seed=3), data.targets(data.splits.train)
    dummy = DummyClassifier().fit(inputs(data.train), y)
    np.testing.assert_allclose(found["dummy"].test, dummy.predict_proba(inputs(data.test)))
    x, x_val, x_test = encoded(data)
    logistic = LogisticRegression(max_iter=2000).fit(x, y)
    np.testing.assert_allclose(found["linear"].val, logistic.predict_proba(x_val), atol=2e-3)
    np.testing.assert_allclose(found["linear"].test, logistic.predict_proba(x_test), atol=2e-3)
    trees = HistGradientBoostingClassifier(categorical_features=[data.features.n_num], random_state=3)
    trees.fit(inputs(data.train), y)
    np.testing.assert_allclose(found["hist_gb"].test, trees.predict_proba(inputs(data.test)), atol=1e-6)


@pytest.mark.parametrize("target", ["amount", "[amount,second]"])
def test_the_baselines_of_a_regression_are_scikit_learns_in_the_targets_own_unit(tmp_path: Path, target: str) -> None:
    data = shop(tmp_path, target)
    found, y = fit_baselines(["dummy", "linear", "hist_gb"], data, seed=0), data.targets(data.splits.train)
    assert {baseline.test.shape for baseline in found.values()} == {(len(data.splits.test), y.shape[1])}
    dummy = DummyRegressor().fit(inputs(data.train), y)
    np.testing.assert_allclose(found["dummy"].test, dummy.predict(inputs(data.test)).reshape(found["dummy"].test.shape))
    x, x_val, _ = encoded(data)
    np.testing.assert_allclose(found["linear"].val, Ridge().fit(x, y).predict(x_val).reshape(-1, y.shape[1]), rtol=1e-5)
    for place in range(y.shape[1]):
        trees = HistGradientBoostingRegressor(categorical_features=[data.features.n_num], random_state=0)
        trees.fit(inputs(data.train), y[:, place])
        np.testing.assert_allclose(found["hist_gb"].test[:, place], trees.predict(inputs(data.test)), rtol=1e-6)


def test_with_folds_a_validation_row_is_answered_by_what_was_fitted_without_its_fold(tmp_path: Path) -> None:
    data = shop(tmp_path, "amount", "trainer.folds=4")
    assert data.folds is not None
    found, y = fit_baselines(["linear"], data, seed=0)["linear"], data.targets(data.splits.train)
    x, _, x_test = encoded(data)
    assert found.test[:, 0] == pytest.approx(Ridge().fit(x, y[:, 0]).predict(x_test), rel=1e-5)
    for held in data.folds.held:
        others = np.setdiff1d(np.arange(len(y)), held)
        rows = Arrays(*(array[others] for array in data.train))
        columns = make_column_transformer(
            (StandardScaler(), slice(0, data.features.n_num)),
            (OneHotEncoder(handle_unknown="ignore"), slice(data.features.n_num, None)),
        )
        fitted = Ridge().fit(columns.fit_transform(inputs(rows)), y[others, 0])
        assert found.val[held, 0] == pytest.approx(fitted.predict(columns.transform(inputs(data.val))[held]), rel=1e-5)


def test_a_category_with_more_levels_than_trees_take_is_pooled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(0, 400, 6000)
    frame = pd.DataFrame({"shop": [f"s{code}" for code in level], "y": np.sin(level) + 0.1 * rng.normal(size=6000)})
    data = TableDataModule(quick("data=csv", f"data.path={write_csv(tmp_path / 't.csv', frame)}", "data.target=y"))
    data.setup()
    assert data.features.cardinalities[0] > baselines.MAX_LEVELS
    found = fit_baselines(["dummy", "hist_gb"], data, seed=0)
    y = data.targets(data.splits.test)
    errors = {name: np.square(y - baseline.test).mean() for name, baseline in found.items()}
    assert errors["hist_gb"] < 0.7 * errors["dummy"]


def test_a_class_without_training_rows_has_no_chance(tmp_path: Path) -> None:
    data = shop(tmp_path, "grade")
    data.table.targets.iloc[data.splits.train, 0] = data.table.targets.iloc[data.splits.train, 0].clip(upper=2)
    found = fit_baselines(["linear"], data, seed=0)["linear"]
    assert found.test.shape[1] == 4
    assert (found.test[:, 3] == 0).all()
    np.testing.assert_allclose(found.test.sum(axis=1), 1)


def test_of_many_rows_some_are_drawn_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 100)
    data = shop(tmp_path, "amount")
    for _ in range(2):  # when it is fitted, and when it is taken from the cache
        caplog.clear()
        with caplog.at_level(logging.INFO, "pipeline"):
            found = fit_baselines(["linear"], data, seed=0)["linear"]
        assert found.note == "fitted on 100 of 192 training rows"
        assert caplog.messages == ["baseline linear: fitted on 100 of 192 training rows"]


def test_it_is_known_what_a_baseline_costs(tmp_path: Path) -> None:
    found = fit_baselines(["dummy", "hist_gb"], shop(tmp_path, "amount"), seed=0)
    assert all(baseline.seconds > 0 and baseline.row_seconds > 0 for baseline in found.values())
    assert found["hist_gb"].n_bytes > found["dummy"].n_bytes > 0


def test_a_frame_has_numbers_in_double_precision_and_codes_as_categories() -> None:
    arrays = Arrays(np.array([[0.5], [1.5]], np.float32), np.array([[2], [0]]), np.zeros(2))
    frame = frame_of(arrays, slice(1, 2), [3])
    assert [str(kind) for kind in frame.dtypes] == ["float64", "category"]
    assert frame["category 0"].cat.categories.tolist() == [0, 1, 2]
    assert frame.to_numpy().tolist() == [[1.5, 0]]


# ---------------------------------------------------------------- kept
def test_the_second_time_nothing_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = shop(tmp_path, "bought")
    first = fit_baselines(["dummy", "linear"], data, seed=0)
    monkeypatch.setattr(baselines, "BASELINES", {})
    again = fit_baselines(["dummy", "linear"], data, seed=0)
    for name, baseline in first.items():
        assert (again[name].seconds, again[name].n_bytes) == (baseline.seconds, baseline.n_bytes)
        assert np.array_equal(again[name].test, baseline.test)
    assert fit_baselines(["linear"], data, seed=1) == {}  # another seed is another baseline


def test_other_prepared_columns_are_other_baselines(tmp_path: Path) -> None:
    keys = {
        shop(tmp_path, "bought", *overrides).key for overrides in ((), ("preprocess=robust",), ("data.split_seed=1",))
    }
    assert len(keys) == 3
    assert shop(tmp_path, "bought", "seed=5", "model.hidden=[3]").key in keys


@pytest.mark.slow
def test_what_is_kept_is_read_without_scikit_learn() -> None:
    script = (
        "import sys\n"
        "from pipeline.baselines import fit_baselines\n"
        "from pipeline.compose import load_config\n"
        "from pipeline.data.datamodule import TableDataModule\n"
        "data = TableDataModule(load_config(['data=iris', 'tracking=none']))\n"
        "data.setup()\n"
        "fit_baselines(data.config.baselines, data, seed=0)\n"
        "print('sklearn.linear_model' in sys.modules)\n"
    )
    said = [subprocess.check_output([sys.executable, "-c", script], text=True) for _ in range(2)]
    assert said == ["True\n", "False\n"]


# ---------------------------------------------------------------- what goes wrong
def test_a_baseline_that_cannot_be_fitted_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(baselines.BASELINES, "linear", lambda problem: 1 / 0)
    found = fit_baselines(["linear", "dummy"], shop(tmp_path, "bought"), seed=0)
    assert [*found] == ["dummy"]
    assert caplog.messages == ["baseline linear: left out, it cannot be fitted: division by zero"]


def test_a_package_that_is_not_there_is_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refused:
        check_installed(["linear", "lightgbm", "catboost"])
    assert refused.value.lines == (
        "baselines: lightgbm is not installed; pip install 'table-pipeline[boosting]', or leave it out",
        "baselines: catboost is not installed; pip install 'table-pipeline[boosting]', or leave it out",
    )


def test_a_package_that_is_not_there_is_refused_before_anything_is_read(
    cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    done = cli("train", "model=mlp", "data=csv", "data.path=nonesuch.csv", "data.target=y", "baselines=[xgboost]")
    line = "error: baselines: xgboost is not installed; pip install 'table-pipeline[boosting]', or leave it out\n"
    assert done == Done(2, "", line)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("baselines=linear", "baselines: must be a list, got 'linear'"),
        (
            "baselines=[linar]",
            "baselines.0: must be 'dummy', 'linear', 'hist_gb', 'lightgbm', 'xgboost' or 'catboost', got 'linar'",
        ),
    ],
)
def test_a_name_that_is_none_is_refused(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config([override])
    assert refused.value.lines == (line,)


# ---------------------------------------------------------------- beside a run
@pytest.fixture
def client(root: Path) -> MlflowClient:
    return connect(str(root))


def test_a_run_tracks_the_metrics_of_its_baselines_and_the_verdict(client: MlflowClient) -> None:
    result = train(quick("tracking=mlflow", "data=diabetes", "baselines=[dummy,linear,hist_gb]"))
    run = client.get_run(result.run_id)
    names = {f"{part}/{name}" for part in ("val", "test") for name in ("rmse", "mae", "r2", "median_absolute_error")}
    for baseline in ("dummy", "linear", "hist_gb"):
        assert result.baselines[baseline].keys() == names
        assert all(
            run.data.metrics[f"baseline/{baseline}/{name}"] == result.baselines[baseline][name] for name in names
        )
    assert run.data.metrics["time/baselines"] > 0
    assert run.data.tags["verdict"] == result.verdict
    assert result.verdict in run.data.tags["mlflow.note.content"]
    assert result.verdict.startswith("the network loses to linear, the best baseline: rmse ")  # after two epochs


def test_the_closing_lines_show_them_beside_the_network(cli: Callable[..., Done]) -> None:
    done = cli("train", "model=mlp", "data=iris", "tracking=none", "trainer.max_epochs=1")
    assert "test: beside the baselines" in done.out
    rows = done.out.partition("test: beside the baselines")[2].splitlines()
    assert [row.split()[1] for row in rows if row.startswith("│")] == ["network", "dummy", "linear", "hist_gb"]
    assert "\nthe network loses to " in done.out


def test_without_baselines_there_is_no_word_of_them(cli: Callable[..., Done]) -> None:
    done = cli("train", "model=mlp", "data=iris", "tracking=none", "trainer.max_epochs=1", "baselines=[]")
    assert done.code == 0
    assert "baseline" not in done.out


def test_a_run_that_is_interrupted_has_none() -> None:
    class Stop(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    result = train(quick("trainer.max_epochs=50"), [Stop()])
    assert (result.status, result.baselines, result.verdict) == ("KILLED", {}, "")


def test_a_trial_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.train.beside", lambda *_: 1 / 0)
    assert try_out(quick()).baselines == {}


def test_every_boosting_package_is_of_a_baseline() -> None:
    assert {*BOOSTING} < baselines.BASELINES.keys()


def test_scaling_does_not_change_the_linear_model(tmp_path: Path) -> None:
    none, standard = (
        fit_baselines(["linear"], shop(tmp_path, "amount", f"preprocess={name}"), seed=0)["linear"]
        for name in ("none", "standard")
    )
    np.testing.assert_allclose(none.test, standard.test, rtol=1e-3)


def test_a_baseline_is_fitted_in_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Counting(DummyClassifier):  # type: ignore[misc]  # scikit-learn has no types
        def fit(self, x: object, y: object) -> "Counting":
            seen.append(_openmp_effective_n_threads())
            super().fit(x, y)
            return self

    monkeypatch.setitem(baselines.BASELINES, "dummy", lambda _: Counting(strategy="prior"))
    with threadpool_limits(2):
        fit_baselines(["dummy"], shop(tmp_path, "bought", f"tracking.root={tmp_path}"), seed=0)
    assert seen == [1]
