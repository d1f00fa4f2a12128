"""What a page says a run reached."""

import html
import re

import pytest

from pipeline.doctor.finding import FINDINGS, Finding, to_json
from pipeline.pages.document import Html
from pipeline.pages.outcome import figure_parts, outcome_parts
from pipeline.pages.past import CONFIG, PastRun
from pipeline.tested import TESTED
from tests.past import SCRIPT, past, png, shop_predictions

NOTE = (
    "mlp [8], adam at 0.001, seed 0: best epoch 2 of 2.\n\n| test | value |\n|---|---|\n| Accuracy | 1 |\n\nsets hold"
)
METRICS = {"test/accuracy": 1.0, "test/accuracy_low": 0.9, "test/accuracy_high": 1.0, "test/log_loss": 0.1054}


def parts(run: PastRun) -> dict[str, Html]:
    return dict([*outcome_parts(run), *figure_parts(run)])


def words(content: Html) -> str:
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", content)).split())


def test_a_run_without_anything_has_no_sections() -> None:
    assert parts(past()) == {}


def test_test_metrics_stand_beside_their_interval_and_a_constant_answer() -> None:
    run = past(metrics=METRICS, files={TESTED: shop_predictions()}, splits={"test": 4})
    told = words(parts(run)["Result"])
    assert "Accuracy 1 0.9 to 1 a constant answer: 0.5" in told
    assert "Accuracy higher 1 0.9 to 1 0.5 Log loss lower 0.1054 – 0.6931" in told
    assert "On 4 rows that the network has not seen; intervals by bootstrap over the rows." in told
    assert "The constant answer is always the share of each class in the test rows" in told


def test_a_metric_that_is_not_defined_on_the_rows_has_no_value() -> None:
    run = past(metrics={"test/roc_auc": float("nan"), "test/roc_auc_low": float("nan"), "test/roc_auc_high": 1.0})
    assert "ROC AUC higher – –" in words(parts(run)["Result"])
    assert "nan" not in parts(run)["Result"]


def test_without_the_test_rows_there_is_no_constant_answer() -> None:
    assert "onstant" not in parts(past(metrics=METRICS))["Result"]


def test_the_table_of_the_description_is_not_told_twice() -> None:
    told = words(parts(past(metrics=METRICS, tags={"task": "binary", "mlflow.note.content": NOTE}))["Result"])
    assert "best epoch 2 of 2. sets hold" in told


def test_baselines_stand_beside_the_network_with_the_verdict() -> None:
    others = {
        "baseline/linear/test/accuracy": 0.75,
        "baseline/linear/test/log_loss": 0.25,
        "baseline/linear/val/ece": 0.1,
    }
    run = past(metrics=METRICS | others, tags={"task": "binary", "verdict": "the network beats linear: 1 against 0.75"})
    rows = "network 1 – 0.1054 linear 0.75 – 0.25"
    told = f"Model Accuracy ROC AUC Log loss {rows} The network beats linear: 1 against 0.75."
    assert words(parts(run)["Baselines"]) == told


def test_an_ensemble_stands_beside_one_of_its_networks() -> None:
    others = {"baseline/linear/test/accuracy": 0.75, "member_mean/test/accuracy": 0.875}
    told = words(parts(past(metrics=METRICS | others))["Baselines"])
    assert "network 1 – 0.1054 one of its networks, on average 0.875 – – linear 0.75 – –" in told


def test_without_baselines_there_is_no_section_of_them() -> None:
    assert "Baselines" not in parts(past(metrics=METRICS))


def test_coverage_is_told_with_what_was_asked() -> None:
    metrics = METRICS | {"test/coverage": 0.956, "test/mean_set_size": 1.1}
    told = words(parts(past(metrics=metrics, files={CONFIG: b"predict: {coverage: 0.9}"}))["Result"])
    assert "Coverage 95.6% sets of 1.1 classes on average asked for: 90%" in told


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"tags": {"error": "no finite loss"}}, "The run failed: no finite loss"),
        ({"status": "KILLED"}, "The run was stopped before its end"),
        ({"tags": {"parity": "failed", "parity.fault": "row 3"}}, "The exported model must not be used: row 3"),
    ],
)
def test_what_went_wrong_comes_first(changed: dict[str, object], told: str) -> None:
    assert words(parts(past(**changed))["Result"]).startswith(told)


