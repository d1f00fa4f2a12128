"""Runs read back from a store, and where their pages go."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.compose import load_config
from pipeline.pages.archive import PAGE_BYTES, publish, read, read_files
from pipeline.store import tracking_uri
from pipeline.tracking import connect
from pipeline.train import train
from tests.conftest import Done, mixed_frame
from tests.models import trained
from tests.past import SCRIPT, png


def of_another_tool(root: Path, *, name: str = "theirs", **tags: str) -> str:
    """The id of a run that has no artifacts of ours."""
    client = connect(str(root))
    found = client.get_experiment_by_name("theirs")
    experiment = found.experiment_id if found else client.create_experiment("theirs", (root / "artifacts").as_uri())
    return str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)


def test_the_page_is_a_file_under_the_root_and_an_artifact_of_the_run() -> None:
    root, run_id = trained()
    file = publish(str(root), run_id)
    assert file == root / "reports" / f"{run_id}.html"
    kept = MlflowClient(tracking_uri(str(root))).download_artifacts(run_id, "report.html")
    assert Path(kept).read_bytes() == file.read_bytes()
    assert 50_000 < len(file.read_bytes()) < 2_000_000


def test_the_page_has_all_that_a_run_leaves() -> None:
    root, run_id = trained()
    page = publish(str(root), run_id).read_text()
    assert re.findall(r'<h2 id="[^"]*">([^<]*)</h2>', page) == [
        "Result", "Baselines", "Findings", "Curves", "Calibration and coverage", "Figures", "Data", "Settings",
        "Run it again",
    ]  # fmt: skip


def test_a_run_is_read_back_with_what_it_was_of() -> None:
    root, run_id = trained()
    run = read(str(root), run_id)
    assert (run.run_id, run.status, run.splits) == (run_id, "FINISHED", {"training": 192, "validation": 48, "test": 60})
    assert run.source == str(root / "shop.csv")
    assert run.registered == "shop-binary version 1, champion"
    assert [epoch for epoch, _ in run.history["val/loss"]] == [1, 2, 3, 4, 5]
    assert run.defaults["config.yaml"]["data.name"] == "breast_cancer"
    assert run.defaults["config.yaml"]["trainer.max_epochs"] == 100
    assert "data.path" not in run.defaults["config.yaml"]  # it has no default, it must be given


def test_of_a_run_a_few_files_can_be_read_alone() -> None:
    root, run_id = trained()
    run = read_files(str(root), run_id, ["config.yaml", "doctor/findings.json", "none.yaml"])
    whole = read(str(root), run_id)
    assert run.files == {path: whole.files[path] for path in ("config.yaml", "doctor/findings.json")}
    assert (run.name, run.metrics, run.tags) == (whole.name, whole.metrics, whole.tags)


def test_a_run_can_be_named_by_the_first_digits_of_its_id_or_its_name() -> None:
    root, run_id = trained()
    run = read(str(root), run_id[:6])
    assert run.run_id == run_id
    assert read(str(root), run.name).run_id == run_id


def test_a_name_may_hold_a_quote(root: Path) -> None:
    run_id = of_another_tool(root, name="bob's", kind="other")
    assert read(str(root), "bob's").run_id == run_id


def test_names_from_the_table_do_not_become_markup(tmp_path: Path, root: Path) -> None:
    frame = mixed_frame().rename(columns={"x": SCRIPT})[[SCRIPT, "count", "bought"]]
    frame["bought"] = frame["bought"].map({"yes": SCRIPT, "no": "<b>no</b>"})
    frame.to_csv(tmp_path / "t.csv", index=False)
    overrides = ["data=csv", f"data.path={tmp_path / 't.csv'}", "data.target=bought", "trainer.max_epochs=1"]
    page = publish(str(root), train(load_config(overrides)).run_id).read_text()
    assert "<script" not in page
    assert "<b>no" not in page
    assert f"<strong>{SCRIPT.replace('<', '&lt;').replace('>', '&gt;')}</strong>" in page


def test_a_parent_of_an_unknown_kind_has_note_numbers_figures_and_nested_runs(root: Path) -> None:
    run_id = of_another_tool(root, kind="survey", **{"mlflow.note.content": "**all** is well"})
    of_another_tool(root, name="part", kind="part", **{"mlflow.parentRunId": run_id})
    client = connect(str(root))
    client.log_metric(run_id, "answers", 42)
    client.log_param(run_id, "asked", "all")
    (Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / "figures").mkdir(parents=True)
    (Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / "figures/map.png").write_bytes(png())
    page = publish(str(root), run_id).read_text()
    for told in (
        "Survey theirs",
        "<strong>all</strong> is well",
        "<strong>42</strong>",
        "<td>asked</td>",
        "<td>part (part)</td>",
    ):
        assert told in page
    assert page.count("<img") == 1


def test_pictures_that_do_not_fit_are_left_to_the_run(root: Path) -> None:
    run_id = of_another_tool(root, kind="survey")
    folder = Path(connect(str(root)).get_run(run_id).info.artifact_uri.removeprefix("file://")) / "figures"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(png().ljust(PAGE_BYTES + 1, b"\0"))
    (folder / "b.png").write_bytes(png())
    run = read(str(root), run_id)
    assert (run.left_out, [*run.files]) == (["figures/a.png"], ["figures/b.png"])


@pytest.mark.slow
def test_a_study_is_found_by_its_name_and_has_its_trials_and_best_settings(
    cli: Callable[..., Done], root: Path
) -> None:
    short = ["study.n_trials=3", "study.refit_seeds=1", "study.workers=1", "trainer.max_epochs=2"]
    assert cli("study", "data=iris", "search=optimizers", *short).code == 0
    assert cli("report", "iris-optimizers").code == 0
    (file,) = (root / "reports").iterdir()
    page = file.read_text()
    assert re.findall(r'<h2 id="[^"]*">([^<]*)</h2>', page) == [
        "Result", "Trials", "Runs", "Figures", "Settings", "Run it again",
    ]  # fmt: skip
    assert "The best 3 of 3 trials" in page
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["best.yaml", "study.yaml"]
    ids = re.findall(r'<code title="(\w{32})" class="id">', page)
    assert len(set(ids)) == 5  # three trials, the best and the default trained anew
    assert cli("report", ids[0][:8]).code == 0


# ---------------------------------------------------------------- the command
def test_the_command_says_where_the_page_is_and_can_open_it(
    cli: Callable[..., Done], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run_id = of_another_tool(root, kind="survey")
    assert cli("report", run_id) == Done(0, f"the report is mlruns/reports/{run_id}.html\n", "")
    assert opened == []
    assert cli("report", run_id, "--open").code == 0
    assert opened == [(root / "reports" / f"{run_id}.html").as_uri()]


def test_without_a_store_there_are_no_runs(cli: Callable[..., Done], tmp_path: Path) -> None:
    assert cli("report", "abcd") == Done(2, "", "error: run 'abcd': there are no runs under mlruns\n")
    assert not (tmp_path / "mlruns").exists()


def test_an_unknown_run_is_one_clear_line(cli: Callable[..., Done], root: Path) -> None:
    of_another_tool(root)
    message = f"run 'abcd': not in {tracking_uri('mlruns')}; give a run's id, its first digits, or its name"
    assert cli("report", "abcd") == Done(2, "", f"error: {message}\n")


def test_several_runs_of_a_name_are_named(cli: Callable[..., Done], root: Path) -> None:
    ids = [of_another_tool(root, kind="survey") for _ in range(2)]
    done = cli("report", "theirs")
    assert done.code == 2
    assert re.fullmatch(r"error: run 'theirs': several are called so: (\w+), (\w+); give an id\n", done.err)
    assert all(run_id in done.err for run_id in ids)


def test_a_run_of_another_tool_is_one_clear_line(cli: Callable[..., Done], root: Path) -> None:
    run_id = of_another_tool(root)
    message = f"run '{run_id}': was not made by `pipeline`, so that there is nothing to report"
    assert cli("report", run_id) == Done(2, "", f"error: {message}\n")


def test_a_store_that_is_away_is_one_clear_line(cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = cli("report", "abcd")
    assert done.code == 2
    assert done.err.startswith("error: MLFLOW_TRACKING_URI: the tracking store http://127.0.0.1:9 cannot be used: ")
    assert done.err.count("\n") == 1
