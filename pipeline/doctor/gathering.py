"""The evidence of a run gathered for the rules: what a constant and a linear answer would reach, and single columns."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.data.datamodule import TableDataModule
from pipeline.doctor.evidence import Evidence, Outcome
from pipeline.doctor.measuring import Probe
from pipeline.evaluate import Evaluation, predict
from pipeline.metrics import compute_metrics
from pipeline.module import TableModule, run_network
from pipeline.types import Arrays, Interval, Task

MAX_ROWS = 4000  # of each split that are looked at
MAX_COLUMNS = 5  # the most important ones, which are tried alone
MAX_ONEHOT = 300  # codes of embedded columns that a linear model gets as columns
N_BINS, BIN_ROWS = 50, 20  # of a number's values, by which it is to tell the target, and rows of one at least
N_FOLDS = 5
LBFGS_STEPS = 30


def gather(
    module: TableModule,
    data: TableDataModule,
    probe: Probe,
    history: Sequence[Mapping[str, float]],
    evaluation: Evaluation | None = None,
    *,
    diverged: bool = False,
) -> Evidence:
    """The evidence of a run; `evaluation` is absent of one that was cut off."""
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
        outcome=None if evaluation is None else _outcome(module.network, data, train, evaluation),
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


def _outcome(network: nn.Module, data: TableDataModule, train: Arrays, evaluation: Evaluation) -> Outcome:
    task, val = data.table.task, _some(data.val)
    y, y_train = (data.targets(rows[_places(len(rows))]) for rows in (data.splits.val, data.splits.train))
    prediction, prediction_train = (predict(run_network(network, part), data) for part in (val, train))
    return Outcome(
        y=y,
        prediction=prediction,
        y_train=y_train,
        prediction_train=prediction_train,
        classes=data.table.classes,
        class_counts=data.features.class_counts,
        temperature=evaluation.calibration.temperature,
        ece=0.0 if task == "regression" else compute_metrics(task, y, prediction)["ece"],
        linear=_against_linear(data, train, val, y, prediction),
        alone=_alone(data, train, val, evaluation.importance.names[:MAX_COLUMNS]),
    )


# ---------------------------------------------------------------- a linear model
def _against_linear(
    data: TableDataModule, train: Arrays, val: Arrays, y: np.ndarray, prediction: np.ndarray
) -> Interval | None:
    """How much lower the loss of a linear model is on the validation rows, log loss or squared error."""
    if data.config.loss.name not in ("auto", "mse", "cross_entropy", "bce"):
        return None
    x_train, x_val = _design(data, train, val)
    if data.table.task == "regression":
        answer = _ridge(x_train, train.y, x_val) * data.preprocessor.target_scale_ + data.preprocessor.target_center_
        difference = (np.square(y - prediction) - np.square(y - answer)).mean(axis=1)
    else:
        chances = _logistic(x_train, train.y, x_val, len(data.features.class_counts))
        rows = np.arange(len(y))
        difference = np.log(chances[rows, y].clip(1e-7)) - np.log(prediction[rows, y].clip(1e-7))
    mean, error = float(difference.mean()), 2 * float(difference.std()) / len(difference) ** 0.5
    return Interval(mean, mean - error, mean + error)


def _design(data: TableDataModule, train: Arrays, val: Arrays) -> tuple[Tensor, Tensor]:
    """Standardised columns (N, d) in float64 with a one behind them."""
    cardinalities = data.features.cardinalities
    parts = []
    for arrays in (train, val):
        columns = [torch.from_numpy(arrays.num).double()]
        if sum(cardinalities) <= MAX_ONEHOT:
            codes = torch.from_numpy(arrays.cat)
            columns += [F.one_hot(codes[:, i], n).double() for i, n in enumerate(cardinalities)]
        parts.append(torch.cat(columns, dim=1))
    center, spread = parts[0].mean(dim=0), parts[0].std(dim=0, unbiased=False).clamp_min(1e-9)
    scaled = [((part - center) / spread).clamp(-10, 10) for part in parts]
    first, second = (torch.cat([part, torch.ones(len(part), 1, dtype=torch.float64)], dim=1) for part in scaled)
    return first, second


def _ridge(x: Tensor, y: np.ndarray, x_new: Tensor) -> np.ndarray:
    """Ridge regression with a penalty of 1, as scikit-learn's default."""
    gram = x.T @ x + torch.eye(x.shape[1], dtype=torch.float64)
    answer: np.ndarray = (x_new @ torch.linalg.solve(gram, x.T @ torch.from_numpy(y).double())).numpy()
    return answer


def _logistic(x: Tensor, y: np.ndarray, x_new: Tensor, n_classes: int) -> np.ndarray:
    """Logistic regression with C = 1, as scikit-learn's default; probabilities (N, n_classes)."""
    weight = torch.zeros(x.shape[1], n_classes, dtype=torch.float64, requires_grad=True)
    target = torch.from_numpy(y)
    optimizer = torch.optim.LBFGS([weight], max_iter=LBFGS_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = F.cross_entropy(x @ weight, target) + 0.5 * weight[:-1].square().sum() / len(x)
        value.backward()
        return value

    optimizer.step(loss)
    return torch.softmax(x_new @ weight.detach(), dim=1).numpy()


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
