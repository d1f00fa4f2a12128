"""What a page tells of trials, tables and nested runs."""

import re

import pytest

from pipeline.pages.document import Html
from pipeline.pages.nested import MOST_ROWS, MOST_TRIALS, nested_parts
from pipeline.pages.past import PastRun
from tests.past import SCRIPT, parquet, past


def parts(run: PastRun) -> dict[str, Html]:
    return dict(nested_parts(run))


def rows(content: Html) -> list[list[str]]:
    """Text of the cells of a table's body."""
    lines = re.findall(r"<tr>(.*?)</tr>", content.partition("<tbody>")[2])
    return [[re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", line)] for line in lines]


def trials(*values: float | None) -> bytes:
    return parquet(
        [
            {
                "number": number,
                "state": "COMPLETE" if value is not None else "PRUNED",
                "value 0": value,
                "seconds": 0.5,
                "n_epochs": 3,
                "param optimizer": "sgd",
                "param optimizer.lr": 0.1 if number == 0 else None,
            }
            for number, value in enumerate(values)
        ]
    )


def test_a_run_with_nothing_under_it_has_no_sections() -> None:
    assert parts(past()) == {}


def test_trials_are_told_best_first_with_what_was_drawn_and_their_run() -> None:
    children = [past(run_id="aa" * 16, tags={"kind": "trial", "trial": "0"})]
    run = past(files={"trials.parquet": trials(0.3, None, 0.1)}, metrics={"best/value": 0.1}, children=children)
    assert rows(parts(run)["Trials"]) == [
        ["2", "complete", "optimizer=sgd", "–", "0.1", "3", "0.5"],
        ["0", "complete", "optimizer=sgd optimizer.lr=0.1", "aaaaaaaa", "0.3", "3", "0.5"],
        ["1", "pruned", "optimizer=sgd", "–", "–", "3", "0.5"],
    ]


def test_trials_whose_value_is_maximized_are_told_highest_first() -> None:
    run = past(files={"trials.parquet": trials(0.3, 0.1, 0.9)}, metrics={"best/value": 0.9})
    assert [row[4] for row in rows(parts(run)["Trials"])] == ["0.9", "0.3", "0.1"]


def test_of_many_trials_the_best_are_told() -> None:
    run = past(files={"trials.parquet": trials(*map(float, range(60)))}, metrics={"best/value": 0.0})
    assert len(rows(parts(run)["Trials"])) == MOST_TRIALS
    assert "The best 20 of 60 trials; all of them are in the artifact trials.parquet." in parts(run)["Trials"]


def test_tables_of_other_kinds_are_shown_their_last_numbers_to_the_right() -> None:
    content = parquet([{SCRIPT: "adam", "loss": 0.25, "seconds": 1.0}, {SCRIPT: SCRIPT, "loss": 0.5, "seconds": 2.0}])
    shown = parts(past(files={"table.parquet": content}))["Table"]
    assert "<script" not in shown
    assert rows(shown)[0] == ["adam", "0.25", "1"]
    assert shown.count('<td class="number">') == 4


def test_the_ends_of_an_interval_stand_below_its_value() -> None:
    content = parquet(
        [{"case": "a", "loss": 0.5, "loss, low": 0.4, "loss, high": 0.6, "worse": None, "worse, low": 1.0}]
    )
    shown = parts(past(files={"table.parquet": content}))["Table"]
    assert rows(shown) == [["a", "0.5 (0.4 to 0.6)", "–"]]


@pytest.mark.parametrize(
    ("names", "shown", "told"),
    [
        (("iris", "mlp", "rmse"), [["mlp", "0"], ["tabm", "1"]], "In all rows: table iris, metric rmse, failed 0."),
        (("iris", "tabm", "rmse"), [["iris", "0"], ["iris", "1"]], "In all rows: entrant tabm, metric rmse, failed 0."),
    ],
)
def test_what_all_rows_say_is_told_once(names: tuple[str, str, str], shown: list[list[str]], told: str) -> None:
    first, second = (
        dict(zip(("table", "entrant", "metric"), row, strict=True)) for row in (names, ("iris", "tabm", "rmse"))
    )
    page = parts(
        past(files={"table.parquet": parquet([first | {"place": 0, "failed": 0}, second | {"place": 1, "failed": 0}])})
    )["Table"]
    assert rows(page) == shown
    assert told in page


def test_a_value_that_all_rows_have_stays_where_its_interval_is() -> None:
    lines = [{"case": case, "loss": 0.5, "loss, low": low, "loss, high": 0.6} for case, low in (("a", 0.4), ("b", 0.3))]
    shown = parts(past(files={"table.parquet": parquet(lines)}))["Table"]
    assert rows(shown) == [["a", "0.5 (0.4 to 0.6)"], ["b", "0.5 (0.3 to 0.6)"]]


def test_long_tables_are_cut() -> None:
    content = parquet([{"row": number} for number in range(60)])
    shown = parts(past(files={"table.parquet": content}))["Table"]
    assert len(rows(shown)) == MOST_ROWS
    assert "The first 50 of 60 rows of table.parquet." in shown


def test_an_empty_table_is_no_fault() -> None:
    assert rows(parts(past(files={"table.parquet": parquet([])}))["Table"]) == []


def test_nested_runs_are_told_with_what_they_reached() -> None:
    refit = past(
        tags={"kind": "refit", "role": "best", "task": "regression"},
        params={"seed": "1"},
        metrics={"test/rmse": 5.0, "test/r2": 0.5},
    )
    part = past(name="adam, seed 0", tags={"kind": "comparison-run"})
    run = past(children=[past(tags={"kind": "trial"}), refit, part, past(name="x", tags={"kind": "part"})])
    assert rows(parts(run)["Runs"]) == [
        ["best, seed 1: mlp-adam-1e-3-k3f9", "finished", "01234567", "5", "–", "0.5"],
        ["adam, seed 0", "finished", "01234567", "–", "–", "–"],
        ["x (part)", "finished", "01234567", "–", "–", "–"],
    ]
