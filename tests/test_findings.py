"""Each finding is provoked by a sick configuration, and healthy ones are left alone."""

import re
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest

from pipeline.compose import load_config
from pipeline.doctor.findings import EXPLAINED_BY, RULES
from pipeline.errors import TrainingError
from pipeline.train import train

PLAIN = ("model.dropout=0", "model.batch_norm=false")
DEEP = ("model.hidden=[32,32,32,32,32,32,32,32]", *PLAIN)


@cache
def table(kind: str) -> str:
    """A made table as a file: classes or numbers, balanced or not, with a column that leaks, of sizes that differ."""
    rng = np.random.default_rng(0)
    n = 1500 if kind == "rare" else 600
    x = rng.normal(size=(n, 8))
    frame = pd.DataFrame(x, columns=[f"x{place}" for place in range(8)])
    if kind in ("numbers", "number_leak"):
        y = 2 * x[:, 0] + np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3] + 0.4 * rng.normal(size=n)
        frame["y"] = 50 + 10 * y
    elif kind == "noise":
        frame["y"] = rng.choice(["no", "yes"], n)
    else:
        score = x @ rng.normal(size=8) + 0.5 * x[:, 0] * x[:, 1] + 0.8 * rng.normal(size=n)
        frame["y"] = np.where(score > np.quantile(score, 0.95 if kind == "rare" else 0.5), "yes", "no")
    if kind == "leak":
        frame["later"] = (frame["y"] == "yes") + 0.05 * rng.normal(size=n)
    if kind == "number_leak":
        frame["later"] = 0.9 * frame["y"] + 0.5 * rng.normal(size=n)
    if kind == "sizes":
        frame["x0"], frame["x1"] = 10_000 * frame["x0"], 0.001 * frame["x1"]
    file = Path(mkdtemp(prefix="doctor_")) / f"{kind}.csv"
    frame.to_csv(file, index=False)
    return str(file)


def found(data: str, *overrides: str) -> list[str]:
    """Names of the findings, as a run's lines give them away."""
    asked = [f"data={data}"] if data in ("iris", "wine", "digits", "diabetes", "breast_cancer") else [
        "data=csv", f"data.path={table(data)}", "data.target=y",
    ]  # fmt: skip
    try:
        told = train(load_config([*asked, "tracking=none", "baselines=[linear]", *overrides])).findings
    except TrainingError as error:
        told = tuple(str(error).split("\n  found: ")[1:])
    return [name for line in told for name, start in STARTS.items() if re.match(start, line)]


STARTS = {
    "unscaled_inputs": "the inputs are not scaled",
    "leaking_column": "column '.*' alone tells the target",
    "symmetric_units": "the units of .* are copies",
    "exploding_gradients": "signals grow",
    "lr_too_high": "the learning rate is too high",
    "dead_units": "ReLU units of .* are 0",
    "saturated_units": "(sigmoid|tanh) units of .* stand at the ends",
    "vanishing_gradients": "the gradient fades",
    "bad_start": "the loss before the first step",
    "lr_too_low": "the learning rate is too low",
    "undertrained": "the validation loss still falls",
    "not_learning": "the network has learned next to nothing",
    "class_imbalance": "classes are imbalanced",
    "class_never_predicted": "class .* is never predicted",
    "overfitting": "overfitting",
    "plateau": "most epochs brought nothing",
    "miscalibrated": "the probabilities are",
    "worse_than_linear": "a linear model is better",
}


def test_every_finding_is_tried_here() -> None:
    assert {rule.__name__ for rule in RULES} == STARTS.keys()
    assert EXPLAINED_BY.keys() <= STARTS.keys()
    assert set().union(*EXPLAINED_BY.values()) <= STARTS.keys()
    assert {name for name, *_ in SICK} == STARTS.keys()


