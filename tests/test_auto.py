"""model=auto: the network is chosen by the table's shape, with its own recipe; what is set wins, mistakes are told."""

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipeline.auto import FOLDED_ROWS, FOLDS, NARROW, RULES, WIDE_FOLDED_ROWS, Choice, choose, named
from pipeline.comparisons import plan as comparisons
from pipeline.compose import compose_values, load_config, overrides_of_values, validate
from pipeline.config import Config
from pipeline.data.shape import Shape
from pipeline.errors import ConfigError
from pipeline.leaderboards import plan as leaderboards
from pipeline.studies import plan as studies
from pipeline.tracking import config_file, connect
from pipeline.train import train
from tests.conftest import Done, mixed_frame, write_csv

pytestmark = pytest.mark.usefixtures("without_figures")

IRIS = ["data=iris", "model=auto"]  # 150 rows
CHOICE = choose(Shape(150, 4, 0))


def without_reason(config: Config) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update={"chosen": None})})


def mistakes(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load_config(overrides)
    return list(refused.value.lines)


# ---------------------------------------------------------------- rules
def test_every_table_has_a_choice() -> None:
    for n_rows in (1, 10**3, 10**5, 10**8):
        for n_columns in (1, 30, 3000):
            assert choose(Shape(n_rows, n_columns, 0)) in [rule.choice for rule in RULES]
            assert choose(Shape(n_rows, 0, n_columns)) in [rule.choice for rule in RULES]


@pytest.mark.parametrize("choice", [rule.choice for rule in RULES])
def test_every_choice_is_a_sound_config(choice: Choice) -> None:
    assert load_config([*choice.settings, f"model={choice.model}"]).model.name == choice.model


def test_small_tables_get_a_network_a_fold() -> None:
    for n_rows, settings in (
        (WIDE_FOLDED_ROWS, (FOLDS,)),
        (WIDE_FOLDED_ROWS + 1, (NARROW, FOLDS)),
        (FOLDED_ROWS, (NARROW, FOLDS)),
        (FOLDED_ROWS + 1, ()),
    ):
        assert choose(Shape(n_rows, 4, 0)) == Choice("tabm", settings)
        assert choose(Shape(n_rows, 4, 0), allows_folds=False) == Choice("tabm")


@pytest.mark.parametrize(
    "overrides",
    [["data.group=x"], ["data.time=x"], ["data.split=time", "data.time=x"], ["trainer.devices=2"], ["trainer.seeds=2"]],
)
def test_where_folds_are_refused_or_seeds_are_asked_for_none_are_chosen(overrides: list[str], tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": range(40), "y": range(40)})
    table = ["data=csv", f"data.path={write_csv(tmp_path / 't.csv', frame)}", "data.target=y", "model=auto"]
    assert load_config(table).trainer.folds == 5
    assert load_config([*table, *overrides]).trainer.folds == 1
    assert load_config([*table, "trainer.folds=3"]).trainer.folds == 3


# ---------------------------------------------------------------- composing
def test_it_is_the_network_with_its_recipe_and_the_reason() -> None:
    config = load_config(IRIS)
    assert config.model.chosen == "150 rows, 4 columns"
    assert without_reason(config) == load_config([*CHOICE.settings, "data=iris", f"model={CHOICE.model}"])


def test_what_is_set_wins_wherever_it_stands() -> None:
    others = ["optimizer=sgd", "trainer.max_epochs=7", "preprocess.scaling=none"]
    for overrides in ([*others, *IRIS], [*IRIS, *others]):
        config = load_config(overrides)
        assert (config.optimizer.name, config.trainer.max_epochs, config.preprocess.scaling) == ("sgd", 7, "none")
        assert config.model.name == CHOICE.model


def test_a_network_that_is_named_later_is_taken() -> None:
    config = load_config([*IRIS, "model=mlp"])
    assert (config.model.name, config.model.chosen) == ("mlp", None)


@pytest.mark.parametrize(
    ("overrides", "model"),
    [(["model.hidden=[8]"], "mlp"), (["model.hidden=[8]", "model.clamp_output=true"], "mlp"), (["model.n_heads=4"],
     "ft_transformer"), (["model.dropout=0.5"], CHOICE.model)],
)  # fmt: skip
def test_a_network_is_chosen_that_has_the_settings_that_are_given(overrides: list[str], model: str) -> None:
    config = load_config([*IRIS, *overrides])
    names = " ".join(f"model.{name}" for name in sorted(text[6:].partition("=")[0] for text in overrides))
    reason = "150 rows, 4 columns" + (f", {names} given" if model != CHOICE.model else "")
    assert config.model.chosen == reason
    settings = CHOICE.settings if model == CHOICE.model else ()
    assert without_reason(config) == load_config([*settings, "data=iris", f"model={model}", *overrides])


def test_a_training_run_has_it_where_nothing_is_said_a_study_has_not() -> None:
    assert load_config(["data=iris"], root="train") == load_config(IRIS)
    assert load_config(["data=iris", "model=resnet"], root="train").model.name == "resnet"
    assert load_config(["data=iris", "experiment=linear"], root="train").model.name == "mlp"
    assert load_config(["data=iris"]).model.name == "mlp"


def test_an_experiment_can_ask_for_it(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("defaults: [override /model: auto]\ntrainer: {max_epochs: 7}\n")
    config = load_config(["data=iris", "experiment=mine"], tmp_path)
    assert (config.model.chosen, config.trainer.max_epochs) == ("150 rows, 4 columns", 7)


def test_a_printed_config_is_the_same_config() -> None:
    values = load_config(IRIS).model_dump(mode="json")
    assert Config.model_validate(values) == load_config(IRIS)


def test_the_network_is_named_last_and_its_settings_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.auto.choose", lambda *_, **__: Choice("tabm", ("trainer.patience=9",)))
    chosen = ["trainer.patience=9", *IRIS, "model=tabm", "model.chosen='150 rows, 4 columns'"]
    assert named(IRIS, compose_values(IRIS)) == chosen


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        (["data=csv"], ["data.path: must be given, as data.path=VALUE",
            "data.target: must be given, as data.target=VALUE"]),
        (["data=iris", "trainer.max_epochs=0", "nonsense"], [
            "'nonsense': not an override; write group=choice or section.field=value",
            "trainer.max_epochs: must be greater than or equal to 1, got 0"]),
        (["data=csv", "data.path=nix.csv", "data.target=y", "optimizer.lr=-1"],
            ["optimizer.lr: must be greater than 0 or 'auto', got -1"]),
        (["data=iris", "model.nope=3", "seed=-1"], ["seed: must be greater than or equal to 0, got -1"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_the_table_is_read(
    overrides: list[str], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.data.shape.shape_of", lambda _: pytest.fail("the table is read"))
    assert mistakes("model=auto", *overrides) == lines


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data=iris", "model.d_blok=8"], "model.d_blok: no such setting, did you mean 'd_block'?"),
        (["data=iris", "model.hiden=[8]"], "model.hiden: no such setting, did you mean 'hidden'?"),
        (["data=iris", "model.hidden=[8]", "model.d_block=8"],
            "model: no network has both d_block and hidden; leave one out"),
        (["data=iris", "model.hidden=[0]"], "model.hidden.0: must be greater than or equal to 1, got 0"),
        (["data=csv", "data.path=nix.csv", "data.target=y"], "data.path: no such file, got 'nix.csv'"),
        (["data=mobile_price"], "data.path: no such file, got 'train.csv'; download train.csv from "
            "https://www.kaggle.com/datasets/iabhishekofficial/mobile-price-classification "
            "and give its place: data.path=FOLDER/train.csv"),
        (["data=csv", "data.path=t.txt", "data.target=y"],
            "data.path: must end in .csv, .csv.gz or .parquet, got 't.txt'"),
    ],
)  # fmt: skip
def test_the_command_line_says_what_is_wrong(cli: Callable[..., Done], overrides: list[str], line: str) -> None:
    Path("t.txt").touch()
    is_told(cli("config", "model=auto", *overrides), line)


@pytest.mark.parametrize(
    ("command", "extra"),
    [("train", []), ("study", []), ("compare", ["vary.seed=[1,2]"]), ("leaderboard", ["leaderboard.models=[auto]"])],
)
def test_every_command_says_it(cli: Callable[..., Done], command: str, extra: list[str]) -> None:
    given = (command, "model=auto", *extra, "data=csv", "data.target=y")
    is_told(cli(*given, "data.path=nix.csv"), "data.path: no such file, got 'nix.csv'")
    Path("t.csv").write_text("x,y\n1,2\n")
    is_told(cli(*given, "data.path=t.csv", "model.d_blok=8"), "model.d_blok: no such setting, did you mean 'd_block'?")


def is_told(done: Done, line: str) -> None:
    assert done.code == 2
    assert line in done.err
    assert "Traceback" not in done.err


# ---------------------------------------------------------------- commands
def test_a_run_says_what_was_chosen_and_why_and_keeps_to_it(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(root / "t.csv", mixed_frame(), drop=["second", "bought", "grade"])
    short = ["trainer.max_epochs=1", "trainer.batch_size=64", "trainer.precision=32-true", "doctor=off", "baselines=[]"]
    config = load_config(["data=csv", f"data.path={path}", "data.target=amount", "model=auto", *short])
    with caplog.at_level(logging.INFO, "pipeline"):
        result = train(config)
    reason = "200 rows, 7 columns, 3 of them categories"
    assert f"model=auto: {reason} → {config.model.name}\n" in caplog.text
    client = connect(str(root))
    assert client.get_run(result.run_id).data.params["model.chosen"] == reason
    monkeypatch.setattr("pipeline.data.shape.shape_of", lambda _: pytest.fail("it is chosen anew"))
    kept = yaml.safe_load(config_file(str(root), result.run_id).read_text())  # what a run is resumed with
    assert validate(kept) == config
    assert load_config(overrides_of_values(kept, [])) == config


def test_a_study_searches_around_what_was_chosen() -> None:
    plan = studies.make_plan([*IRIS, "search=optimizers"])
    trial = plan.trial_config({"optimizer": "sgd"})
    assert (trial.model, trial.optimizer.name) == (load_config(IRIS).model, "sgd")
    assert plan.trial_config({"model": "mlp"}).model.chosen is None


def test_a_comparison_may_have_it_as_a_case() -> None:
    cases = comparisons.make_plan(["data=iris", "vary.model=[auto,mlp]"]).cases
    assert cases["auto"].model == load_config(IRIS).model


def test_a_leaderboard_has_it_as_an_entrant_where_it_is_asked_for() -> None:
    ask = ["data=iris", "baselines=[]"]
    entrants = [entry.entrant for entry in leaderboards.make_plan([*ask, "leaderboard.models=[auto,mlp]"]).entries]
    assert entrants == ["auto", "mlp"]
    assert "auto" not in [entry.entrant for entry in leaderboards.make_plan(ask).entries]


def test_options_tell_where_the_rules_are(cli: Callable[..., Done]) -> None:
    said = cli("options", "model").out.split("\n\n")[0]
    assert said.startswith("model=auto\n  # ")
    assert "pipeline/auto.py" in said
