"""The sections: what they accept, what they refuse and in which words; that they, conf/ and the registries agree."""

from functools import cache
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from pipeline.comparison_config import ComparisonConfig
from pipeline.compose import compose_values, conf_dir, list_groups, load_config, to_yaml, validate
from pipeline.config import Config, choices_of
from pipeline.data.sources import SOURCES
from pipeline.errors import ConfigError
from pipeline.losses import LOSSES
from pipeline.metrics import CLASSIFICATION, REGRESSION
from pipeline.model_config import Activation, Init
from pipeline.networks import NETWORKS
from pipeline.networks.activations import ACTIVATIONS
from pipeline.networks.initializers import INITIALIZERS
from pipeline.optim import OPTIMIZERS, SCHEDULERS
from pipeline.sections import Section
from pipeline.space import nearest
from pipeline.studies.plan import make_plan, value_at
from pipeline.study_config import StudyConfig
from pipeline.trainer_config import Monitor
from tests.conftest import quick

REGISTRIES: dict[str, dict[str, Any]] = {
    "data": SOURCES, "model": NETWORKS, "loss": LOSSES, "optimizer": OPTIMIZERS, "scheduler": SCHEDULERS,
}  # fmt: skip
SECTIONS = [group for group in Config.model_fields if group not in ("seed", "baselines")]
STUDY = [group for group in StudyConfig.model_fields if group not in Config.model_fields]
REQUIRED = {  # what a choice cannot guess
    "csv": ["data.path=t.csv", "data.target=y"],
    "openml": ["data.dataset=credit-g"],
}
CHOICES = [(group, choice) for group, choices in list_groups().items() for choice in choices]


@cache
def composed(group: str, choice: str) -> Config:
    kind = StudyConfig if group in STUDY else ComparisonConfig if group == "comparison" else Config
    return load_config([f"{group}={choice}", *REQUIRED.get(choice, [])], None, kind)


@cache
def base(*choices: str) -> DictConfig:
    return OmegaConf.create(compose_values(choices))


def read(overrides: str) -> Config:
    """As load_config, but composing each choice once: 70 ms less a test."""
    given = overrides.split()
    values = base(*(text for text in given if "." not in text.partition("=")[0])).copy()
    for override in OverridesParser.create().parse_overrides([text for text in given if "." in text.partition("=")[0]]):
        OmegaConf.update(values, override.key_or_group, override.value(), force_add=True)
    return validate(cast(dict[str, Any], OmegaConf.to_container(values)))


