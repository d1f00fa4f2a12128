"""The figures are read back: titles, labels, legends and the numbers on their lines."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn import metrics as sk

from pipeline import report
from pipeline.canvas import PADDING, to_png
from pipeline.types import Task

NAN, INF = float("nan"), float("inf")
AWKWARD = (
    "_hidden",
    "costs $5_a and $6^b",
    "日本語のとても長いクラスの名前であることを確かめるためのもの",
    "a name that goes on and on, past all that fits",
    "Ελληνικά με τόνους και πολλές λέξεις",
    "two\nlines",
    "",
    "back\\$lash\\",
)


def history(n: int = 5) -> list[dict[str, float]]:
    return [
        {
            "epoch": e,
            "train/loss": 1 / (e + 1),
            "val/loss": 1.2 / (e + 1),
            "train/lr": 1e-3 * (e + 1),
            "seconds": 0.1,
        }
        for e in range(n)
    ]


def random() -> np.random.Generator:
    return np.random.default_rng(7)


def labels(n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (n,), every class among them, and probabilities (n, n_classes) that tell a little."""
    rng = random()
    y = rng.permutation(np.arange(n) % n_classes)
    raw = np.exp(rng.normal(size=(n, n_classes)) + np.eye(n_classes)[y])
    return y, (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def values(n: int, n_targets: int) -> tuple[np.ndarray, np.ndarray]:
    rng = random()
    y = rng.normal(size=(n, n_targets)).astype(np.float32)
    return y, (y + rng.normal(scale=0.3, size=y.shape)).astype(np.float32)


def names(n: int) -> tuple[str, ...]:
    return tuple(f"class {k}" for k in range(n))


def line(axes: Axes, start: str) -> Line2D:
    """Return the only line whose label starts so."""
    [found] = [one for one in axes.lines if str(one.get_label()).startswith(start)]
    return found


def points(drawn: Line2D) -> np.ndarray:
    return np.asarray(drawn.get_xydata())


def bars(axes: Axes) -> list[Bbox]:
    """Return the bars of an axes, which are one patch of five corners each."""
    [patch] = [patch for patch in axes.patches if isinstance(patch, PathPatch)]
    corners = np.asarray(patch.get_path().vertices).reshape(-1, 5, 2)
    return [Bbox([bar.min(axis=0), bar.max(axis=0)]) for bar in corners]


def legend(figure: Figure) -> list[str]:
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return [text.get_text() for one in legends if one for text in one.get_texts()]


def assert_fits(figure: Figure) -> None:
    """Draw, which fails on any warning, and see that nothing reaches the canvas's edge, where it would be cut off."""
    with Image.open(BytesIO(to_png(figure))) as image:
        drawn = (np.asarray(image) != 255).any(axis=2)
    for side in (drawn, drawn[::-1], drawn.T, drawn.T[::-1]):
        assert not side[:PADDING].any()
        assert side[PADDING].any()


# Learning curves


def test_learning_curves_show_both_losses_and_the_best_epoch() -> None:
    figure = report.learning_curves(history(), best_epoch=3)
    [axes] = figure.axes
    assert figure.get_suptitle() == "Learning curves"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")
    assert legend(figure) == ["training loss", "validation loss", "best epoch: 3"]
    assert_array_equal(line(axes, "training").get_xdata(), range(5))
    assert_array_equal(line(axes, "training").get_ydata(), [entry["train/loss"] for entry in history()])
    assert_array_equal(line(axes, "validation").get_ydata(), [entry["val/loss"] for entry in history()])
    assert_array_equal(line(axes, "best").get_xdata(), [3, 3])


def test_learning_rate_shows_the_rate_of_each_epoch() -> None:
    figure = report.learning_rate(history())
    [axes] = figure.axes
    assert figure.get_suptitle() == "Learning rate"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "learning rate")
    assert_array_equal(axes.lines[0].get_ydata(), [entry["train/lr"] for entry in history()])


@pytest.mark.parametrize(
    ("rates", "scale"),
    [
        ((1, 51), "log"),
        ((1, 50), "linear"),
        ((0, 51), "linear"),
        ((-1, 51), "linear"),
        ((1, INF, 9), "linear"),
    ],
)
def test_the_axis_is_logarithmic_where_positive_values_differ_more_than_fiftyfold(
    rates: tuple[float, ...], scale: str
) -> None:
    figure = report.learning_rate([{"epoch": e, "train/lr": rate} for e, rate in enumerate(rates)])
    assert figure.axes[0].get_yscale() == scale


def test_a_single_epoch_is_drawn_as_a_marker_over_one_tick() -> None:
    figure = report.learning_curves(history(1), best_epoch=0)
    [axes] = figure.axes
    assert line(axes, "training").get_marker() == "o"
    assert_fits(figure)
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0]


