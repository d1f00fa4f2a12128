"""From overrides to a config: the grammar, the groups, a user's own folder, and every way of getting it wrong."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.compose import compose_values, conf_dir, list_groups, load_config, validate
from pipeline.config import Config, Csv
from pipeline.errors import ConfigError

SETTINGS = (
    "baselines, data, doctor, loss, model, optimizer, predict, preprocess, scheduler, seed, serve, tracking, trainer"
)
CSV = ["data=csv", "data.path=t.csv", "data.target=y"]


def mistakes(*overrides: str, config_dir: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load_config(overrides, config_dir)
    return list(refused.value.lines)


def csv(*overrides: str) -> Csv:
    data = load_config([*CSV, *overrides]).data
    assert isinstance(data, Csv)
    return data


# ---------------------------------------------------------------- grammar
@pytest.mark.parametrize(
    ("override", "target"),
    [
        ("data.target=Sale Price", "Sale Price"),
        ('data.target="Sale Price"', "Sale Price"),
        ("data.target='Größe (m²), netto'", "Größe (m²), netto"),
        ('data.target="价格"', "价格"),
        ("data.target=a-b.c/d:e", "a-b.c/d:e"),
        (r"data.target=a\,b", "a,b"),
        ("data.target=3", "3"),
        ("data.target='1e3'", "1e3"),
        ("data.target='null'", "null"),
        ("data.target=[a,b c,'d,e',4]", ("a", "b c", "d,e", "4")),
        ("++data.target=a", "a"),
        ('data.target="a\nb"', "a\nb"),
    ],
)
def test_a_target_is_read_as_written(override: str, target: object) -> None:
    assert csv(override).target == target


def test_a_file_beside_its_group_can_be_of_any_name() -> None:
    data = csv("data.path='/tmp/my (old) tables/jörg=1.csv'", "data.separator=';'", "data.missing_values=[?,-999]")
    assert (data.path, data.separator) == ("/tmp/my (old) tables/jörg=1.csv", ";")
    assert data.missing_values == ("?", "-999")


def test_the_later_override_wins() -> None:
    config = load_config(["optimizer.lr=1", "optimizer=sgd", "optimizer=adamw", "optimizer.lr=1e-4"])
    assert (config.optimizer.name, config.optimizer.lr) == ("adamw", 1e-4)


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_a_choice_may_be_written_as_hydra_users_do(prefix: str) -> None:
    assert load_config([f"{prefix}experiment=linear"]).model.shape == "[]"


def test_nested_values_are_merged() -> None:
    config = load_config(
        ["trainer={max_epochs:3,patience:null}", "model.hidden.0=7", "optimizer.lr=${trainer.max_epochs}"]
    )
    assert (config.trainer.max_epochs, config.trainer.patience) == (3, None)
    assert config.model.shape == "[7, 64]"
    assert config.optimizer.lr == 3


def test_an_experiment_wins_over_the_groups_and_an_override_over_it() -> None:
    assert load_config(["experiment=linear", "optimizer=sgd"]).optimizer.lr == 1e-2
    assert load_config(["optimizer.lr=3", "experiment=linear"]).optimizer.lr == 3


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("nonsense", "'nonsense': not an override; write group=choice or section.field=value"),
        ("", "'': not an override; write group=choice or section.field=value"),
        ("=3", "'=3': not an override; write group=choice or section.field=value"),
        ("a..b=3", "'a..b=3': not an override; write group=choice or section.field=value"),
        ("a b=3", "'a b=3': not an override; write group=choice or section.field=value"),
        ("--lr=3", "'--lr=3': not an override; write group=choice or section.field=value"),
        ("data.target\n", "'data.target ': not an override; write group=choice or section.field=value"),
        ("data.path=/jörg/t.csv", "data.path: cannot be read, got /jörg/t.csv; "
            "text with special characters needs quotes, as 'data.path=\"…\"'"),
        ("data.drop=[a,(b)]", "data.drop: cannot be read, got [a,(b)]; "
            "text with special characters needs quotes, as 'data.drop=[\"…\"]'"),
        ("data.target=a\nb", "data.target: cannot be read, got a b; "
            "text with special characters needs quotes, as 'data.target=\"…\"'"),
        ("optimizer.lr=1,2", "optimizer.lr: several values at once, got 1,2; give one value"),
        ("optimizer=sgd,adam", "optimizer: several values at once, got sgd,adam; give one value"),
        ("seed=range(1,3)", "seed: several values at once, got range(1,3); give one value"),
        ("optimizer@x=adam", "optimizer: takes no package, got @x; write optimizer=adam"),
        ("optimizer.name=sgd", "optimizer.name: comes with the choice; write optimizer=sgd"),
        ("optimizer=adm", "optimizer: no such choice, got 'adm', did you mean 'adam'?"),
        ("optimizer=mlp", "optimizer: no such choice, got 'mlp', did you mean 'realmlp'?"),
        ("optimizer=", "optimizer: no such choice, got ''; "
            "choices: adagrad, adam, adamw, ft_transformer, momentum, nesterov, realmlp, rmsprop, sgd, tabm"),
        ("optimizer=[adam,sgd]", "optimizer: no such choice, got '[adam,sgd]'; "
            "choices: adagrad, adam, adamw, ft_transformer, momentum, nesterov, realmlp, rmsprop, sgd, tabm"),
        ("tracking=null", "tracking: no such choice, got 'null'; choices: mlflow, none"),
        ("++trainer=5", "trainer: no such choice, got '5'; choices: default, large, realmlp"),
        ("data=_base", "data: no such choice, got '_base'; choices: breast_cancer, california_housing, csv, diabetes, "
            "digits, iris, mobile_price, openml, outliers, sparse, wine"),
        ("experiment=liner", "experiment: no such choice, got 'liner', did you mean 'linear'?"),
        ("experiment.lr=3", f"experiment: no such setting; choices: {SETTINGS}"),
        ("experiment={lr:3}", f"experiment: no such setting; choices: {SETTINGS}"),
        ("optimizr=adam", "optimizr: no such setting, did you mean 'optimizer'?"),
        ("+foo=1", f"foo: no such setting; choices: {SETTINGS}"),
        ("~foo", f"foo: no such setting; choices: {SETTINGS}"),
        ("_target_=os.system", f"_target_: no such setting; choices: {SETTINGS}"),
        ("defaults=[]", f"defaults: no such setting; choices: {SETTINGS}"),
        ("hydra.run.dir=/", f"hydra: no such setting; choices: {SETTINGS}"),
        ("hydra/launcher=basic", f"hydra/launcher: no such setting; choices: {SETTINGS}"),
        ("hydra={verbose:true}", f"hydra: no such setting; choices: {SETTINGS}"),
        ("+hydra.searchpath=[/]", f"hydra: no such setting; choices: {SETTINGS}"),
        ("data/csv=iris", "data/csv: no such setting, did you mean 'data'?"),
        ("optimizer.lrr=1", "optimizer.lrr: no such setting, did you mean 'lr'?"),
        ("optimizer._target_=x", "optimizer._target_: no such setting; choices: betas, eps, lr, weight_decay"),
        ("loss.beta=1", "loss.beta: no such setting; choices: class_weight, label_smoothing"),
        ("trainer.epochs=3", "trainer.epochs: no such setting, did you mean 'max_epochs'?"),
        ("~optimizer", "optimizer: must be given, as optimizer=VALUE"),
        ("~optimizer.lr", "optimizer.lr: must be given, as optimizer.lr=VALUE"),
        ("~optimizer.lrr", "Could not delete from config. 'optimizer.lrr' does not exist."),
        ("~model.hidden.0", "~model.hidden.0: list indices must be integers or slices, not str"),
        ("model.hidden.9=3", "Error merging override model.hidden.9=3: list index out of range"),
        ("model.hidden={a:1}", "Error merging override model.hidden={a:1}: Cannot merge DictConfig with ListConfig"),
        ("trainer.max_epochs=???", "trainer.max_epochs: must be given, as trainer.max_epochs=VALUE"),
        ("optimizer.lr=${nope}", "optimizer.lr: Interpolation key 'nope' not found"),
        ("optimizer.lr=${optimizer.lr}", "optimizer.lr: Recursive interpolation detected"),
        ("optimizer.lr=${seed}", "optimizer.lr: must be greater than 0 or 'auto', got 0"),
    ],
)  # fmt: skip
def test_an_override_that_cannot_be_followed(override: str, line: str) -> None:
    assert mistakes(override) == [line]


def test_all_mistakes_are_reported_together() -> None:
    assert mistakes(
        "optimizer=adm", "nonsense", "trainer.max_epochs=0", "model.hidden=[0,a]", "data.drop=a", "fo=1"
    ) == [
        "optimizer: no such choice, got 'adm', did you mean 'adam'?",
        "'nonsense': not an override; write group=choice or section.field=value",
        f"fo: no such setting; choices: {SETTINGS}",
        "data.drop: must be a list, got 'a'",
        "model.hidden.0: must be greater than or equal to 1, got 0",
        "model.hidden.1: must be a whole number, got 'a'",
        "trainer.max_epochs: must be greater than or equal to 1, got 0",
    ]


def test_what_follows_from_a_mistake_is_not_reported() -> None:
    assert mistakes("loss=hubr", "loss.delta=2") == ["loss: no such choice, got 'hubr', did you mean 'huber'?"]
    assert mistakes("data=csv", "data.path=ü.csv", "data.target=y") == [
        "data.path: cannot be read, got ü.csv; text with special characters needs quotes, as 'data.path=\"…\"'"
    ]


def test_a_mistake_in_one_field_hides_none_in_the_next() -> None:
    assert mistakes("data=csv", "data.path=t.csv", "data.target=true", "data.drop=a") == [
        "data.drop: must be a list, got 'a'",
        "data.target: must be text, got true",
    ]


# ---------------------------------------------------------------- a user's own folder
@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own, [groups] \"of\" 'Jörg'"
    for group in ("optimizer", "experiment", "optimiser"):
        (folder / group).mkdir(parents=True)
    return folder


def test_an_own_choice_starts_from_a_shipped_one(own: Path) -> None:
    (own / "optimizer" / "mine.yaml").write_text("defaults: [adam]\nlr: 0.5\n")
    config = load_config(["optimizer=mine", "optimizer.eps=1e-4"], own)
    assert config.optimizer.model_dump() == {
        "name": "adam", "lr": 0.5, "betas": (0.9, 0.999), "eps": 1e-4, "weight_decay": 0.0
    }  # fmt: skip
    assert "mine" in list_groups(own)["optimizer"]


def test_a_relative_folder_will_do(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "optimizer" / "mine.yaml").write_text("defaults: [adam]\nlr: 0.5\n")
    monkeypatch.chdir(own.parent)
    assert load_config(["optimizer=mine"], Path(own.name)).optimizer.lr == 0.5


@pytest.mark.parametrize("name", ["007", "1e3", "null", "true", "my choice"])
def test_a_choice_may_look_like_a_value(own: Path, name: str) -> None:
    (own / "optimizer" / f"{name}.yaml").write_text("defaults: [sgd]\nlr: 0.5\n")
    assert load_config([f"optimizer={name}"], own).optimizer.lr == 0.5


@pytest.mark.parametrize("header", ["", "# @package _global_\n"])
def test_an_own_experiment_needs_no_header(own: Path, header: str) -> None:
    (own / "experiment" / "mine.yaml").write_text(
        f"{header}defaults:\n  - override /optimizer: sgd\ntrainer:\n  max_epochs: 3\n"
    )
    config = load_config(["experiment=mine"], own)
    assert (config.optimizer.name, config.trainer.max_epochs) == ("sgd", 3)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("lr: [1,\n", ['while parsing a flow node expected the node content, but found \'<stream end>\' in "{file}", '
                       "line 2, column 1"]),
        ("name: adam\n lr: 3", ['mapping values are not allowed here in "{file}", line 2, column 4']),
        ("lr: 1\nlr: 2", ['while constructing a mapping in "{file}", line 1, column 1 found duplicate key lr in '
                          '"{file}", line 2, column 1']),
        ("defaults: [adam]\nlrr: 3", ["optimizer.lrr: no such setting, did you mean 'lr'?"]),
        ("defaults: [adam]\nlr: -3", ["optimizer.lr: must be greater than 0 or 'auto', got -3"]),
        ("defaults: [adam]\nname: adm", ["optimizer.name: no such choice, got 'adm', did you mean 'adam'?"]),
        ("defaults: [adam]\nlr: ${x}", ["optimizer.lr: Interpolation key 'x' not found"]),
        ("defaults: [adm]", ["In 'optimizer/mine': Could not load 'optimizer/adm'."]),
        ("defaults: 3", ["optimizer=\"mine\": Invalid defaults list in 'optimizer/mine', defaults must be a list "
                         "(got int)"]),
        ("lr: 3", ["optimizer.name: must be given; choices: sgd, momentum, adagrad, rmsprop, adam, adamw"]),
        ("", ["optimizer.name: must be given; choices: sgd, momentum, adagrad, rmsprop, adam, adamw"]),
        ("[a]", ["optimizer: must be a group of settings, got ['a']"]),
        ("3", ['optimizer="mine": Invalid loaded object type: int']),
        ("name: sgd", ["optimizer.lr: must be given, as optimizer.lr=VALUE",
                       "optimizer.weight_decay: must be given, as optimizer.weight_decay=VALUE"]),
    ],
)  # fmt: skip
def test_a_broken_own_choice(own: Path, text: str, lines: list[str]) -> None:
    file = own / "optimizer" / "mine.yaml"
    file.write_text(text)
    assert mistakes("optimizer=mine", config_dir=own) == [line.replace("{file}", str(file)) for line in lines]


def test_a_file_that_is_no_text(own: Path) -> None:
    (own / "optimizer" / "mine.yaml").write_bytes(b"\xff\xfe")
    assert mistakes("optimizer=mine", config_dir=own) == [
        "optimizer=\"mine\": 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    ]


@pytest.mark.parametrize("value", ["5", "null", "[a]"])
def test_a_section_that_is_no_group_of_settings(value: str) -> None:
    values = compose_values() | {"trainer": {"5": 5, "null": None, "[a]": ["a"]}[value]}
    with pytest.raises(ConfigError) as refused:
        validate(values)
    shown = value.replace("a", "'a'")
    assert refused.value.lines == (f"trainer: must be a group of settings, got {shown}",)


def test_an_unknown_model_with_an_unknown_field() -> None:
    values = compose_values()
    values["model"] |= {"name": "mlpp", "depth": 3}
    with pytest.raises(ConfigError) as refused:
        validate(values)
    assert refused.value.lines == ("model.name: no such choice, got 'mlpp', did you mean 'mlp'?",)


def test_a_shipped_name_cannot_be_taken(own: Path) -> None:
    (own / "optimizer" / "adam.yaml").write_text("defaults: [sgd]")
    line = "--config-dir: optimizer/adam.yaml has the name of a shipped choice; rename it"
    assert mistakes(config_dir=own) == [line]


def test_a_folder_that_is_no_group_is_left_alone(own: Path) -> None:
    (own / "optimiser" / "mine.yaml").write_text("a: 1")
    assert "optimiser" not in list_groups(own)
    assert mistakes("+optimiser=mine", config_dir=own) == ["optimiser: no such setting, did you mean 'optimizer'?"]


@pytest.mark.parametrize("name", ["absent", "file"])
def test_a_folder_that_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / name
    assert mistakes(config_dir=folder) == [f"--config-dir: no such folder, got '{folder}'"]


# ---------------------------------------------------------------- open input
KEYS = st.sampled_from(
    ["seed", "data", "data.drop", "data.drop.0", "optimizer", "optimizer.lr", "optimizer.lr.x", "optimizer.betas.1",
     "model.hidden", "model.hidden.a", "trainer", "experiment", "experiment.x", "hydra.x", "nope", "tracking.root", "1"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["1", "abc", "null", "[]", "{}", "[[1],{a:b}]", "{name:sgd}", "'q'", "${seed}", "${data}", "${..seed}", "???",
     "${oc.env:NOPE}", "1,2", "sort(1,a)", "int(1.5)", "glob(*)", "json_str({a:1})", "{1:2}", "nan", "9" * 400, "sgd"]
)  # fmt: skip
OVERRIDES = st.text(max_size=20) | st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "+", "++", "~"]), KEYS, st.sampled_from(["=", "=", "", "@x="]), VALUES | st.text(max_size=8),
)  # fmt: skip


def outcome(overrides: list[str]) -> Config | ConfigError:
    try:
        return load_config(overrides)
    except ConfigError as error:
        return error


@settings(deadline=None, max_examples=25)
@given(st.lists(OVERRIDES, min_size=1, max_size=3))
def test_any_override_gives_a_config_or_a_line_for_each_mistake(overrides: list[str]) -> None:
    came_of_it = outcome(overrides)
    if isinstance(came_of_it, ConfigError):
        assert came_of_it.lines
        assert all(len(line.splitlines()) == 1 for line in came_of_it.lines)


def test_conf_is_found_inside_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "pipeline" / "conf"
    installed.mkdir(parents=True)
    monkeypatch.setattr("pipeline.compose.__file__", str(installed.parent / "compose.py"))
    assert conf_dir() == installed