def mistakes(overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(overrides)
    return list(refused.value.lines)


# ---------------------------------------------------------------- three places that must agree
@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_file_in_conf_composes_and_validates(group: str, choice: str) -> None:
    assert isinstance(composed(group, choice), Config)


@pytest.mark.parametrize("group", SECTIONS)
def test_files_on_disk_are_the_sections_of_the_group(group: str) -> None:
    held = {type(getattr(composed(group, choice), group)) for choice in list_groups()[group]}
    assert held == set(choices_of(group).values())


def test_nesterov_is_a_preset_of_momentum() -> None:
    plain, preset = composed("optimizer", "momentum").optimizer, composed("optimizer", "nesterov").optimizer
    assert preset == plain.model_copy(update={"nesterov": True})


@pytest.mark.slow
@pytest.mark.parametrize("choice", list_groups()["search"])
def test_every_end_of_a_shipped_search_space_is_a_config(choice: str) -> None:
    plan = make_plan([f"search={choice}", f"model={choice if choice in choices_of('model') else 'mlp'}"])
    assert plan.config.search.name == choice
    assert nearest(plan.space, lambda path: value_at(plan.config, path), plan.length)[1] == []  # holds the defaults


# settings of another choice, ready made
READY = [("optimizer", name) for name in ("nesterov", "realmlp", "tabm", "ft_transformer")]


@pytest.mark.parametrize("group", SECTIONS)
def test_a_file_is_named_as_its_section(group: str) -> None:
    for choice in list_groups()[group]:
        name = getattr(getattr(composed(group, choice), group), "name", None)
        assert name in (choice, None) or (group, choice) in [*READY, ("model", "auto")]


@pytest.mark.parametrize("group", REGISTRIES)
def test_choices_and_registry_are_the_same_set(group: str) -> None:
    assert set(choices_of(group)) == set(REGISTRIES[group])


def test_every_preprocess_file_is_a_scaling() -> None:
    for choice in list_groups()["preprocess"]:
        assert composed("preprocess", choice).preprocess.scaling == choice


def test_activations_initializers_and_monitors_are_those_built() -> None:
    assert set(get_args(Activation)) == set(ACTIVATIONS)
    assert set(get_args(Init)) == set(INITIALIZERS)
    assert set(get_args(Monitor)) == {"val/loss", *(f"val/{name}" for name in CLASSIFICATION | REGRESSION)}


def test_every_file_on_disk_is_a_choice_of_a_group() -> None:
    files = {path.relative_to(conf_dir()) for path in conf_dir().rglob("*.yaml") if not path.name.startswith("_")}
    listed = {Path(group) / f"{choice}.yaml" for group, choice in CHOICES}
    roots = ("config", "train", "study", "compare", "leaderboard")
    assert files - listed == {Path(f"{root}.yaml") for root in roots}


# ---------------------------------------------------------------- sections
def sections() -> list[type[Section]]:
    found = [Section]
    for kind in found:
        found += kind.__subclasses__()
    return found[1:]


@pytest.mark.parametrize("kind", sections())
def test_a_section_has_a_docstring_and_a_meaning_for_each_field(kind: type[Section]) -> None:
    assert kind.__doc__
    if not issubclass(kind, Config):
        assert all(field.description for name, field in kind.model_fields.items() if name != "name")


@pytest.mark.parametrize("kind", sections())
def test_values_live_in_conf_not_in_the_code(kind: type[Section]) -> None:
    assert all(field.is_required() for field in kind.model_fields.values())


def test_a_config_cannot_be_changed() -> None:
    config = quick()
    with pytest.raises(ValidationError, match="frozen"):
        config.trainer.max_epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_yaml_gives_the_same_config_back(group: str, choice: str) -> None:
    config = composed(group, choice)
    assert validate(yaml.safe_load(to_yaml(config)), type(config)) == config


@settings(deadline=None)
@given(
    lr=st.floats(1e-300, 1e300),
    seed=st.integers(0, 2**32 - 1),
    name=st.text(min_size=1),
    drop=st.lists(st.text(min_size=1), max_size=3),
    hidden=st.lists(st.integers(1, 65536), max_size=5),
)
@example(lr=1e-5, seed=0, name="Price\n(EUR)\x85\u2028", drop=["1e-3", "null", "ü", "- a: b"], hidden=[])
def test_any_values_come_back_from_yaml(lr: float, seed: int, name: str, drop: list[str], hidden: list[int]) -> None:
    values = composed("data", "csv").model_dump(mode="json") | {"seed": seed}
    values["optimizer"] |= {"lr": lr}
    values["data"] |= {"target": name, "drop": drop}
    values["model"] |= {"hidden": hidden}
    config = validate(values)
    assert validate(yaml.safe_load(to_yaml(config))) == config


# ---------------------------------------------------------------- what is accepted
@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("optimizer.lr=1e-3", 1e-3),
        ("optimizer.lr=1", 1.0),
        ("optimizer.lr=.5", 0.5),
        ("optimizer.betas=[0.8,0.9]", (0.8, 0.9)),
        ("model.hidden=[]", ()),
        ("model.hidden=[3]", (3,)),
        ("model.activation=gelu", "gelu"),
        ("model.activation=[relu,tanh]", ("relu", "tanh")),
        ("model.init=[zeros,ones,normal]", ("zeros", "ones", "normal")),
        ("model.dropout=[0.1,0]", (0.1, 0.0)),
        ("model.batch_norm=[true,false]", (True, False)),
        ("trainer.patience=null", None),
        ("trainer.devices=2", 2),
        ("trainer.devices=auto", "auto"),
        ("trainer.devices=[0,1]", (0, 1)),
        ("data.drop=[1,b,2.5]", ("1", "b", "2.5")),
        ("data.group=7", "7"),
    ],
)
def test_a_value_becomes(override: str, value: object) -> None:
    section, field = override.partition("=")[0].split(".")
    assert getattr(getattr(read(override), section), field) == value


