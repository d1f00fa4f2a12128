"""`pipeline options`: everything that can be set is listed, with meaning, range and default."""

from functools import cache
from pathlib import Path

import pytest

from pipeline.compose import GLOBAL, list_groups
from pipeline.config import Config, choices_of
from pipeline.errors import ConfigError
from pipeline.options import describe_group, describe_groups

SECTIONS = [group for group in Config.model_fields if group not in ("seed", "baselines")]


READY = {"nesterov": "momentum"} | dict.fromkeys(("realmlp", "tabm", "ft_transformer"), "adamw")  # settings of others


@cache
def described(group: str) -> str:
    return describe_group(group)


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    "group",
    [pytest.param(name, marks=[pytest.mark.slow] if name in ("data", "scheduler") else []) for name in SECTIONS],
)
def test_every_field_of_every_choice_appears_with_meaning_range_and_default(group: str) -> None:
    entries = dict(zip(list_groups()[group], described(group).split("\n\n"), strict=True))
    for choice, entry in entries.items():
        if (group, choice) == ("model", "auto"):  # has none
            continue
        kinds = choices_of(group)
        kind = kinds.get(choice) or kinds.get(READY.get(choice, "")) or kinds[group]
        assert entry.startswith(f"{group}={choice}\n")
        assert squeezed(kind.__doc__ or "") in squeezed(entry)
        lines = entry.splitlines()
        for name, field in kind.model_fields.items():
            if name != "name":
                head = next(line for line in lines if line.startswith(f"  {group}.{name}="))
                assert head.endswith(")")
                assert squeezed(field.description or "?") in squeezed(entry)


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("optimizer", "  optimizer.lr=0.001   (number > 0 | auto)"),
        ("optimizer", "  optimizer.eps=1e-08   (number > 0)"),
        ("optimizer", "  optimizer.betas=[0.9,0.999]   (list of 2 × number ≥ 0, < 1)"),
        ("optimizer", "  optimizer.nesterov=true   (true | false)"),
        ("model", "  model.hidden=[128,64]   (list of whole number ≥ 1, ≤ 65536)"),
        ("model", "  model.dropout=0.1   (number ≥ 0, < 1 | list of these)"),
        ("trainer", "  trainer.patience=16   (whole number ≥ 1 | null)"),
        ("trainer", "  trainer.devices=1   (whole number ≥ 1 | auto | list of whole number ≥ 0)"),
        ("data", "  data.path=…   (text)"),
        ("data", "  data.separator=','   (text)"),
        ("data", "  data.target=…   (text | list of these)"),
        ("data", "  data.split_seed=0   (whole number ≥ 0, < 4294967296)"),
        ("tracking", "  tracking.experiment=null   (text | null)"),
        ("preprocess", "  preprocess.scaling=robust   (standard | robust | quantile | none)"),
    ],
)
def test_a_field_is_shown_as_it_is_typed(group: str, line: str) -> None:
    assert line in described(group).splitlines()


def test_groups_are_listed_with_their_default_marked() -> None:
    lines = describe_groups().splitlines()
    for group, choices in list_groups().items():
        line = next(line for line in lines if line.startswith(f"{group} "))
        assert [word.rstrip("*") for word in line.split()[1:]] == choices
        assert line.count("*") == (group not in GLOBAL)
    assert (
        "optimizer    adagrad  adam*  adamw  ft_transformer  momentum  nesterov  realmlp  rmsprop  sgd  tabm" in lines
    )
    assert "preprocess   none  quantile  robust  standard*" in lines
    start = lines.index("seed=0   (whole number ≥ 0, < 4294967296)")
    assert lines[start + 1 : start + 3] == [
        "    seed of weights, shuffling and dropout",
        "baselines=[dummy,linear,hist_gb]   (list of dummy | linear | hist_gb | lightgbm | xgboost | catboost)",
    ]


def test_what_has_no_choices_is_described_too() -> None:
    lines = described("leaderboard").splitlines()
    assert "  leaderboard.models=null   (list of text | null)" in lines
    assert "  leaderboard.name=null   (text | null)" in lines
    assert "  seeds=3   (whole number ≥ 1)" in lines
    assert "leaderboard  fields only" in describe_groups().splitlines()


def test_what_studies_and_comparisons_have_is_listed_with_its_name() -> None:
    assert "  study.name=null   (text | null)" in described("study").splitlines()
    assert "  comparison.epoch=best   (best | last)" in described("comparison").splitlines()
    assert "comparison=activations" in described("comparison").splitlines()
    assert "  vary={}   (names with a value each)" in described("comparison").splitlines()


@pytest.mark.parametrize("group", [group for group in list_groups() if group not in SECTIONS])
def test_every_group_is_described(group: str) -> None:
    entries = described(group).split("\n\n")
    assert all(any(entry.startswith(f"{group}={choice}\n") for entry in entries) for choice in list_groups()[group])


def test_an_experiment_shows_what_it_sets() -> None:
    entry = describe_group("experiment")
    assert entry.startswith("experiment=linear\n  # The linear model")
    assert "\n    hidden: []\n" in entry


def test_an_unknown_group() -> None:
    with pytest.raises(ConfigError) as refused:
        describe_group("optimiser")
    assert refused.value.lines == (
        "options: no such group, got 'optimiser'; groups: comparison, data, doctor, experiment, leaderboard, loss, "
        "model, optimizer, predict, preprocess, scheduler, search, serve, study, tracking, trainer",
    )


def test_own_choices_are_listed_too(tmp_path: Path) -> None:
    for group in ("optimizer", "experiment"):
        (tmp_path / group).mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("defaults: [adam]\nlr: 0.0125\n")
    (tmp_path / "experiment" / "big.yaml").write_text("model: {hidden: [512]}\n")
    assert "ft_transformer  mine  momentum" in describe_groups(tmp_path)
    optimizers = describe_group("optimizer", tmp_path)
    assert "optimizer=mine\n  Adam (Kingma" in optimizers
    assert "optimizer.lr=0.0125 " in optimizers
    assert "experiment=big\n  model: {hidden: [512]}" in describe_group("experiment", tmp_path)


@pytest.mark.parametrize("text", ["name: adm", "[a]", "", "lr: 3"])
def test_an_own_choice_of_no_known_section(tmp_path: Path, text: str) -> None:
    file = tmp_path / "optimizer" / "a.yaml"  # the first one: each takes a composition
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        describe_group("optimizer", tmp_path)
    names = "sgd, momentum, adagrad, rmsprop, adam, adamw"
    assert refused.value.lines == (f"{file}: must be settings of a known section, by name: {names}",)