SICK = [
    ("dead_units", "classes", "optimizer.lr=1", *PLAIN),
    ("dead_units", "digits", "optimizer=sgd", "optimizer.lr=2", *PLAIN),
    ("vanishing_gradients", "classes", "model.activation=sigmoid", "optimizer=sgd", "optimizer.lr=0.1", *DEEP),
    ("vanishing_gradients", "numbers", "model.activation=tanh", "model.init=normal", "model.init_std=0.01", *DEEP),
    ("vanishing_gradients", "classes", "model.init=normal", "model.init_std=0.01", *DEEP),
    ("exploding_gradients", "numbers", "model.init=normal", "model.init_std=1", *DEEP),
    ("exploding_gradients", "numbers", "model.init=normal", "model.init_std=1", "optimizer=sgd", *DEEP),
    ("symmetric_units", "classes", "model.init=zeros", *PLAIN),
    ("symmetric_units", "classes", "model.init=ones", *PLAIN),
    ("symmetric_units", "numbers", "model.init=zeros", "model.activation=sigmoid", *PLAIN),
    ("saturated_units", "digits", "model.init=normal", "model.init_std=2", "model.activation=sigmoid", *PLAIN),
    ("bad_start", "numbers", "model.init=normal", "model.init_std=3", "model.hidden=[32]", *PLAIN),
    ("lr_too_high", "numbers", "optimizer=sgd", "optimizer.lr=3", *PLAIN),
    ("lr_too_high", "breast_cancer", "optimizer.lr=1"),
    ("lr_too_high", "digits", "optimizer.lr=0.5", "model.activation=tanh", *PLAIN),
    ("lr_too_low", "classes", "optimizer=sgd", "optimizer.lr=1e-5", *PLAIN),
    ("lr_too_low", "numbers", "optimizer.lr=1e-5"),
    ("undertrained", "digits", "trainer.max_epochs=6", "optimizer.lr=5e-4"),
    ("not_learning", "noise", "trainer.max_epochs=5", "model.dropout=0.5"),
    ("overfitting", "classes", "model.hidden=[256,256]", "trainer.patience=null", *PLAIN),
    ("overfitting", "numbers", "model.hidden=[256,256]", "trainer.patience=null", *PLAIN),
    ("plateau", "breast_cancer", "scheduler=exponential", "scheduler.gamma=0.2", "trainer.patience=null"),
    ("miscalibrated", "rare", "trainer.max_epochs=2", "optimizer.lr=3e-3"),
    ("class_imbalance", "rare", *PLAIN),
    ("class_never_predicted", "rare", "trainer.max_epochs=10", "optimizer=sgd", "optimizer.lr=0.02"),
    ("worse_than_linear", "numbers", "model.hidden=[1]", "trainer.max_epochs=10", "optimizer.lr=0.01"),
    ("unscaled_inputs", "sizes", "preprocess=none"),
    ("unscaled_inputs", "breast_cancer", "preprocess=none"),
    ("leaking_column", "leak"),
    ("leaking_column", "number_leak"),
]  # fmt: skip


def is_first(place: int) -> bool:
    """Whether a finding is tried here for the first time; further causes of it are slow tests."""
    return SICK[place][0] not in [name for name, *_ in SICK[:place]]


@pytest.mark.parametrize(
    ("name", "data", "overrides"),
    [
        pytest.param(name, data, tuple(rest), marks=[] if is_first(place) else pytest.mark.slow)
        for place, (name, data, *rest) in enumerate(SICK)
    ],
)
def test_a_sick_run_is_told_what_is_wrong(name: str, data: str, overrides: tuple[str, ...]) -> None:
    assert name in found(data, *overrides)


@pytest.mark.usefixtures("slow_epochs")
def test_a_run_that_its_time_ended_is_advised_more_time() -> None:
    asked = ["data=digits", "model=mlp", "tracking=none", "trainer.max_time=18", "optimizer.lr=5e-4"]
    (line,) = (told for told in train(load_config(asked)).findings if re.match(STARTS["undertrained"], told))
    assert line.endswith("; try trainer.max_time=72")


HEALTHY = [
    ("classes",), ("numbers",), ("breast_cancer",), ("iris",),
    ("digits", "trainer.max_epochs=120", "model.dropout=0.4"),
    ("classes", "optimizer=sgd", "optimizer.lr=0.05"), ("numbers", "optimizer=momentum", "optimizer.lr=0.01"),
    ("classes", "optimizer=rmsprop"), ("classes", "optimizer=adagrad", "optimizer.lr=0.05"),
    ("classes", "model.batch_norm=true"), ("numbers", "scheduler=cosine"),
    ("digits", "model.activation=tanh", *PLAIN), ("diabetes", "experiment=linear"),
    ("breast_cancer", "model.hidden=[64,64,64]"),
]  # fmt: skip


@pytest.mark.parametrize(
    "asked", [pytest.param(asked, marks=pytest.mark.slow if place >= 4 else []) for place, asked in enumerate(HEALTHY)]
)
def test_a_healthy_run_is_left_alone(asked: tuple[str, ...]) -> None:
    assert found(*asked) == []


def test_without_the_linear_baseline_nothing_is_said_of_it() -> None:
    asked = next(rest for name, *rest in SICK if name == "worse_than_linear")
    assert "worse_than_linear" not in found(*asked, "baselines=[hist_gb]")


def test_a_finding_says_value_threshold_source_and_what_to_type() -> None:
    (line,) = train(load_config(["data=csv", f"data.path={table('leak')}", "data.target=y", "tracking=none"])).findings
    assert re.fullmatch(
        r"column 'later' alone tells the target: is it known before the target is\?: it tells 9\d\.\d% at least of "
        r"what a constant answer leaves untold \(95% or more; Kaufman et al\. 2012\); try data\.drop=\['later'\]",
        line,
    )
