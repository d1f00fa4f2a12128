"""Which network `model=auto` stands for: rules on the table's shape, with the measurements behind them.

Measured on 21 public tables that the project is not judged on: scikit-learn's and those of the R packages AER, DAAG,
Ecdat, ISLR, modeldata and mosaicData. They have 178 to 15,000 rows and 6 to 64 columns, up to 14 of them
categories; 11 classify, 10 regress. Log loss or RMSE on the test rows, one or two splits, one to three seeds each:

    network    mean rank of 3    median of times the least loss    tables where it is best
    tabm       1.24              1.000                             17
    realmlp    2.38              1.052                              2 (392 and 400 rows, regression)
    mlp        2.38              1.049                              2 (178 and 569 rows, classes)

With untuned trees and the linear model beside them, mean rank of 8: CatBoost 2.38, tabm 2.43, realmlp and mlp 4.52,
linear 5.00, HistGradientBoosting 5.19, LightGBM 5.57, XGBoost 6.38. No split by rows, columns or categories did
better by more than noise: below 500 rows RealMLP wins two regressions of three, by 3 and 6 %, and loses the third by
5 %. That was TabM 256 wide, with batches of 256 rows and 100 epochs at most, which took ten times the MLP's time and
more. Since then its batches go by the table and it trains until no epoch is better. Of that with 128 units, and of
five networks, a fold each, the loss on the first split, one seed:

    table         rows    TabM before      now   5 folds   CatBoost
    auto_mpg       392          3.10      2.95      2.85       2.86
    carseats       400          1.22      1.15      1.11       1.28
    diabetes       442         63.9      60.6      62.3       68.1
    sacramento     932        65800     68500     64700      68000
    concrete      1030          4.63      4.21      4.05       4.30
    attrition     1470         0.336     0.330     0.331      0.345
    hpc           4331         0.470     0.467     0.426      0.421
    spam7         4601         0.314     0.315     0.311      0.304

Folds cost five to ten times the time of one network, here half a minute to six minutes on one core. One network of 256
units, as the recipe is now, instead of 128: no better on 11 tables of up to 5,000 rows (0.4 % higher in the mean, from
1.5 % lower to 4.2 % higher), 0.5 % lower on 5 of 6,259 to 15,000 rows, in 1.5 to 2 times the time. Five folds in bf16
on another split, in 1.3 to 1.8 times the time:

    table         rows    128 wide    256 wide   CatBoost
    concrete      1030        4.18        3.96       3.98
    saratoga      1728       54400       54700      55000
    hpc           4331       0.376       0.382      0.405

For more rows folds are worth more than width, 390 s each on two cores, hence the limits; beyond the second one nothing
was measured:

    table         rows   one, 256 wide   five folds, 128 wide   CatBoost
    deliveries   10012           1.907                  1.850      1.859
    magic        19020           0.264                  0.259      0.259

Columns make no rule: on wide tables (caret's, kernlab's and modeldata's, one split) five folds with the recipe's
embeddings of 16 numbers are best on four, and far behind on none but tecator's spectra. Embeddings of 4 take a quarter
to a half of their time, none a tenth to four tenths:

    table       rows   columns     16 wide    4 wide      none
    tecator      215       100        5.39      5.09      4.42
    ad_data      333       130       0.301     0.311     0.336
    bbb          208       134       0.475     0.495     0.477
    musk         476       166       0.302     0.307     0.309
    dhfr         325       228       0.170     0.170     0.197
    cox2         462       255       0.383     0.396     0.417
    mdrr         528       342       0.275     0.273     0.275
    pd_speech    252       752       0.450     0.442     0.451

What came of it on 21 classifications that nothing was chosen on, KEEL's, of 160 to 20,000 rows and 2 to 26 classes
(one split, one seed, one network beyond 10,000 rows): 14 % less log loss than CatBoost in the geometric mean, on 12
tables; accuracy is higher on 10, the same on 6. Of more than 10 classes, log loss, and where it loses most of at
least 1,000 rows:

    table            rows   classes      auto   CatBoost
    vowel             990        11     0.129      0.147
    movement_libras   360        15     0.554      0.579
    letter          20000        26     0.068      0.119
    segment          2310         7     0.057      0.044
    satimage         6435         6     0.230      0.220
    magic           19020         2     0.264      0.259

All of that was without the moving average of the weights (`trainer.ema_epochs`) that the recipe has since.
`make bench ARGS=auto` measures again.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.config import choices_of
from pipeline.errors import ConfigError
from pipeline.mistakes import hint
from pipeline.sections import NOT_TYPED

if TYPE_CHECKING:
    from pipeline.data.shape import Shape

AUTO = "auto"
NARROW, FOLDS = "model.d_block=128", "trainer.folds=5"
WIDE_FOLDED_ROWS, FOLDED_ROWS = 10_000, 25_000


class Choice(NamedTuple):
    """A network, and settings other than its recipe's, as overrides."""

    model: str
    settings: tuple[str, ...] = ()


class Rule(NamedTuple):
    """What is chosen for the tables that a condition holds for."""

    applies: "Callable[[Shape], bool]"
    choice: Choice


RULES: tuple[Rule, ...] = (
    Rule(lambda shape: shape.n_rows <= WIDE_FOLDED_ROWS, Choice("tabm", (FOLDS,))),
    Rule(lambda shape: shape.n_rows <= FOLDED_ROWS, Choice("tabm", (NARROW, FOLDS))),
    Rule(lambda shape: True, Choice("tabm")),  # also where folds are not to be
)


def choose(shape: "Shape", *, allows_folds: bool = True) -> Choice:
    """The choice of the first rule that applies; the last one, of one network, applies to every table."""
    return next(rule.choice for rule in RULES if rule.applies(shape)) if allows_folds else RULES[-1].choice


def named(overrides: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """The overrides of a config with model=auto, with the network for its table named.

    Args:
        overrides: as they were given; they win over the choice's settings.
        values: the config's; all but the model's are sound.

    Raises:
        ConfigError: no network has the model's settings.
        DataError: the table cannot be read.
    """
    from pipeline.data.shape import shape_of

    shape, given = shape_of(values["data"]), values["model"].keys() - {"name"}
    choice = choose(shape, allows_folds=_allows_folds(values))
    reason = str(shape)
    if other := _having(given, choice.model):
        choice, reason = Choice(other), f"{reason}, model.{' model.'.join(sorted(given))} given"
    return [*choice.settings, *overrides, f"model={choice.model}", f"model.chosen='{reason}'"]


def _having(given: AbstractSet[str], chosen: str) -> str | None:
    """The first network that has the settings that are given, where the chosen one has not; ConfigError: none has."""
    fields = {name: kind.model_fields.keys() for name, kind in choices_of("model").items()}
    known = dict.fromkeys(name for names in fields.values() for name in names if name not in NOT_TYPED)
    if unknown := sorted(given - known.keys()):
        raise ConfigError(*(f"model.{name}: no such setting{hint(name, known)}" for name in unknown))
    fitting = [name for name in fields if given <= fields[name]]
    if not fitting:
        raise ConfigError(f"model: no network has both {' and '.join(sorted(given))}; leave one out")
    return None if chosen in fitting else fitting[0]


def _allows_folds(values: Mapping[str, Any]) -> bool:
    """Whether networks of several folds can be trained, in one process on rows of their own, and no others are."""
    trainer, data = values["trainer"], values["data"]
    return data["time"] is data["group"] is None and trainer["devices"] == trainer["seeds"] == 1
