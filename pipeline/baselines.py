"""The models that a network has to beat: on its very splits and prepared columns, fitted cheaply, kept between runs."""

import hashlib
import json
import logging
import pickle
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from pipeline.clock import median_seconds
from pipeline.data import cache
from pipeline.errors import ConfigError, first_line
from pipeline.types import Arrays

if TYPE_CHECKING:
    from pipeline.data.datamodule import TableDataModule

MAX_ROWS = 100_000  # for training: more take long and change a baseline little
MAX_LEVELS = 255  # of a category in scikit-learn's trees; the rarest of more are pooled
PREDICTED_ROWS = 2**16  # at a time, in float64
PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn")
BOOSTING = ("lightgbm", "xgboost", "catboost")  # an extra; the packages are called as the baselines are

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: its answers on validation and test rows, as metrics take them, and what it costs."""

    name: str
    val: np.ndarray  # probabilities (N, C), or values (N, T) in the target's own unit
    test: np.ndarray
    seconds: float  # to fit
    row_seconds: float  # to answer one row alone, the median of some
    n_bytes: int  # pickled
    note: str = ""  # what was done to keep it cheap


def fit_baselines(names: Sequence[str], data: "TableDataModule", *, seed: int) -> dict[str, Baseline]:
    """Fit each of the named baselines on the training rows of `data`, or take what is kept of the last time.

    One that cannot be fitted is told in a warning and left out.
    """
    fitted: dict[str, Baseline] = {}
    for name in names:
        folder = Path(data.config.tracking.root) / "cache" / _key(name, data.key, seed)
        try:
            found = cache.fetch(folder, partial(_fit, name, data, seed), partial(_read, name))
        except Exception as error:  # of scikit-learn's many: a run is worth more than what stands beside it
            logger.warning("baseline %s: left out, it cannot be fitted: %s", name, first_line(error))
            continue
        fitted[name] = found
        if found.note:
            logger.info("baseline %s: %s", name, found.note)
    return fitted


def check_installed(names: Sequence[str]) -> None:
    """Raise ConfigError where a baseline needs a package that is not installed."""
    lines = [
        f"baselines: {name} is not installed; pip install 'table-pipeline[boosting]', or leave it out"
        for name in names
        if name in BOOSTING and find_spec(name) is None
    ]
    if lines:
        raise ConfigError(*lines)


def _key(name: str, prepared: str, seed: int) -> str:
    """A name for all that a baseline depends on: code, libraries, the prepared table, the seed."""
    packages = [*PACKAGES, *([name] if name in BOOSTING else [])]
    code = hashlib.blake2b(Path(__file__).read_bytes()).hexdigest()
    parts = [code, [version(package) for package in packages], prepared, name, seed]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _read(name: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Baseline:
    return Baseline(name=name, val=arrays["val"], test=arrays["test"], **facts)


# ---------------------------------------------------------------- which there are
class Problem(NamedTuple):
    """What a baseline is to learn; its inputs are a frame in which categories have pandas's categorical type."""

    is_class: bool
    n_targets: int
    categories: Sequence[str]  # columns of the frame
    seed: int


Builder = Callable[[Problem], Any]  # an estimator as scikit-learn has them


def _dummy(problem: Problem) -> Any:
    """The shares of the classes, or the mean."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyClassifier(strategy="prior") if problem.is_class else DummyRegressor()


def _linear(problem: Problem) -> Any:
    """Logistic or ridge regression on standardised numbers and one-hot categories."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), problem.categories), remainder=StandardScaler()
    )
    return make_pipeline(columns, LogisticRegression(max_iter=2000) if problem.is_class else Ridge())


