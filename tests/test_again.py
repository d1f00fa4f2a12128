"""The findings of a run told again, and a run with what is advised beside it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.doctor.again import advised
from pipeline.doctor.finding import Finding
from pipeline.train import train
from tests.conftest import Done, quick

pytestmark = pytest.mark.usefixtures("without_figures")

SICK = ("tracking=mlflow", "model.init=zeros", "model.dropout=0", "model.batch_norm=false", "trainer.max_epochs=8")


def test_the_findings_are_told_again_by_id_digits_or_name(root: Path, cli: Callable[..., Done]) -> None:
    result = train(quick(*SICK))
    for run in (result.run_id, result.run_id[:8], result.run_name):
        done = cli("doctor", run)
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines() == [f"found: {finding}" for finding in result.findings]


def test_what_is_advised_is_trained_with_and_shown_beside(root: Path, cli: Callable[..., Done]) -> None:
    result = train(quick(*SICK, "data=breast_cancer"))
    done = cli("doctor", result.run_id, "--fix", "trainer.max_epochs=30")
    assert done.code == 0, done.err
    assert "training with model.init=auto" in done.out
    (cells,) = re.findall(r"│ [Aa]ccuracy +│ +(\S+) │ +(\S+) │", done.out)
    before, after = cells
    assert float(before) < 0.7 < 0.9 < float(after)
    assert "copies of one another" not in done.out.partition("training with")[2]


def test_a_healthy_run_needs_no_cure(root: Path, cli: Callable[..., Done]) -> None:
    result = train(quick("tracking=mlflow", "data=breast_cancer", "trainer.max_epochs=100", "model.hidden=[64,64]"))
    assert cli("doctor", result.run_id, "--fix").out == "nothing is wrong with this run\n"


def test_a_run_without_the_doctor_is_one_line(root: Path, cli: Callable[..., Done]) -> None:
    result = train(quick("tracking=mlflow", "doctor=off"))
    line = f"error: run '{result.run_id}': was trained without the doctor; train it anew with doctor=on\n"
    assert cli("doctor", result.run_id) == Done(2, "", line)


@pytest.mark.parametrize(
    ("advice", "chosen"),
    [
        ([("optimizer.lr=0.1",), ("optimizer.lr=1.0", "model.init=auto")], ["optimizer.lr=0.1", "model.init=auto"]),
        ([()], []),
    ],
)
def test_of_a_setting_that_is_advised_twice_the_first_is_taken(
    advice: list[tuple[str, ...]], chosen: list[str]
) -> None:
    assert advised([Finding(str(n), "", "", "", "", each) for n, each in enumerate(advice)]) == chosen