def test_a_pruned_trial_is_nothing_wrong() -> None:
    assert parts(past(status="KILLED", tags={"kind": "trial"})) == {}


def test_a_run_of_another_kind_shows_its_description_and_its_numbers() -> None:
    metrics = {"time/data": 1.0, "val/loss": 3.0, "n_params": 8.0, "best/value": 0.25}
    run = past(metrics=metrics, tags={"kind": "comparison", "mlflow.note.content": "adam wins\n\n| a |\n|---|\n| b |"})
    assert words(parts(run)["Result"]) == "Best value 0.25 Number of params 8 adam wins a b"


def test_many_numbers_are_a_table_too() -> None:
    metrics = {f"m{number}": float(number) for number in range(11)}
    assert "m10 10" in words(parts(past(metrics=metrics, tags={"kind": "other"}))["Result"])


def test_findings_are_told_with_what_was_measured_and_advised() -> None:
    finding = Finding(
        "dead_units", f"a third of the units {SCRIPT}", "0.33", "0.1", "He 2015", ("model.activation=leaky_relu",)
    )
    content = parts(past(files={FINDINGS: to_json([finding])}))["Findings"]
    assert "<script" not in content
    assert "measured: 0.33; threshold: 0.1; He 2015 Try: model.activation=leaky_relu" in words(content)
    assert "<h3>Dead units</h3>" in content


def test_no_findings_are_told_where_the_doctor_was_asked() -> None:
    healthy = past(files={FINDINGS: to_json([]), "doctor/health.png": png()})
    assert words(parts(healthy)["Findings"]).startswith("No findings: training looks healthy.")
    assert 'alt="Gradients, steps and activations of each layer, by epoch (' in parts(healthy)["Findings"]
    assert "Findings" not in parts(past())


def test_curves_are_drawn_and_not_shown_as_pictures_again() -> None:
    history = {"train/loss": [(1, 2.0), (2, 1.0)], "val/loss": [(1, 2.0), (2, 1.5)], "train/lr": [(1, 0.1), (2, 0.1)]}
    files = {"figures/learning_curves.png": png(), "figures/roc.png": png()}
    found = parts(past(history=history, files=files, metrics={"best_epoch": 2.0}))
    assert found["Curves"].count("<svg") == 2
    assert "best epoch: 2" in found["Curves"]
    assert found["Figures"].count("<img") == 1
    assert parts(past(files=files))["Figures"].count("<img") == 2


def test_calibration_has_a_section_with_its_figure() -> None:
    metrics = {f"test/{name}": 0.1 for name in ("log_loss", "log_loss_calibrated", "ece", "ece_calibrated")}
    found = parts(past(metrics=metrics, files={"figures/calibration.png": png()}))
    assert words(found["Calibration and coverage"]).startswith(
        "The model answers with temperature-scaled probabilities"
    )
    assert found["Calibration and coverage"].count("<img") == 1
    assert "Figures" not in found


def test_figures_come_in_their_order_each_with_a_text_for_those_who_cannot_see_it() -> None:
    files = {f"figures/{stem}.png": png() for stem in ("my_own", "roc", "confusion_matrix")}
    content = parts(past(files=files))["Figures"]
    assert re.findall(r'alt="([^"]*)"', content) == [
        "Which class was predicted for rows of which class (mlp-adam-1e-3-k3f9)",
        "True and false positives by threshold (mlp-adam-1e-3-k3f9)",
        "My own (mlp-adam-1e-3-k3f9)",
    ]


def test_pictures_without_room_are_named() -> None:
    told = words(parts(past(left_out=["figures/huge.png"]))["Figures"])
    assert told == "Too large for this page, among the run's artifacts: figures/huge.png"