def test_losses_that_are_not_finite_or_missing_leave_a_gap() -> None:
    entries = history()
    entries[1]["val/loss"], entries[2]["val/loss"] = NAN, INF
    del entries[4]["val/loss"]
    figure = report.learning_curves(entries, best_epoch=0)
    drawn = line(figure.axes[0], "validation").get_ydata()
    assert_array_equal(drawn, [1.2, NAN, NAN, 1.2 / 4, NAN])
    assert_fits(figure)


def test_learning_curves_of_nothing_but_nan_are_empty() -> None:
    assert_fits(report.learning_curves([{"epoch": 0, "train/loss": NAN, "val/loss": NAN}], best_epoch=0))


# Classification


def test_the_confusion_matrix_shows_counts_and_row_shares() -> None:
    y = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 0, 1, 0, 1])
    figure = report.confusion_matrix(y, np.eye(2)[predicted], classes=("no", "yes"))
    [axes] = figure.axes
    assert figure.get_suptitle() == "Confusion matrix: 66.7% of 6 rows right"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [text.get_text() for text in axes.texts] == ["3\n75%", "1\n25%", "1\n50%", "1\n50%"]
    assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25], [0.5, 0.5]])
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == ["no", "yes"]


def test_a_confusion_matrix_of_many_classes_has_a_colour_bar_and_few_ticks_instead_of_numbers() -> None:
    y, probabilities = labels(600, 60)
    figure = report.confusion_matrix(y, probabilities, classes=names(60))
    axes, bar = figure.axes
    assert not axes.texts
    assert bar.get_ylabel() == "share of the true class's rows"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"class {k}" for k in range(0, 60, 3)]


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_binary_curves_equal_those_of_scikit_learn_also_with_ties(decimals: int) -> None:
    y, probabilities = labels(300, 2)
    probabilities = probabilities.round(decimals)
    score = probabilities[:, 1]

    figure = report.roc_curve(y, probabilities, classes=("no", "yes"))
    [axes] = figure.axes
    assert figure.get_suptitle() == "ROC curve"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("false positive rate", "true positive rate")
    assert legend(figure) == ["chance", f"AUC {sk.roc_auc_score(y, score):.3f}: yes"]
    false, true, _ = sk.roc_curve(y, score, drop_intermediate=False)
    assert_allclose(points(line(axes, "AUC")), np.column_stack([false, true]))

    figure = report.precision_recall(y, probabilities, classes=("no", "yes"))
    [axes] = figure.axes
    assert figure.get_suptitle() == "Precision and recall"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
    assert legend(figure) == ["base rate 0.500", f"AP {sk.average_precision_score(y, score):.3f}: yes"]
    precision, recall, _ = sk.precision_recall_curve(y, score)
    assert_allclose(points(line(axes, "AP")), np.column_stack([recall, precision])[::-1])


def test_multiclass_curves_are_one_against_the_rest_and_skip_an_absent_class() -> None:
    y, probabilities = labels(300, 4)
    y[y == 2] = 0
    for draw, measure, score in (
        (report.roc_curve, "AUC", sk.roc_auc_score),
        (report.precision_recall, "AP", sk.average_precision_score),
    ):
        figure = draw(y, probabilities, classes=names(4))
        assert figure.get_suptitle().endswith("each class against the rest")
        expected = [f"{measure} {score(y == k, probabilities[:, k]):.3f}: class {k}" for k in (0, 1, 3)]
        assert [text for text in legend(figure) if text != "chance"] == expected


def test_more_classes_than_colours_are_averaged() -> None:
    y, probabilities = labels(300, 9)
    figure = report.roc_curve(y, probabilities, classes=names(9))
    assert legend(figure) == [
        "chance",
        f"AUC {sk.roc_auc_score(y, probabilities, multi_class='ovr'):.3f}: mean of 9 classes",
    ]
    assert_allclose(points(line(figure.axes[0], "AUC"))[-1], [1, 1])

    figure = report.precision_recall(y, probabilities, classes=names(9))
    area = sk.average_precision_score(np.eye(9)[y], probabilities, average="macro")
    assert legend(figure) == [f"AP {area:.3f}: mean of 9 classes"]
    recall, precision = points(line(figure.axes[0], "AP")).T
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(area, abs=0.01)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_of_a_single_class_have_no_curve_and_the_legend_says_so(n_classes: int) -> None:
    y, probabilities = labels(30, n_classes)
    for draw in (report.roc_curve, report.precision_recall):
        figure = draw(np.zeros_like(y), probabilities, classes=names(n_classes))
        assert legend(figure)[-1] == "no curve: all rows\nare of one class"
        assert_fits(figure)


