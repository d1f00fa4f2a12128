"""What a comparison is to run: labels, overrides, and every mistake in one line before the first run."""

import pytest

from pipeline.comparisons.plan import make_plan
from pipeline.errors import ConfigError

IRIS = "data=iris"
FEW = "vary: has nothing to compare; write vary.optimizer=[sgd,adam], or comparison=NAME for a ready one"
TWO_WAYS = "optimizer: is varied by vary.optimizer; leave one of them out"


def labels(*overrides: str) -> list[str]:
    return list(make_plan([IRIS, *overrides]).cases)


def test_every_combination_of_the_varied_settings_is_a_case() -> None:
    assert labels("vary.optimizer=[sgd,adam]", "vary.model.hidden=[[8],[8,8]]") == [
        "sgd, hidden=[8]", "sgd, hidden=[8,8]", "adam, hidden=[8]", "adam, hidden=[8,8]",
    ]  # fmt: skip


def test_a_label_says_what_a_value_is_of_where_it_does_not_speak_for_itself() -> None:
    assert labels("vary.model.activation=[relu,tanh]") == ["relu", "tanh"]
    assert labels("vary.optimizer.lr=[0.1,0.2]") == ["lr=0.1", "lr=0.2"]


def test_cases_are_labels_for_overrides_that_belong_together() -> None:
    large = "vary.cases.large=['model.hidden=[64]','optimizer.lr=0.1']"
    plan = make_plan([IRIS, "vary.cases.small=['model.hidden=[4]']", large])
    assert {label: case.model.shape for label, case in plan.cases.items()} == {"small": "[4]", "large": "[64]"}
    assert plan.cases["large"].optimizer.lr == 0.1


def test_runs_go_seed_by_seed_on_one_split() -> None:
    runs = make_plan([IRIS, "vary.optimizer=[sgd,adam]", "seeds=2", "seed=7"]).runs()
    assert list(runs) == [("sgd", 7), ("adam", 7), ("sgd", 8), ("adam", 8)]
    assert {(config.seed, config.data.split_seed) for config in runs.values()} == {(7, 0), (8, 0)}


def test_what_an_override_says_wins_over_a_ready_comparison() -> None:
    plan = make_plan(["comparison=scaling", "trainer.max_epochs=3", "seeds=2"])
    assert {case.trainer.max_epochs for case in plan.cases.values()} == {3}
    assert len(plan.seeds) == 2
    assert list(plan.cases) == ["none", "standard", "robust", "quantile"]


def test_where_losses_are_varied_a_metric_is_compared_that_all_share() -> None:
    plan = make_plan(["data=diabetes", "vary.loss=[mse,mae]"])
    assert plan.metric("regression") == "val/rmse"
    assert make_plan([IRIS, "vary.optimizer=[sgd,adam]"]).metric("multiclass") == "val/loss"


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        ([], [FEW]),
        (["vary.optimizer=[sgd]"], [FEW]),
        (["vary.optimizer=sgd"], ["vary.optimizer: must be a list of values, got 'sgd'; write vary.optimizer=[…]"]),
        (["vary.optimizer=[sgd,sgd]"], ["vary.optimizer: must differ, got 'sgd' twice"]),
        (["vary.seed=[0,1]"], ["vary.seed: is varied by seeds=N; leave it out"]),
        (["vary.data=[iris,wine]"], ["vary.data: runs on other rows cannot be compared; leave it out"]),
        (["vary.optimizer=[sgd,adam]", "optimizer=adam"], [TWO_WAYS]),
        (["vary.optimizer.lr=[0.1,-1]"], ["vary: optimizer.lr: must be greater than 0 or 'auto', got -1"]),
        (["vary.cases.a=3", "vary.cases.b=['seed=1']"], ["vary.cases.a: must be a list of overrides, got 3"]),
        (["vary=3"], ["vary: must be names with a value each, got 3"]),
        (["vary.optimizer=[sgd,adam]", "seeds=0"], ["seeds: must be greater than or equal to 1, got 0"]),
        (["vary.optimizer=[sgd,adam]", "seed=4294967295", "seeds=2"],
            ["seeds: the last of 2 from 4294967295 on must be less than 4294967296; use a smaller seed"]),
        (["vary.optimizer=[sgd,adam]", "comparison.name=a/b"],
            ["comparison.name: must be a folder's name, without / and \\, got 'a/b'"]),
        (["vary.trainer.devices=[1,2]"],
            ["vary: trainer.devices: of many runs each is trained in one process; use 1, and strategy=auto"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_the_first_run(overrides: list[str], lines: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        make_plan([IRIS, *overrides])
    assert list(error.value.lines) == lines
