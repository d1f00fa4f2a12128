"""The registry: champions and challengers, and where a model's files are."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.bundle import Bundle, BundleError
from pipeline.compose import load_config
from pipeline.errors import TrackingError
from pipeline.registry import bundle_folder, register
from pipeline.tracking import connect
from pipeline.train import train
from tests.conftest import Done
from tests.models import bundle_folder_of, trained


def run(root: Path, *overrides: str) -> tuple[str, str]:
    """A run's id, and what became of its model."""
    short = ["data=breast_cancer", "model.hidden=[8]", f"tracking.root={root}"]
    result = train(load_config([*short, *overrides]))
    return result.run_id, result.registered


def champion(root: Path) -> str:
    return str(connect(str(root)).get_model_version_by_alias("breast_cancer-binary", "champion").run_id)


def test_the_champion_changes_only_for_a_better_model_on_the_same_rows(root: Path, cli: Callable[..., Done]) -> None:
    bad, said = run(root, "trainer.max_epochs=1", "optimizer.lr=1e-6")
    assert said == "registered as breast_cancer-binary version 1, champion: the first of this data set and task"
    good, said = run(root, "trainer.max_epochs=30")
    assert said.startswith("registered as breast_cancer-binary version 2, champion: its test/log_loss is ")
    assert said.endswith(" than that of version 1")
    assert champion(root) == good
    _, said = run(root, "trainer.max_epochs=1", "optimizer.lr=1e-6")
    assert "version 3, challenger: version 2 stays champion, its test/log_loss is " in said
    assert said.endswith(": worse")
    _, said = run(root, "trainer.max_epochs=30", "data.split_seed=5")
    assert said.endswith("version 2 stays champion, it was tested on other rows, so the two cannot be compared")
    assert champion(root) == good

    again = cli("register", bad)
    assert again.out == "registered as breast_cancer-binary version 1, without an alias: it was registered before\n"
    listed = cli("models").out
    assert [f" {number} " in listed for number in (1, 2, 3, 4)] == [True] * 4
    assert "champion" in listed
    assert good in listed

    for name in (
        None,
        "breast_cancer-binary",
        "models:/breast_cancer-binary@champion",
        "models:/breast_cancer-binary/2",
        good,
        good[:8],
    ):
        assert Bundle.load(bundle_folder(str(root), name)).schema.run_id == good
    for name in (
        "nope",
        "models:/nope@champion",
        "models:/breast_cancer-binary@nope",
        "models:/breast_cancer-binary/9",
    ):
        with pytest.raises(BundleError) as error:
            bundle_folder(str(root), name)
        assert str(error.value) == (
            f"model '{name}': no folder, run or registered model of this name under {root}; "
            "registered: breast_cancer-binary"
        )


def test_a_model_that_failed_the_gate_is_not_registered() -> None:
    root, run_id = trained()
    client = connect(str(root))
    client.set_tag(run_id, "parity", "failed")
    client.set_tag(run_id, "parity.fault", "row 3: it answers 0, the network 1")
    try:
        with pytest.raises(TrackingError) as error:
            register(str(root), run_id)
    finally:
        client.set_tag(run_id, "parity", "passed")
    assert str(error.value) == f"run '{run_id}': its model must not be used: row 3: it answers 0, the network 1"


def test_a_model_that_lies_on_this_machine_is_used_where_it_is() -> None:
    root, run_id = trained()
    assert bundle_folder(str(root), run_id) == bundle_folder_of(root, run_id)


def test_a_folder_is_its_own_model_and_so_is_mlflows_around_it(tmp_path: Path) -> None:
    root, run_id = trained()
    model = root / "artifacts" / run_id / "artifacts" / "model"
    shutil.copytree(model, tmp_path / "copy")
    for folder in (tmp_path / "copy", tmp_path / "copy" / "artifacts" / "bundle"):
        assert Bundle.load(bundle_folder("nowhere", str(folder))).schema.run_id == run_id


@pytest.mark.parametrize("arguments", [("predict", "x", "t.csv", "-o", "o.csv"), ("models",), ("register", "x")])
def test_before_the_first_run_one_line_says_to_train(arguments: tuple[str, ...], cli: Callable[..., Done]) -> None:
    done = cli(*arguments)
    told = "error: there are no runs under mlruns yet; train first: pipeline train data=csv data.path=FILE …\n"
    assert (done.code, done.err) == (2, told)


def test_a_run_that_is_not_there_is_named(root: Path) -> None:
    connect(str(root))
    with pytest.raises(TrackingError, match=r"^run 'x': not in .*; give a run's id, its first digits, or its name"):
        register(str(root), "x")