def _hist_gb(problem: Problem) -> Any:
    """scikit-learn's boosted trees on numbers and categories, a model a target."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=MAX_LEVELS)
    columns = make_column_transformer((codes, problem.categories), remainder="passthrough")  # categories come first
    kind = HistGradientBoostingClassifier if problem.is_class else HistGradientBoostingRegressor
    trees = kind(categorical_features=[*range(len(problem.categories))], random_state=problem.seed)
    return make_pipeline(columns, _for_each_target(trees, problem))


def _lightgbm(problem: Problem) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMClassifier if problem.is_class else LGBMRegressor
    return _for_each_target(kind(random_state=problem.seed, verbose=-1), problem)


def _xgboost(problem: Problem) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBClassifier if problem.is_class else XGBRegressor
    return _for_each_target(kind(random_state=problem.seed, enable_categorical=True), problem)


def _catboost(problem: Problem) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    asked = {"cat_features": [*problem.categories], "random_seed": problem.seed, "verbose": 0}
    if problem.is_class:
        return CatBoostClassifier(**asked, allow_writing_files=False)
    loss = "MultiRMSE" if problem.n_targets > 1 else "RMSE"
    return CatBoostRegressor(**asked, loss_function=loss, allow_writing_files=False)


def _for_each_target(estimator: Any, problem: Problem) -> Any:
    from sklearn.multioutput import MultiOutputRegressor

    return MultiOutputRegressor(estimator) if problem.n_targets > 1 else estimator


BASELINES: Mapping[str, Builder] = {
    "dummy": _dummy,
    "linear": _linear,
    "hist_gb": _hist_gb,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
}


# ---------------------------------------------------------------- fit and answer
def _fit(name: str, data: "TableDataModule", seed: int) -> cache.Entry:
    """A baseline fitted, and its answers; with folds those on a validation row come from a fit without its fold."""
    rows, cardinalities = _drawn(len(data.train.y), seed), data.features.cardinalities
    n_classes = len(data.features.class_counts)
    categories = [f"category {place}" for place in range(len(cardinalities))]
    problem = Problem(n_classes > 0, data.table.targets.shape[1], categories, seed)

    def fitted(rows: np.ndarray) -> _Fitted:
        y, x = data.targets(data.splits.train[rows]), frame_of(data.train, rows, cardinalities)
        flat = y[:, 0] if y.ndim > 1 and y.shape[1] == 1 else y
        return _Fitted(BASELINES[name](problem), n_classes, x, flat)

    # one thread: of boosted trees two took 1.6 to 3.5 times as long on a busy machine, 0.7 to 1 times on an idle one
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # that a solver stopped at max_iter, or what a library will change
        start = time.perf_counter()
        model = fitted(rows)
        seconds = time.perf_counter() - start
        test = model.answers(data.test, cardinalities)
        val = model.answers(data.val, cardinalities) if data.folds is None else _held_out(fitted, data, rows)
        row = Arrays(*(array[:1] for array in data.test))
        row_seconds = median_seconds(lambda: model.answers(row, cardinalities))
    note = "" if len(rows) == len(data.train.y) else f"fitted on {len(rows):,} of {len(data.train.y):,} training rows"
    facts = {"seconds": seconds, "row_seconds": row_seconds, "n_bytes": len(pickle.dumps(model)), "note": note}
    return cache.Entry({"val": val, "test": test}, facts)


def _held_out(fitted: Callable[[np.ndarray], "_Fitted"], data: "TableDataModule", rows: np.ndarray) -> np.ndarray:
    """Answers on the validation rows, each by what was fitted to those of `rows` that are in other folds."""
    assert data.folds is not None
    parts = [held.numpy() for held in data.folds.held[: data.folds.n_parts]]
    answers = [
        fitted(np.setdiff1d(rows, held)).answers(
            Arrays(*(array[held] for array in data.val)), data.features.cardinalities
        )
        for held in parts
    ]
    return np.concatenate(answers)[np.argsort(np.concatenate(parts))]


def _drawn(n_rows: int, seed: int) -> np.ndarray:
    """At most MAX_ROWS row numbers, in order."""
    if n_rows <= MAX_ROWS:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, MAX_ROWS, replace=False))


def frame_of(arrays: Arrays, rows: np.ndarray | slice, cardinalities: Sequence[int]) -> pd.DataFrame:
    """Prepared rows as a frame: numbers in float64, categories by their codes."""
    num, cat = arrays.num[rows].astype(np.float64), arrays.cat[rows]
    numbers = pd.DataFrame(num, columns=[f"number {place}" for place in range(num.shape[1])])
    codes = {
        f"category {place}": pd.Categorical.from_codes(cat[:, place], dtype=pd.CategoricalDtype([*range(n_levels)]))
        for place, n_levels in enumerate(cardinalities)
    }
    return pd.concat([numbers, pd.DataFrame(codes, index=numbers.index)], axis=1)


class _Fitted:
    """An estimator that knows the classes which its training rows lack."""

    def __init__(self, estimator: Any, n_classes: int, x: pd.DataFrame, y: np.ndarray) -> None:
        self._n_classes = n_classes
        self._classes, codes = np.unique(y, return_inverse=True) if n_classes else (np.empty(0, np.int64), y)
        self._estimator = estimator.fit(x, codes)

    def answers(self, arrays: Arrays, cardinalities: Sequence[int]) -> np.ndarray:
        """Probabilities (N, C), or values (N, T)."""
        starts = range(0, len(arrays.y), PREDICTED_ROWS)
        parts = (frame_of(arrays, slice(start, start + PREDICTED_ROWS), cardinalities) for start in starts)
        return np.concatenate([self._answer(part) for part in parts])

    def _answer(self, x: pd.DataFrame) -> np.ndarray:
        if not self._n_classes:
            return np.asarray(self._estimator.predict(x), np.float64).reshape(len(x), -1)
        chances = np.zeros((len(x), self._n_classes))
        chances[:, self._classes] = self._estimator.predict_proba(x)
        return chances
