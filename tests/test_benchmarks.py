"""The benches' harness on contestants whose numbers are known, and every bench once with tiny sizes."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from pipeline.config import Config
from pipeline.types import Interval
from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import auto, study, whole
from tests.benchmarks.harness import (
    Case,
    Line,
    Results,
    Sample,
    contestants_table,
    last_medians,
    lines_table,
    measure,
    process,
    ratio,
)
from tests.conftest import mixed_frame

SCRIPT = "import json, sys; print('chatter'); print(json.dumps({'run_s': 2.0, 'told': sys.argv[1:]}))"


@pytest.fixture(autouse=True)
def loggers_stay_as_they_are() -> Iterator[None]:
    """A sitting silences them for good."""
    loggers = [logging.getLogger(name) for name in benchmarks.SILENCED]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def scripted(played: list[str], name: str, *values: float) -> Callable[[], Sample]:
    """A contestant that takes `values` in turn and writes down that it had its turn."""
    left = iter(values)

    def play() -> Sample:
        played.append(name)
        return {"s": next(left)}

    return play


def two(ours: tuple[float, ...], other: tuple[float, ...], *lines: Line) -> tuple[Case, list[str]]:
    """A case of two contestants, and the list of their turns."""
    played: list[str] = []
    contestants = {"ours": scripted(played, "ours", *ours), "other": scripted(played, "other", *other)}
    return Case("case", contestants, lines), played


def silent(_: str) -> None:
    """Say nothing."""


def run(case: Case, repeats: int, *, warm_up: bool = False) -> Results:
    return measure([case], repeats, warm_up=warm_up, say=silent)


def printed(table: object) -> str:
    """A table as it is shown, with one space between its cells."""
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    return " ".join(captured.get().split())


def bench(*arguments: str) -> None:
    benchmarks.main(["--quick", "--repeats", "1", *arguments])


def kept(folder: Path) -> Results:
    (file,) = (folder / "mlruns" / "bench").glob("*.json")
    benches: Results = json.loads(file.read_text())["benches"]
    return benches


# ---------------------------------------------------------------- harness
def test_contestants_alternate_and_each_second_round_goes_backwards() -> None:
    case, played = two((1, 1, 1), (1, 1, 1))
    run(case, 3)
    assert played == ["ours", "other", "other", "ours", "ours", "other"]


def test_cases_alternate_too() -> None:
    played: list[str] = []
    cases = [Case(name, {"one": scripted(played, name, 1, 1)}, []) for name in ("a", "b")]
    measure(cases, 2, warm_up=False, say=silent)
    assert played == ["a", "b", "a", "b"]


def test_the_warm_up_does_not_count() -> None:
    case, played = two((99, 1, 2), (99, 1, 1), ratio("ours", "other"))
    results = run(case, 2, warm_up=True)
    assert len(played) == 6
    assert results["case"]["rounds"] == [{"ours": {"s": 1}, "other": {"s": 1}}, {"ours": {"s": 2}, "other": {"s": 1}}]


def test_ratios_are_made_a_round_and_then_the_median() -> None:
    # the ratio of the medians would be 3 / 2
    case, _ = two((1, 3, 10), (1, 2, 4), ratio("ours", "other"))
    assert run(case, 3)["case"]["lines"]["s: ours / other"]["each"] == [1, 1.5, 2.5]
    case, _ = two((1, 3, 10), (10, 2, 1), ratio("ours", "other"))
    assert run(case, 3)["case"]["lines"]["s: ours / other"]["median"] == 1.5


@pytest.mark.parametrize(("at_most", "met"), [(2.0, True), (1.99, False), (None, None)])
def test_a_target_is_met_up_to_its_value(at_most: float | None, met: bool | None) -> None:
    case, _ = two((2,), (1,), ratio("ours", "other", at_most=at_most))
    assert run(case, 1)["case"]["lines"]["s: ours / other"]["met"] is met


def test_tables_show_median_range_target_and_the_last_time() -> None:
    case, _ = two((4, 2, 9), (2, 2, 2), ratio("ours", "other", at_most=1.1))
    results = run(case, 3)
    assert "case ours s 4 2 to 9" in printed(contestants_table("b", results))
    compared = printed(lines_table("b", results, {("b", "case", "s: ours / other"): 1.5}))
    assert "case s: ours / other 2 1 to 4.5 1.1 no 1.5" in compared


def test_the_last_time_is_looked_up_a_line_at_the_same_sizes(tmp_path: Path) -> None:
    def keep(name: str, bench: str, median: float, *, quick: bool) -> None:
        benches = {bench: {"case": {"rounds": [], "lines": {"line": {"median": median}}}}}
        (tmp_path / f"{name}.json").write_text(json.dumps({"quick": quick, "benches": benches}))

    keep("1", "steps", 1.0, quick=False)
    keep("2", "steps", 2.0, quick=False)
    keep("3", "reading", 3.0, quick=False)
    keep("4", "steps", 4.0, quick=True)
    assert last_medians(tmp_path, quick=False) == {("steps", "case", "line"): 2.0, ("reading", "case", "line"): 3.0}
    assert last_medians(tmp_path / "none", quick=False) == {}


def test_a_process_that_ends_otherwise_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    assert process("-c", "print('fine'); exit(3)", folder=tmp_path, code=3)[1] == "fine\n"
    with pytest.raises(RuntimeError, match=r"ended with 3: oh no"):
        process("-c", "import sys; sys.stderr.write('oh no'); exit(3)", folder=tmp_path)


# ---------------------------------------------------------------- command
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["stepz"],
            "no bench stepz; there are steps, whole, ensembles, tracking, growth, reading, startup, study, serving, "
            "predict, auto",
        ),
        (["--repeats", "2"], "--repeats must be at least 3, got 2"),
        (["--quick", "--repeats", "0"], "--repeats must be at least 1, got 0"),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmarks.main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "steps",
        "reading",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("tracking", "growth", "startup", "serving", "predict", "auto")
        ),
    ],
)
def test_every_bench_measures(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(name)
    assert "kept in mlruns/bench/" in capsys.readouterr().out
    results = kept(tmp_path)
    assert list(results) == [name]
    for case in results[name].values():
        samples = [sample for taken in case["rounds"] for sample in taken.values()]
        assert all(value > 0 for sample in samples for value in sample.values())
        assert case["lines"]


def test_the_choice_of_a_network_is_measured_on_the_tables_of_a_folder_a_split_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_frame().to_csv(tmp_path / "t.csv", index=False)
    table = {"file": "t.csv", "target": "bought", "task": "classification", "drop": ["amount", "second", "grade"]}
    (tmp_path / "datasets.json").write_text(json.dumps({"mine": table}))
    monkeypatch.setenv("TABLES", str(tmp_path))
    trained: list[Config] = []

    def tested(config: Config) -> SimpleNamespace:
        trained.append(config)
        loss = 3.0 if config.model.chosen else 2.0 + config.seed
        return SimpleNamespace(test={"log_loss": Interval(loss, 0, 9)}, seconds=1.0)

    monkeypatch.setattr(auto, "train", tested)
    (case,) = auto.cases(tmp_path, quick=True)
    lines = run(case, 2)["mine"]["lines"]
    assert lines["loss: auto / best"]["each"] == [1.5, 1.0]
    assert [config.data.split_seed for config in trained] == [0] * 4 + [1] * 4
    assert trained[0].data.drop == ("amount", "second", "grade")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What lies beside the project: scripts that end at once, and a small table."""
    folder = tmp_path / "shared"
    for name in ("bench", "data"):
        (folder / name).mkdir(parents=True)
    for script in ("raw_loop.py", "textbook.py"):
        (folder / "bench" / script).write_text(SCRIPT)
    table = mixed_frame().rename(columns={"grade": "price_range"})
    table.to_csv(folder / "data" / "mobile_price.csv", index=False)
    for module in (whole, study):
        monkeypatch.setattr(module, "SHARED", folder)
    return folder


@pytest.mark.slow
def test_whole_runs_are_measured_against_the_scripts_beside_the_project(tmp_path: Path, shared: Path) -> None:
    bench("whole")
    (case,) = kept(tmp_path)["whole"].values()
    (taken,) = case["rounds"]
    assert taken["raw loop"]["fit_s"] == taken["textbook"]["run_s"] == 2.0
    ours = taken["ours"]
    assert 0 < ours["fit_s"] < ours["run_s"] < ours["s"]


@pytest.mark.slow
def test_studies_are_measured_against_the_script_and_by_workers(tmp_path: Path, shared: Path) -> None:
    bench("study")
    same, workers, asking = (case["rounds"][0] for case in kept(tmp_path)["study"].values())
    assert same["textbook"]["run_s"] == 2.0
    for ours in (same["ours"], *workers.values()):
        assert 0 < ours["run_s"] < ours["s"]
        assert ours["trained_s"] > 0
    assert all(sample["ms"] > 0 for sample in asking.values())


def test_a_bench_that_cannot_run_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(whole, "SHARED", tmp_path)
    bench("whole")
    said = " ".join(capsys.readouterr().out.split())
    assert said == f"whole: left out, {tmp_path}/bench is not there"
    assert not (tmp_path / "mlruns").exists()
