"""Metrics against scikit-learn's, resamples against repeated rows, intervals against known truths."""

import warnings
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pipeline import metrics
from pipeline.metrics import CLASSIFICATION, REGRESSION, Metric, bootstrap, compute_metrics, metrics_of
from pipeline.types import Task

Rows = tuple[np.ndarray, np.ndarray]
seldom = settings(max_examples=60, deadline=None, database=None, derandomize=True)
seeds = st.integers(0, 2**32)


@st.composite
def classification(draw: st.DrawFn) -> Rows:
    """Labels of some of the classes, and probabilities that tie the more the coarser their grid."""
    generator = np.random.default_rng(draw(seeds))
    n, n_classes = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    y = generator.integers(draw(st.integers(1, n_classes)), size=n)
    parts = generator.integers(draw(st.sampled_from([2, 4, 1000])), size=(n, n_classes))
    parts[parts.sum(axis=1) == 0] = 1
    return y, parts / parts.sum(axis=1, keepdims=True)


@st.composite
def regression(draw: st.DrawFn) -> Rows:
    """Targets that vary, near zero or far from it, and predictions whose errors tie."""
    generator = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(2, 60)), draw(st.integers(1, 3))
    y = draw(st.sampled_from([0, 1e4])) + generator.normal(scale=draw(st.sampled_from([0.1, 1e5])), size=shape)
    return y, y + generator.integers(-4, 5, size=shape) / 4


def task_of(prediction: np.ndarray) -> Task:
    return "binary" if prediction.shape[1] == 2 else "multiclass"


def ece_by_the_book(y: np.ndarray, p: np.ndarray) -> float:
    confidence, hit, total = p.max(axis=1), p.argmax(axis=1) == y, 0.0
    edges = np.linspace(0, 1, 16)
    for low, high in pairwise(edges):
        if (inside := (confidence > low) & (confidence <= high)).any():
            total += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return total


def sk_roc_auc(y: np.ndarray, p: np.ndarray) -> float:
    score = p[:, 1] if p.shape[1] == 2 else p
    return float(sk.roc_auc_score(y, score, labels=range(p.shape[1]), multi_class="ovr"))


def sk_brier(y: np.ndarray, p: np.ndarray) -> float:
    if p.shape[1] == 2:
        return float(sk.brier_score_loss(y, p[:, 1], pos_label=1))
    return float(sk.brier_score_loss(y, p, labels=range(p.shape[1])))


REFERENCE: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(axis=1)),
    "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, p.argmax(axis=1)),
    "macro_f1": lambda y, p: sk.f1_score(y, p.argmax(axis=1), average="macro", zero_division=0),
    "roc_auc": sk_roc_auc,
    "log_loss": lambda y, p: sk.log_loss(y, p, labels=range(p.shape[1])),
    "brier": sk_brier,
    "ece": ece_by_the_book,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "r2": sk.r2_score,
    "median_absolute_error": sk.median_absolute_error,
}