# ---------------------------------------------------------------- what is refused, and how
LITERALS = "'sigmoid', 'tanh', 'relu', 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish' or 'identity'"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optimizer.lr=-1", "optimizer.lr: must be greater than 0 or 'auto', got -1"),
        ("optimizer.lr=abc", "optimizer.lr: must be a number or 'auto', got 'abc'"),
        ("optimizer.lr=", "optimizer.lr: must be a number or 'auto', got ''"),
        ("optimizer.lr=true", "optimizer.lr: must be a number or 'auto', got true"),
        ("optimizer.lr=null", "optimizer.lr: must be a number or 'auto', got null"),
        ("optimizer.lr=inf", "optimizer.lr: must be a finite number or 'auto', got inf"),
        ("optimizer.lr=nan", "optimizer.lr: must be a finite number or 'auto', got nan"),
        ("optimizer.lr.x=3", "optimizer.lr: must be a number or 'auto', got {x:3}"),
        ("optimizer.betas=[0.9]", "optimizer.betas: has too few entries, got [0.9]"),
        ("optimizer.betas=[0.9,0.9,0]", "optimizer.betas: must have at most 2 items, not 3, got [0.9,0.9,0]"),
        ("optimizer.betas=3", "optimizer.betas: must be a list, got 3"),
        ("trainer.max_epochs=0", "trainer.max_epochs: must be greater than or equal to 1, got 0"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs: must be a whole number, got 1.5"),
        ("trainer.max_epochs=true", "trainer.max_epochs: must be a whole number, got true"),
        ("trainer.batch_size=99999999999999999999",
         "trainer.batch_size: must be less than 2147483648 or 'auto', got 99999999999999999999"),
        ("trainer.threads=4096", "trainer.threads: must be less than or equal to 1024 or 'auto', got 4096"),
        ("trainer.patience=0", "trainer.patience: must be greater than or equal to 1, got 0"),
        ("trainer.monitor=loss", f"trainer.monitor: must be {', '.join(map(repr, get_args(Monitor)[:-1]))} or "
            f"{get_args(Monitor)[-1]!r}, got 'loss'"),
        ("trainer.devices=x", "trainer.devices: must be a whole number or 'auto', got 'x'"),
        ("trainer.devices=0", "trainer.devices: must be greater than or equal to 1 or 'auto', got 0"),
        ("trainer.devices=null", "trainer.devices: must be a whole number or 'auto', got null"),
        ("trainer.devices=[]", "trainer.devices: must have at least 1 item, not 0, got []"),
        ("trainer.devices=[0,x]", "trainer.devices.1: must be a whole number, got 'x'"),
        ("trainer.steps_per_execution=[1]", "trainer.steps_per_execution: must be a whole number or 'auto', got [1]"),
        ("model.hidden=5", "model.hidden: must be a list, got 5"),
        ("model.hidden=null", "model.hidden: must be a list, got null"),
        ("model.hidden=[a]", "model.hidden.0: must be a whole number, got 'a'"),
        ("model.hidden.0=0", "model.hidden.0: must be greater than or equal to 1, got 0"),
        ("model.hidden=[1e9]", "model.hidden.0: must be a whole number, got 1000000000.0"),
        ("model.activation=rel", f"model.activation: must be {LITERALS}, got 'rel'"),
        ("model.activation=[relu,rel]", f"model.activation.1: must be {LITERALS}, got 'rel'"),
        ("model.activation=3", f"model.activation: must be {LITERALS}, got 3"),
        ("model.dropout=1", "model.dropout: must be less than 1, got 1"),
        ("model.dropout=[0.1,2]", "model.dropout.1: must be less than 1, got 2"),
        ("model.batch_norm=x", "model.batch_norm: must be true or false, got 'x'"),
        ("data.drop=a", "data.drop: must be a list, got 'a'"),
        ("data.drop=[[a]]", "data.drop.0: must be text, got ['a']"),
        ("data.drop=[null]", "data.drop.0: must be text, got null"),
        ("data.group=", "data.group: must have at least 1 character, got ''"),
        ("data.group=[a]", "data.group: must be text, got ['a']"),
        ("predict.coverage=1", "predict.coverage: must be less than 1, got 1"),
        ("data.val_size=1", "data.val_size: must be less than 1, got 1"),
        ("seed=-1", "seed: must be greater than or equal to 0, got -1"),
        ("seed=4294967296", "seed: must be less than 4294967296, got 4294967296"),
        ("seed={a:1}", "seed: must be a whole number, got {a:1}"),
        ("tracking.root=", "tracking.root: must have at least 1 character, got ''"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(override: str, line: str) -> None:
    assert mistakes(override) == [line]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("data.val_size=0.5 data.test_size=0.5",
         "data.val_size: and data.test_size must leave rows to train on, got 0.5 + 0.5"),
        ("data.group=a data.time=b", "data.group: and data.time cannot both steer the split; give one of them"),
        ("data.split=grouped", "data.split: grouped needs the column, as data.group=NAME"),
        ("data.split=time", "data.split: time needs the column, as data.time=NAME"),
        ("data.split=stratified data.group=a",
         "data.split: stratified cannot be used with data.group=a; leave one out"),
        ("data.split=grouped data.time=a", "data.split: grouped needs the column, as data.group=NAME"),
        ("data.split=random data.time=a", "data.split: random cannot be used with data.time=a; leave one out"),
        ("model.activation=[relu]", "model.activation: must be one value or a list of 2 (one a hidden layer), got 1"),
        ("model.init=[zeros,ones]",
         "model.init: must be one value or a list of 3 (one a hidden layer and one for the output layer), got 2"),
        ("model.hidden=[] model.dropout=[0.1]",
         "model.dropout: must be one value or a list of 0 (one a hidden layer), got 1"),
        ("model.batch_norm=[true,true,true]",
         "model.batch_norm: must be one value or a list of 2 (one a hidden layer), got 3"),
        ("model.init_std=0.1", "model.init_std: applies to model.init=normal only, got auto"),
        ("model.hidden=[3] model.init=[auto,xavier_normal] model.init_std=1",
         "model.init_std: applies to model.init=normal only, got auto,xavier_normal"),
        ("optimizer=nesterov optimizer.dampening=0.9", "optimizer.nesterov: needs optimizer.dampening=0, got 0.9"),
        ("scheduler=multi_step scheduler.milestones=[5,3]", "scheduler.milestones: must rise, got [5, 3]"),
        ("scheduler=multi_step scheduler.milestones=[3,3]", "scheduler.milestones: must rise, got [3, 3]"),
        ("scheduler=multi_step scheduler.milestones=[]",
         "scheduler.milestones: must have at least 1 item, not 0, got []"),
        ("scheduler=one_cycle scheduler.warmup_epochs=1",
         "scheduler.warmup_epochs: no such setting; choices: div_factor, final_div_factor, pct_start"),
        ("trainer.gradient_clip_algorithm=value",
         "trainer.gradient_clip_algorithm: value needs the size, as trainer.gradient_clip_val=1"),
        ("trainer.seeds=3 trainer.devices=2",
         "trainer.seeds: 3 networks are trained in one process; use trainer.devices=1"),
        ("trainer.seeds=3 trainer.folds=5 trainer.devices=auto",
         "trainer.folds: 5 networks are trained in one process; use trainer.devices=1"),
        ("data=csv data.path=x data.target=[]", "data.target: must have at least 1 item, not 0, got []"),
        ("data=openml data.dataset=x data.target=[]", "data.target: must have at least 1 item, not 0, got []"),
        ("data=csv data.path=x data.target=true", "data.target: must be text, got true"),
        ("data=csv data.path=x data.target=y data.separator=ab",
         "data.separator: must have at most 1 character, got 'ab'"),
        ("data=openml", "data.dataset: must be given, as data.dataset=VALUE"),
        ("tracking=none tracking.experiment=x", "tracking.experiment: no such setting; choices: root"),
        ("loss=mse loss.label_smoothing=0.1", "loss.label_smoothing: no such setting; there are none"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(overrides: str, line: str) -> None:
    assert mistakes(overrides) == [line]


@pytest.mark.parametrize(
    "overrides",
    [
        "model.init=[auto,normal,auto] model.init_std=0.1",
        "model.hidden=[] model.activation=[]",
        "data.split=time data.time=t",
        "data.split=grouped data.group=g",
        "trainer.gradient_clip_algorithm=value trainer.gradient_clip_val=1",
        "optimizer=momentum optimizer.momentum=0.9 optimizer.dampening=0.9",
    ],
)
def test_settings_that_go_together_are_accepted(overrides: str) -> None:
    assert isinstance(read(overrides), Config)
