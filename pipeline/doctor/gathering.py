"""The evidence of a run gathered for the rules: what a constant and a linear answer reach, and single columns."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from pipeline.baselines import Baseline
from pipeline.data.datamodule import TableDataModule
from pipeline.doctor.evidence import Evidence, Outcome
from pipeline.doctor.measuring import Probe
from pipeline.evaluate import Evaluation
from pipeline.metrics import compute_metrics
from pipeline.module import TableModule
from pipeline.outputs import predict, run_network
from pipeline.types import Arrays, Interval, Task

MAX_ROWS = 4000  # of each split that are looked at
MAX_COLUMNS = 5  # the most important ones, which are tried alone
N_BINS, BIN_ROWS = 50, 20  # of a number's values, by which it is to tell the target, and rows of one at least
N_FOLDS = 5


def gather(
    module: TableModule,
    data: TableDataModule,
    probe: Probe,
    history: Sequence[Mapping[str, float]],
    evaluation: Evaluation | None = None,
    linear: Baseline | None = None,
    *,
    diverged: bool = False,
) -> Evidence:
    """The evidence of a run; `evaluation` is absent of one that was cut off, `linear` where it was not asked for."""
    train = _some(data.train)
    spreads: dict[str, float] = {}
    if data.config.preprocess.scaling == "none":
        names = [number.name for number in data.preprocessor.numbers_]
        spreads = dict(zip(names, train.num[:, : len(names)].std(axis=0).tolist(), strict=True))
    constants = [module.loss_unit * loss for loss in _constant_losses(module, train, data.features.task)]
    return Evidence(
        config=data.config,
        task=data.table.task,
        constant_loss=min(constants),
        neutral_loss=constants[-1],
        start_loss=probe.start_loss,
        measures=probe.measures,
        history=history,
        spreads=spreads,
        diverged=diverged,
        outcome=None if evaluation is None else _outcome(module.network, data, train, evaluation, linear),
    )


def _some(arrays: Arrays) -> Arrays:
    """Rows spread evenly."""
    return Arrays(*(array[_places(len(arrays.y))] for array in arrays))


def _places(n_rows: int) -> np.ndarray:
    return np.linspace(0, n_rows - 1, min(n_rows, MAX_ROWS)).astype(np.int64)


def _constant_losses(module: TableModule, train: Arrays, task: Task) -> list[float]:
    """Losses of constant outputs: of the classes' shares, and of zeros, which are a regression's mean."""
    y = torch.from_numpy(train.y)
    if task == "regression":
        return [float(module.loss(torch.zeros(len(y), 1, y.shape[1]), y))]
    shares = torch.bincount(y).clamp_min(1) / len(y)
    logits = (shares[1] / shares[0]).log()[None] if task == "binary" else shares.log()
    answers = (logits, torch.zeros_like(logits))
    return [float(module.loss(answer.expand(len(y), 1, len(answer)), y)) for answer in answers]


def _outcome(
    network: nn.Module, data: TableDataModule, train: Arrays, evaluation: Evaluation, linear: Baseline | None
) -> Outcome:
    task, val = data.table.task, _some(data.val)
    y, y_train = (data.targets(rows[_places(len(rows))]) for rows in (data.splits.val, data.splits.train))
    prediction = evaluation.validation[_places(len(evaluation.validation))]
    prediction_train = predict(run_network(network, train), data)
    return Outcome(
        y=y,
        prediction=prediction,
        y_train=y_train,
        prediction_train=prediction_train,
        classes=data.table.classes,
        class_counts=data.features.class_counts,
        temperature=evaluation.calibration.temperature,
        ece=0.0 if task == "regression" else compute_metrics(task, y, prediction)["ece"],
        linear=_lower_loss(data, y, prediction, linear.val[_places(len(linear.val))]) if linear else None,
        alone=_alone(data, train, val, evaluation.importance.names[:MAX_COLUMNS]),
    )


# ---------------------------------------------------------------- a linear model
def _lower_loss(data: TableDataModule, y: np.ndarray, prediction: np.ndarray, answer: np.ndarray) -> Interval | None:
    """How much lower the loss of an answer is than that of a prediction, log loss or squared error, on rows y."""
    if data.config.loss.name not in ("auto", "mse", "cross_entropy", "bce"):
        return None
    if data.table.task == "regression":
        difference = (np.square(y - prediction) - np.square(y - answer)).mean(axis=1)
    else:
        rows = np.arange(len(y))
        difference = np.log(answer[rows, y].clip(1e-7)) - np.log(prediction[rows, y].clip(1e-7))
    mean, error = float(difference.mean()), 2 * float(difference.std()) / len(difference) ** 0.5
    return Interval(mean, mean - error, mean + error)


# ---------------------------------------------------------------- single columns
def _alone(data: TableDataModule, train: Arrays, val: Arrays, names: Sequence[str]) -> tuple[str, float] | None:
    """The column that tells most by itself, and which share of what the best constant answer leaves untold."""
    if train.y.ndim > 1 and train.y.shape[1] > 1:
        return None
    sources = data.preprocessor.sources()
    rows = Arrays(*(np.concatenate(parts) for parts in zip(train, val, strict=True)))
    told = {name: _told(rows, *sources[name], data.table.task) for name in names}
    return max(told.items(), key=lambda item: item[1], default=None)


def _told(rows: Arrays, nums: Sequence[int], cats: Sequence[int], task: Task) -> float:
    codes = [rows.cat[:, place] for place in cats]
    if nums:
        codes += _binned(rows.num[:, nums])
    return max(_share(one, rows.y if task != "regression" else rows.y[:, 0], task) for one in codes)


def _binned(x: np.ndarray) -> list[np.ndarray]:
    """Codes of columns (N, k): of one-hot columns together, of numbers each by its quantiles."""
    if np.isin(x, (0, 1)).all():
        return [(x @ np.arange(1, x.shape[1] + 1)).astype(np.int64)]
    n_bins = max(2, min(N_BINS, len(x) // BIN_ROWS))
    edges = (np.unique(np.quantile(column, np.linspace(0, 1, n_bins + 1)[1:-1])) for column in x.T)
    return [np.searchsorted(edge, column) for edge, column in zip(edges, x.T, strict=True)]


def _share(codes: np.ndarray, y: np.ndarray, task: Task) -> float:
    """Of the codes' means or most frequent classes, each row's learned on the other folds: the share told, at least.

    At least: the error is taken two standard errors higher, and three rows are counted as missed.
    """
    n, n_codes = len(y), 1 + int(codes.max())
    fold, error = np.arange(n) % N_FOLDS, np.empty(n)
    for held in range(N_FOLDS):
        own, others = fold == held, fold != held
        if task == "regression":
            counts = np.bincount(codes[others], minlength=n_codes)
            means = np.bincount(codes[others], weights=y[others], minlength=n_codes) / np.maximum(counts, 1)
            error[own] = np.square(y[own] - means[codes[own]])
        else:
            k = int(y.max()) + 1
            counts = np.bincount(codes[others] * k + y[others], minlength=n_codes * k).reshape(n_codes, k)
            error[own] = counts.argmax(axis=1)[codes[own]] != y[own]
    untold = float(y.var()) if task == "regression" else 1 - float(np.bincount(y).max()) / n
    margin = 2 * float(error.std()) / n**0.5 + (0 if task == "regression" else 3 / n)
    return 1 - (float(error.mean()) + margin) / untold if untold > 0 else 0.0