def by_reference(name: str, y: np.ndarray, prediction: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of absent classes
        return REFERENCE[name](y, prediction)


@pytest.mark.parametrize("name", CLASSIFICATION)
@seldom
@given(rows=classification())
def test_a_classification_metric_equals_scikit_learns(name: str, rows: Rows) -> None:
    y, p = rows
    assert compute_metrics(task_of(p), y, p)[name] == pytest.approx(by_reference(name, y, p), nan_ok=True)


@pytest.mark.parametrize("name", REGRESSION)
@seldom
@given(rows=regression())
def test_a_regression_metric_equals_scikit_learns(name: str, rows: Rows) -> None:
    assert compute_metrics("regression", *rows)[name] == pytest.approx(by_reference(name, *rows))


def check_counts_repeat_rows(metric: Metric, y: np.ndarray, prediction: np.ndarray, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(4, size=(5, len(y)))
    counts[:, 0] += 1  # no resample is empty
    resampled = metric.function(y, prediction, counts.astype(np.float64))
    for value, count in zip(resampled, counts, strict=True):
        repeated = np.repeat(y, count, axis=0), np.repeat(prediction, count, axis=0)
        expected = metric.function(*repeated, np.ones((1, count.sum())))[0]
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", CLASSIFICATION)
@seldom
@given(rows=classification(), seed=seeds)
def test_row_counts_act_as_repeated_rows_for_classification(name: str, rows: Rows, seed: int) -> None:
    check_counts_repeat_rows(CLASSIFICATION[name], *rows, seed)


@pytest.mark.parametrize("name", REGRESSION)
@seldom
@given(rows=regression(), seed=seeds)
def test_row_counts_act_as_repeated_rows_for_regression(name: str, rows: Rows, seed: int) -> None:
    check_counts_repeat_rows(REGRESSION[name], *rows, seed)


def test_a_task_has_its_metrics_in_a_fixed_order() -> None:
    assert list(metrics_of("binary")) == list(metrics_of("multiclass")) == list(CLASSIFICATION)
    assert [*CLASSIFICATION, *REGRESSION] == list(REFERENCE)
    assert all(metric.name == name for name, metric in (CLASSIFICATION | REGRESSION).items())


@pytest.mark.parametrize(
    ("monitor", "higher"),
    [("val/loss", False), ("val/accuracy", True), ("accuracy", True), ("val/rmse", False), ("n_params", False)],
)
def test_each_metric_knows_which_way_is_better(monitor: str, higher: bool) -> None:
    assert metrics.higher_is_better(monitor) == higher


def test_what_can_be_monitored_is_the_loss_and_the_metrics_of_the_task() -> None:
    assert metrics.monitors_of("regression") == (
        "val/loss", "val/rmse", "val/mae", "val/r2", "val/median_absolute_error",
    )  # fmt: skip


def test_what_is_no_metric_of_the_task_is_tested_by_the_one_that_goes_with_its_loss() -> None:
    assert metrics.tested_metric("val/loss", "regression") == "rmse"
    assert metrics.tested_metric("val/loss", "multiclass") == "log_loss"
    assert metrics.tested_metric("val/accuracy", "binary") == "accuracy"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_perfect_prediction_is_at_the_better_end_of_every_metric(task: Task) -> None:
    y = np.arange(12) % (2 if task == "binary" else 3)
    perfect = y[:, None] * 1.0 if task == "regression" else np.eye(y.max() + 1)[y]
    values = compute_metrics(task, perfect if task == "regression" else y, perfect)
    for name, metric in metrics_of(task).items():
        assert values[name] == pytest.approx(1.0 if metric.higher_is_better else 0.0, abs=1e-12)


def test_a_certain_and_wrong_probability_costs_a_finite_loss_in_float32_too() -> None:
    p = np.array([[1, 0], [0, 1]], dtype=np.float32)
    loss = compute_metrics("binary", np.array([1, 1]), p)["log_loss"]
    assert loss == pytest.approx(-np.log(np.finfo(np.float64).eps) / 2)


def test_float32_values_are_averaged_in_float64() -> None:
    y = np.full((100_000, 1), 0.1, dtype=np.float32)
    assert compute_metrics("regression", y, y * 0)["mae"] == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_auc_is_undefined_where_a_class_is_absent() -> None:
    one_class = compute_metrics("binary", np.zeros(4, int), np.full((4, 2), 0.5))
    two_of_three = compute_metrics("multiclass", np.array([0, 1, 1]), np.full((3, 3), 1 / 3))
    assert np.isnan([one_class["roc_auc"], two_of_three["roc_auc"]]).all()
    assert np.isfinite([v for name, v in (one_class | two_of_three).items() if name != "roc_auc"]).all()


def test_r2_is_undefined_where_a_target_is_constant_even_if_its_mean_rounds() -> None:
    y = np.full((10, 2), 0.1)
    y[:, 1] = np.arange(10)
    values = compute_metrics("regression", y, y + 1)
    assert np.isnan(values["r2"])
    assert values["mae"] == pytest.approx(1)


def test_an_interval_of_a_metric_that_is_never_defined_is_nan() -> None:
    interval = bootstrap("binary", np.ones(5, int), np.full((5, 2), 0.5), seed=0)["roc_auc"]
    assert np.isnan(interval).all()


def test_undefined_resamples_are_left_out_of_an_interval() -> None:
    y = np.array([0, 1, 0])  # about three resamples in ten hold one class only
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    value, low, high = bootstrap("binary", y, p, seed=0)["roc_auc"]
    assert (value, low, high) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_one_row_has_a_degenerate_interval(task: Task) -> None:
    y, prediction = np.array([1]), np.array([[0.2, 0.5, 0.3]])
    if task == "regression":
        y, prediction = np.array([[3.0]]), np.array([[2.5]])
    intervals = bootstrap(task, y, prediction, seed=0)
    for name, (value, low, high) in intervals.items():
        undefined = name in ("roc_auc", "r2")
        assert np.isnan([value, low, high]).all() if undefined else value == low == high


def noisy_rows(n: int = 50) -> Rows:
    generator = np.random.default_rng(1)
    return generator.integers(3, size=n), generator.dirichlet(np.ones(3), size=n)


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    first, again, other = (bootstrap("multiclass", *noisy_rows(), seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert all(first[name].value == other[name].value for name in first)
    assert first["log_loss"] != other["log_loss"]


def test_intervals_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap("multiclass", *noisy_rows(), seed=3)
    monkeypatch.setattr(metrics, "CHUNK_CELLS", 7 * 50 + 1)
    chunked = bootstrap("multiclass", *noisy_rows(), seed=3)
    assert all(chunked[name] == pytest.approx(whole[name]) for name in whole)


def test_intervals_are_ordered_and_widen_with_the_level() -> None:
    narrow, wide = (bootstrap("multiclass", *noisy_rows(), seed=3, level=level) for level in (0.5, 0.95))
    for name in CLASSIFICATION:
        assert wide[name].low <= narrow[name].low <= narrow[name].high <= wide[name].high


@pytest.mark.parametrize(("n", "n_resamples"), [(1, 1000), (100_000, 200), (400_000, 100)])
def test_resamples_have_as_many_rows_as_the_data_and_grow_fewer_with_it(
    n: int, n_resamples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals: list[float] = []

    def total(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        totals.extend(weights.sum(axis=1))
        return np.zeros(len(weights))

    monkeypatch.setattr(metrics, "metrics_of", lambda task: {"total": Metric("total", "", True, total)})
    bootstrap("regression", np.zeros((n, 1)), np.zeros((n, 1)), seed=0)
    assert totals == [n] * (1 + n_resamples)  # the value on all rows comes first


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "metrics_of", lambda task: {"mae": REGRESSION["mae"]})
    generator = np.random.default_rng(0)
    truth, y, held = np.sqrt(2 / np.pi), np.zeros((100, 1)), 0
    for seed in range(300):
        _, low, high = bootstrap("regression", y, generator.normal(size=(100, 1)), seed=seed)["mae"]
        held += low <= truth <= high
    assert 0.91 <= held / 300 <= 0.98


@pytest.mark.parametrize(
    ("task", "y_shape", "shape"),
    [
        ("binary", (4, 1), (4, 2)),
        ("binary", (4,), (4,)),
        ("multiclass", (3,), (4, 3)),
        ("regression", (4,), (4, 1)),
        ("regression", (4, 1), (4, 2)),
        ("regression", (0, 1), (0, 1)),
    ],
)
def test_shapes_that_do_not_match_are_refused(task: Task, y_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="metrics of y"):
        compute_metrics(task, np.zeros(y_shape, int), np.zeros(shape))
