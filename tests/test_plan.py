"""What a study is to do: directions, a trial's overrides, what makes two studies the same."""

from functools import cache

import optuna
import pytest

from pipeline.errors import ConfigError
from pipeline.studies.plan import MAY_CHANGE, Plan, group_of, make_plan, value_at
from pipeline.studies.storage import open_study
from pipeline.study_config import Study

LR = "search.space={optimizer.lr:{type:float,low:0.001,high:0.1}}"


@cache
def plan(*overrides: str) -> Plan:
    return make_plan(["data=iris", "search=mlp", *overrides])


def test_the_objective_is_what_training_monitors_where_none_is_named() -> None:
    assert plan("trainer.monitor=val/accuracy").objectives == ("val/accuracy",)
    assert plan("trainer.monitor=val/accuracy").directions == ("maximize",)
    assert plan("study.metric=val/macro_f1", "study.direction=minimize").directions == ("minimize",)
    assert plan("study.metrics=[val/accuracy,n_params]").directions == ("maximize", "minimize")


@pytest.mark.parametrize(
    ("override", "group"),
    [
        ("optimizer=adam", "optimizer"),
        ("optimizer.lr=1", "optimizer"),
        ("++model.hidden=[1]", "model"),
        ("~data", "data"),
    ],
)
def test_an_override_is_of_a_group(override: str, group: str) -> None:
    assert group_of(override) == group


def test_a_trial_that_chooses_a_group_drops_what_was_set_of_the_other_choice() -> None:
    asked = plan("optimizer=sgd", "optimizer.lr=0.5", "seed=3")
    overrides = asked.trial_overrides({"optimizer": "rmsprop", "optimizer.alpha": 0.9})
    assert overrides == ["data=iris", "seed=3", "optimizer=rmsprop", "optimizer.alpha=0.9"]
    config = asked.trial_config({"optimizer": "rmsprop", "optimizer.alpha": 0.9})
    assert (config.optimizer.name, config.seed) == ("rmsprop", 3)


def test_a_trial_that_only_sets_a_value_keeps_the_base_config() -> None:
    config = plan("optimizer=sgd", "model.hidden=[7]", LR).trial_config({"optimizer.lr": 0.25})
    assert (config.optimizer.name, config.optimizer.lr, config.model.shape) == ("sgd", 0.25, "[7]")


def test_how_long_and_where_a_study_runs_may_change_and_nothing_else() -> None:
    same = plan().identity("d")
    assert plan("study.n_trials=7", "study.workers=1", "tracking.root=elsewhere").identity("d") == same
    for other in ("seed=1", "model.hidden=[8]", "study.sampler=random", LR, "trainer.max_epochs=3"):
        assert plan(other).identity("d") != same, other
    assert plan().identity("other data") != same


def test_what_may_change_are_fields_of_a_study() -> None:
    assert {*Study.model_fields} > MAY_CHANGE


def test_every_range_and_branch_that_no_config_can_hold_is_told_at_once() -> None:
    space = "{optimizer.lr:{type:float,low:-1,high:0.1,log:false},model.dropout:{type:float,low:0,high:2}}"
    with pytest.raises(ConfigError) as error:
        plan(f"search.space={space}")
    assert error.value.lines == (
        "search.space: optimizer.lr: must be greater than 0 or 'auto', got -1.0",
        "search.space: model.dropout: must be less than 1, got 2.0",
    )


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model=tabm"], "search: mlp is made for model=mlp, got model=tabm; use search=tabm or model=mlp"),
        (["search=full", "model=resnet"],
            "search: full is made for model=mlp, got model=resnet; use search=resnet or model=mlp"),
        (["search=tabm", "model=mlp"],
            "search: tabm is made for model=tabm, got model=mlp; use search=mlp or model=tabm"),
        (["trainer.devices=2"],
            "trainer.devices: of many runs each is trained in one process; use 1, and strategy=auto"),
        (["search.space={trainer.devices:{type:categorical,choices:[1,2]}}"],
            "search.space: trainer.devices: of many runs each is trained in one process; use 1, and strategy=auto"),
    ],
)  # fmt: skip
def test_a_space_that_does_not_fit_the_run_is_one_line(overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_plan(["data=iris", "search=mlp", *overrides])
    assert error.value.lines == (line,)


def test_the_value_at_a_path_is_the_configs_and_of_a_group_its_choice() -> None:
    config = plan("optimizer=sgd").config
    assert (value_at(config, "optimizer"), value_at(config, "optimizer.lr")) == ("sgd", config.optimizer.lr)
    assert value_at(config, "optimizer.alpha") is None


def test_a_length_that_refers_to_no_list_is_told() -> None:
    with pytest.raises(ConfigError) as error:
        plan().length("optimizer.lr")
    assert error.value.lines == ("search.space: a length refers to optimizer.lr, which is no list, got 0.001",)


def test_what_is_for_another_task_is_not_searched() -> None:
    smoothing = "search.space={loss.label_smoothing:{type:float,low:0,high:0.1,task:classification}}"
    asked = plan(smoothing)
    assert "loss.label_smoothing" in asked.for_task("multiclass").space
    assert {*asked.space} - {*asked.for_task("regression").space} == {"loss.label_smoothing"}


def test_the_name_that_a_study_has_anyway_may_be_given() -> None:
    storage = optuna.storages.InMemoryStorage()
    for overrides in ([], ["study.name=iris-mlp"]):
        plan = make_plan(["data=iris", "search=mlp", *overrides])
        open_study(storage, plan.name, plan.directions, plan.identity("d"))


def test_cma_es_with_several_objectives_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^study\.sampler: "):
        make_plan(["data=iris", "search=mlp", "study.sampler=cma_es", "study.metrics=[val/log_loss,n_params]"])
