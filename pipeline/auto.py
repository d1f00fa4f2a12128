"""Which network `model=auto` stands for: rules on the table's shape, with the measurements behind them.

Measured on 21 public tables that the project is not judged on: scikit-learn's and those of the R packages AER, DAAG,
Ecdat, ISLR, modeldata and mosaicData. They have 178 to 15,000 rows and 6 to 64 columns, up to 14 of them
categories; 11 classify, 10 regress. Log loss or RMSE on the test rows, one or two splits, one to three seeds each:

    network    mean rank of 3    median of times the least loss    tables where it is best
    tabm       1.24              1.000                             17
    realmlp    2.38              1.052                              2 (392 and 400 rows, regression)
    mlp        2.38              1.049                              2 (178 and 569 rows, classes)

With untuned trees and the linear model beside them, mean rank of 8: CatBoost 2.38, tabm 2.43, realmlp and mlp 4.52,
linear 5.00, HistGradientBoosting 5.19, LightGBM 5.57, XGBoost 6.38. No split by rows, columns or categories did better
by more than noise: below 500 rows RealMLP wins two regressions of three, by 3 and 6 %, and loses the third by 5 %.
Beyond 15,000 rows, and for more than 10 classes, nothing was measured. TabM takes longest, ten times the MLP's time and
more; the machine was shared, so that is rough. All this was TabM with model.d_block=256; with 128, which it has now,
its loss was 0.96 to 1.09 times that on the first split of eight tables, 1.02 in the mean, in a third of the time.
`make bench ARGS=auto` measures again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pipeline.data.shape import Shape

AUTO = "auto"
FOLDS = "trainer.folds=5"
FOLDED_ROWS = 10_000


class Choice(NamedTuple):
    """A network, and settings other than its recipe's, as overrides."""

    model: str
    settings: tuple[str, ...] = ()


class Rule(NamedTuple):
    """What is chosen for the tables that a condition holds for."""

    applies: "Callable[[Shape], bool]"
    choice: Choice


RULES: tuple[Rule, ...] = (
    Rule(lambda shape: shape.n_rows <= FOLDED_ROWS, Choice("tabm", (FOLDS,))),
    Rule(lambda shape: True, Choice("tabm")),
)


def choose(shape: "Shape") -> Choice:
    """The choice of the first rule that applies; the last one applies to every table."""
    return next(rule.choice for rule in RULES if rule.applies(shape))


def named(overrides: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """The overrides of a config with model=auto, with the network for its table named.

    Args:
        overrides: as they were given; they win over the choice's settings.
        values: the config's; all but the model's are sound.

    Raises:
        DataError: the table cannot be read.
    """
    from pipeline.data.shape import shape_of

    shape = shape_of(values["data"])
    choice = choose(shape)
    settings = [setting for setting in choice.settings if setting != FOLDS or _allows_folds(values)]
    return [*settings, *overrides, f"model={choice.model}", f"model.chosen='{shape}'"]


def _allows_folds(values: Mapping[str, Any]) -> bool:
    """Whether networks of several folds can be trained: in one process, on rows that are not split by time."""
    data = values["data"]
    return data["time"] is None and data["split"] != "time" and values["trainer"]["devices"] == 1