def test_binary_calibration_compares_the_probability_of_class_1_with_its_share() -> None:
    p = np.array([0.0, 0.02, 0.1, 0.56, 0.54, 1.0])
    y = np.array([0, 1, 0, 1, 1, 1])
    figure = report.calibration(y, np.column_stack([1 - p, p]))
    upper, lower = figure.axes
    assert figure.get_suptitle() == "Calibration (expected calibration error 0.330)"
    assert upper.get_ylabel() == "observed share of class 1"
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("predicted probability of class 1", "rows")
    assert legend(figure) == ["perfect", "observed, 10 bins"]
    assert_allclose(points(line(upper, "observed")), np.array([[0.01, 0.5], [0.1, 0], [0.55, 1], [1, 1]]))
    assert [bar.height for bar in bars(lower)] == [2, 1, 0, 0, 0, 2, 0, 0, 0, 1]


def test_multiclass_calibration_compares_the_confidence_with_the_share_predicted_right() -> None:
    y, probabilities = labels(500, 3)
    figure = report.calibration(y, probabilities)
    upper, lower = figure.axes
    assert upper.get_ylabel() == "share predicted right"
    assert lower.get_xlabel() == "confidence in the predicted class"
    inside = (probabilities.max(axis=1) >= 0.5) & (probabilities.max(axis=1) < 0.6)
    drawn = points(line(upper, "observed"))
    [point] = drawn[(drawn[:, 0] >= 0.5) & (drawn[:, 0] < 0.6)]
    right = probabilities.argmax(axis=1) == y
    assert_allclose(point, [probabilities[inside].max(axis=1).mean(), right[inside].mean()], rtol=1e-6)


# Regression


def test_predicted_against_actual_shows_each_row_and_the_diagonal() -> None:
    y, prediction = values(50, 1)
    figure = report.predicted_vs_actual(y, prediction, targets=("price",))
    [axes] = figure.axes
    assert figure.get_suptitle() == "Predicted against actual"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("actual price", "predicted")
    assert_array_equal(points(axes.lines[0]), np.hstack([y, prediction]))
    assert legend(figure) == ["predicted = actual"]
    assert_array_equal(line(axes, "predicted").get_xdata(), axes.get_ylim())


def test_residuals_are_predicted_minus_actual() -> None:
    y, prediction = values(50, 1)
    figure = report.residuals(y, prediction, targets=("price",))
    left, right = figure.axes
    assert figure.get_suptitle() == "Residuals: predicted − actual"
    assert (left.get_xlabel(), left.get_ylabel(), right.get_xlabel()) == (
        "predicted price",
        "residual",
        "rows",
    )
    expected = np.hstack([prediction, prediction.astype(float) - y])
    assert_array_equal(points(left.lines[0]), expected)
    assert_array_equal(left.lines[1].get_ydata(), [0, 0])
    assert sum(bar.width for bar in bars(right)) == 50


def test_error_quantiles_mark_median_90_and_95_percent() -> None:
    error = random().permutation(np.arange(101.0))[:, None]
    figure = report.error_quantiles(np.zeros_like(error), -error, targets=("price",))
    [axes] = figure.axes
    assert figure.get_suptitle() == "Absolute error by share of rows"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("share of rows (%)", "|error| of price")
    assert_allclose(points(axes.lines[0])[:, 1], np.linspace(0, 100, 201))
    assert legend(figure) == ["median: 50", "90%: 90", "95%: 95"]
    assert [tuple(*points(mark)) for mark in axes.lines[1:]] == [(50, 50), (90, 90), (95, 95)]


@pytest.mark.parametrize(("n_targets", "n_panels"), [(2, 2), (5, 4)])
def test_several_targets_get_a_panel_each_up_to_four(n_targets: int, n_panels: int) -> None:
    y, prediction = values(30, n_targets)
    targets = AWKWARD[1 : n_targets + 1]
    for draw, per_panel in (
        (report.predicted_vs_actual, 1),
        (report.residuals, 2),
        (report.error_quantiles, 1),
    ):
        figure = draw(y, prediction, targets=targets)
        assert len(figure.axes) == n_panels * per_panel
        assert figure.get_suptitle().endswith("(first 4 of 5 targets)") == (n_targets == 5)
        assert_fits(figure)
    assert [axes.get_ylabel() for axes in figure.axes[:2]] == [
        r"|error| of costs \$5_a… \$6^b",
        "|error| of 日本語のと…もの",
    ]


def test_many_points_are_thinned_alike_each_time() -> None:
    y, prediction = values(100_000, 1)
    first, second = (report.predicted_vs_actual(y, prediction, targets=("t",)).axes[0].lines[0] for _ in "ab")
    assert len(points(first)) == report.MAX_POINTS
    assert_array_equal(points(first), points(second))


