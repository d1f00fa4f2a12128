"""The eight ready comparisons: each shows the rule of thumb that stands in its file."""

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from pipeline.comparisons.comparison import run_comparison
from pipeline.comparisons.plan import make_plan
from pipeline.comparisons.summary import Summary
from pipeline.compose import conf_dir, load_config
from pipeline.data.datamodule import TableDataModule
from pipeline.doctor.measuring import Layer, Probe
from pipeline.networks import build_network
from pipeline.studies.workers import Pool

READY = sorted(file.stem for file in (conf_dir() / "comparison").glob("*.yaml"))


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        yield pool


def means(summary: Summary) -> dict[str, float]:
    return {case.label: case.value.value for case in summary.cases}


def told_apart(summary: Summary) -> set[str]:
    """Settings that are worse than the best by more than the noise."""
    return {case.label for case in summary.cases if case.p is not None and case.p < 0.05}


def of(name: str, pool: Pool, *overrides: str) -> Summary:
    return run_comparison(make_plan([f"comparison={name}", "tracking=none", "doctor=off", *overrides]), pool).summary


def test_there_are_eight_and_each_states_its_rule() -> None:
    assert READY == [
        "activations", "depth_width", "initialisation", "losses", "optimizers", "regularization", "scaling",
        "schedulers",
    ]  # fmt: skip
    for name in READY:
        assert (conf_dir() / "comparison" / f"{name}.yaml").read_text().startswith("# Rule: ")
        assert len(make_plan([f"comparison={name}"]).cases) >= 4


@pytest.mark.slow
def test_activations(pool: Pool) -> None:
    summary = of("activations", pool)
    assert {"sigmoid", "relu"} <= told_apart(summary)
    assert means(summary)["leaky_relu"] < 0.2 < means(summary)["relu"]


@pytest.mark.slow
def test_initialisation(pool: Pool) -> None:
    found = means(of("initialisation", pool, "seeds=3"))
    assert max(found[label] for label in ("zeros + tanh", "ones + tanh", "deviation 3 + sigmoid")) < 0.5
    assert min(found["Kaiming + ReLU"], found["Xavier + tanh"]) > 0.9
    assert found["same + batch norm"] > 0.9 > 0.5 > found["deviation 0.05 + ReLU"]


@pytest.mark.slow
def test_losses(pool: Pool) -> None:
    summary = of("losses", pool, "seeds=3")
    assert "squared error" in told_apart(summary)
    assert means(summary)["absolute error"] < 0.6 * means(summary)["squared error"]


@pytest.mark.slow
def test_optimizers(pool: Pool) -> None:
    summary = of("optimizers", pool)
    assert {"sgd, rate 1", "momentum, rate 0.1"} <= told_apart(summary)
    assert means(summary)["rmsprop, rate 0.01"] < means(summary)["adagrad, rate 0.1"] < means(summary)["sgd, rate 1"]


@pytest.mark.slow
def test_schedulers(pool: Pool) -> None:
    found = means(of("schedulers", pool))
    assert max(found, key=lambda label: found[label]) == "constant"


@pytest.mark.slow
def test_regularization(pool: Pool) -> None:
    summary = of("regularization", pool, "seeds=3")
    found, by_label = means(summary), {case.label: case for case in summary.cases}
    gap = {label: case.last["val/loss"] - case.last["train/loss"] for label, case in by_label.items()}
    assert gap["batch norm + dropout 0.3"] < gap["none"]
    assert found["batch norm + dropout 0.3"] < found["none"]
    assert found["rate 0.1 + batch norm"] < 0.5 * found["rate 0.1"]


@pytest.mark.slow
def test_scaling(pool: Pool) -> None:
    summary = of("scaling", pool, "seeds=3")
    assert "none" in told_apart(summary)
    assert max(value for label, value in means(summary).items() if label != "none") < 0.5 * means(summary)["none"]


@pytest.mark.slow
def test_depth_width(pool: Pool) -> None:
    found = means(of("depth_width", pool, "seeds=3"))
    assert found["1 layer of 512"] < found["1 layer of 64"] < found["1 layer of 8"] < found["8 layers of 8"]
    assert found["1 layer of 64"] < found["12 layers of 64"]


# ---------------------------------------------------------------- what the rules say of the inside
def at_the_start(*overrides: str) -> tuple[Layer, ...]:
    """What is measured in a network before the first step."""
    data = TableDataModule(load_config(["tracking=none", "model.batch_norm=false", "model.dropout=0", *overrides]))
    data.setup()
    torch.manual_seed(0)
    return Probe(data.val)._looked_at(build_network(data.config.model, data.features))


DEEP = ("data=digits", "model.hidden=[64,64,64,64,64,64]")


@pytest.mark.parametrize(
    ("init", "activation", "kept"),
    [
        ("kaiming_normal", "relu", True), ("xavier_normal", "tanh", True), ("xavier_normal", "relu", False),
        ("normal", "tanh", False),
    ],
)  # fmt: skip
def test_kaiming_with_relu_and_xavier_with_tanh_keep_the_variance_through_depth(
    init: str, activation: str, kept: bool
) -> None:
    first, *_, last, _ = at_the_start(*DEEP, f"model.init={init}", f"model.activation={activation}")
    assert (last.std > 0.3 * first.std) == kept


def test_too_large_weights_saturate_sigmoids_and_equal_ones_stay_equal() -> None:
    large = at_the_start(*DEEP, "model.init=normal", "model.init_std=3", "model.activation=sigmoid")
    assert large[-2].saturated > 0.5
    assert at_the_start(*DEEP, "model.activation=sigmoid")[-2].saturated < 0.01
    assert at_the_start(*DEEP, "model.init=ones", "model.activation=tanh")[0].symmetric == 1


def test_narrow_relu_networks_can_be_born_dead_and_leaky_ones_cannot() -> None:
    hidden = "model.hidden=[4,4,4,4,4,4,4,4,4,4,4,4]"
    relu = at_the_start("data=breast_cancer", hidden, "model.activation=relu")
    leaky = at_the_start("data=breast_cancer", hidden, "model.activation=leaky_relu")
    assert max(layer.dead for layer in relu[:-1]) >= 0.5
    assert min(layer.std for layer in leaky[:-1]) > 0


def test_the_gradient_of_smooth_l1_goes_to_0_with_the_error_and_that_of_absolute_error_does_not() -> None:
    error = torch.tensor([1e-3, 2.0], requires_grad=True)
    F.smooth_l1_loss(error, torch.zeros(2), reduction="sum").backward()
    assert error.grad is not None
    assert error.grad.tolist() == pytest.approx([1e-3, 1.0])
    error.grad = None
    F.l1_loss(error, torch.zeros(2), reduction="sum").backward()
    assert error.grad is not None
    assert error.grad.tolist() == [1.0, 1.0]