def test_rows_that_are_not_finite_are_left_out() -> None:
    y, prediction = values(10, 1)
    prediction[2], prediction[3] = NAN, INF
    figure = report.predicted_vs_actual(y, prediction, targets=("t",))
    assert len(points(figure.axes[0].lines[0])) == 8
    prediction[:] = NAN
    for draw in (report.predicted_vs_actual, report.residuals, report.error_quantiles):
        assert_fits(draw(y, prediction, targets=("t",)))


def test_constant_and_exact_predictions_are_drawn() -> None:
    y = np.full((20, 1), 5.0)
    for draw in (report.predicted_vs_actual, report.residuals, report.error_quantiles):
        assert_fits(draw(y, y, targets=("t",)))


# Importance


def test_importance_is_sorted_and_cut_at_the_twenty_largest() -> None:
    mean = random().permutation(np.arange(25.0))
    figure = report.importance([f"x{m:.0f}" for m in mean], mean, np.full(25, 0.5), loss_label="validation loss")
    [axes] = figure.axes
    assert figure.get_suptitle() == "Permutation importance (20 largest, and 5 more)"
    assert axes.get_xlabel() == "increase of the validation loss when the column is shuffled"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"x{k}" for k in range(24, 4, -1)]
    assert [bar.width for bar in bars(axes)] == list(range(24, 4, -1))
    assert axes.yaxis_inverted()
    assert_fits(figure)


def test_importance_of_a_few_columns_has_error_bars_and_may_be_negative() -> None:
    figure = report.importance(AWKWARD[:3], np.array([0.1, -0.2, 0.3]), np.array([0.01, 0.02, 0.03]), loss_label="loss")
    [axes] = figure.axes
    assert figure.get_suptitle() == "Permutation importance"
    [errors] = axes.collections
    ends = [np.asarray(path.vertices)[:, 0] for path in errors.get_paths()]
    assert_allclose(ends, [[0.27, 0.33], [0.09, 0.11], [-0.22, -0.18]])
    assert_fits(figure)


def test_importance_of_no_columns_is_an_empty_figure() -> None:
    assert_fits(report.importance([], np.zeros(0), np.zeros(0), loss_label="loss"))


# A whole run

CURVES = ["learning_curves", "learning_rate"]
CLASSIFICATION = ["confusion_matrix", "roc", "precision_recall", "calibration"]
REGRESSION = ["predicted_vs_actual", "residuals", "error_quantiles"]


@pytest.mark.parametrize(
    ("task", "data", "stems"),
    [
        ("binary", labels(400, 2), CLASSIFICATION),
        ("multiclass", labels(400, 8), CLASSIFICATION),
        ("multiclass", labels(400, 60), CLASSIFICATION),
        ("binary", labels(100_000, 2), CLASSIFICATION),
        ("regression", values(400, 3), REGRESSION),
        ("regression", values(100_000, 1), REGRESSION),
    ],
)
def test_a_run_has_the_figures_of_its_task(task: Task, data: tuple[np.ndarray, np.ndarray], stems: list[str]) -> None:
    width = data[1].shape[1]
    repeated = (AWKWARD * 8)[:width]
    classes, targets = ((), repeated) if task == "regression" else (repeated, ())
    figures = report.run_figures(task, *data, classes=classes, targets=targets, history=history(), best_epoch=1)
    assert list(figures) == CURVES + stems
    for figure in figures.values():
        assert_fits(figure)


def test_a_run_without_history_has_no_learning_curves() -> None:
    y, prediction = values(20, 1)
    figures = report.run_figures("regression", y, prediction, classes=(), targets=("t",), history=[], best_epoch=0)
    assert list(figures) == REGRESSION


@pytest.mark.parametrize("n_classes", [2, 5, 12])
def test_a_class_that_is_always_predicted_is_drawn_under_awkward_names(n_classes: int) -> None:
    y, _ = labels(60, n_classes)
    certain = np.tile(np.eye(n_classes)[0], (60, 1))
    figures = report.run_figures(
        "multiclass", y, certain, classes=(AWKWARD * 2)[:n_classes], targets=(), history=[], best_epoch=0
    )
    for figure in figures.values():
        assert_fits(figure)


def test_names_stay_text_and_are_shortened_in_the_middle() -> None:
    y, probabilities = labels(80, 8)
    figure = report.confusion_matrix(y, probabilities, classes=AWKWARD)
    shown = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert shown == [
        "_hidden",
        r"costs \$5_a and \$6^b",
        "日本語のとても…めのもの",
        "a name that goe…hat fits",
        "Ελληνικά με τόν…ς λέξεις",
        "two lines",
        "",
        r"back\\$lash" + "\\",
    ]
    assert not any(is_math_text(text.get_text()) for text in figure.findobj(Text))
