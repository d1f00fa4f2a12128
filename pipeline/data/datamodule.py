"""The LightningDataModule: a table read, split, prepared, and handed to training in shuffled blocks."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.data.folds import Folds
from pipeline.data.prepared import Prepared, prepare
from pipeline.data.preprocess import Preprocessor
from pipeline.trainer_config import Trainer
from pipeline.types import Arrays, Features, Splits, Table

BLOCK_BYTES = 4 * 2**20  # of rows gathered for a block: small beside the table, large beside the cost of a call
BLOCK_STEPS = 256  # mini-batches a block at most, so that progress shows and Lightning's hooks still run
EVALUATION_ROWS = 4096  # rows a forward pass without gradients: more take memory and gain nothing on a CPU
BATCH_SIZES = ((2_800, 32), (4_500, 64), (6_400, 128), (32_000, 256), (108_000, 512))  # below so many training rows
LARGEST_BATCH = 1024
SMALLEST_BATCH = 2  # batch normalisation has no variance of one row


class Block(NamedTuple):
    """Rows of several mini-batches, one after the other: num (R, n_num), cat (R, n_cat), y (R,) or (R, T).

    Of M networks side by side each has rows of its own: num (R, M, n_num) and so on.
    """

    num: Tensor
    cat: Tensor
    y: Tensor
    first_step: int  # mini-batches of the epoch before this block
    last_weight: float  # of the last mini-batch, where processes have unequal shares of it; else 1


class Batch(NamedTuple):
    """Rows for one pass: num (B, n_num), cat (B, n_cat), y (B,) or (B, T)."""

    num: Tensor
    cat: Tensor
    y: Tensor


class Blocks:
    """The mini-batches of an epoch, shuffled once by (seed, epoch) and gathered a block at a time.

    With several processes each takes its share of every global mini-batch of `world_size · batch_size` rows, so
    that averaged gradients are those of one process with the summed batch. A last mini-batch too small for batch
    normalisation is left out; the next epoch's shuffle puts other rows there.

    Of an ensemble each network has an order of its own, over the rows in `learned`; None: all.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        batch_size: int,
        steps_per_block: int,
        seed: int,
        trainer: pl.Trainer,
        learned: Sequence[Tensor | None] = (None,),
    ) -> None:
        self._tensors = [torch.from_numpy(array) for array in arrays]
        self._batch_size, self._steps_per_block = batch_size, steps_per_block
        self._seed, self._trainer, self._learned = seed, trainer, learned
        self._n_rows = min(len(self._tensors[2]) if rows is None else len(rows) for rows in learned)
        self.n_steps = steps_per_epoch(self._n_rows, batch_size, trainer.world_size)

    def __len__(self) -> int:
        return ceil(self.n_steps / self._steps_per_block)

    def __iter__(self) -> Iterator[Block]:
        rank, world_size = self._trainer.global_rank, self._trainer.world_size
        orders = [self._order(number) for number in range(len(self._learned))]
        order = orders[0] if len(orders) == 1 else torch.stack(orders, dim=1)  # (N,), or (N, M)
        steps = order.split(self._batch_size * world_size)[: self.n_steps]
        own = [step.tensor_split(world_size)[rank] for step in steps]
        for first in range(0, self.n_steps, self._steps_per_block):
            members = own[first : first + self._steps_per_block]
            last = first + len(members) - 1
            rows = torch.cat(members)
            num, cat, y = (tensor[rows] for tensor in self._tensors)
            yield Block(num, cat, y, first, len(members[-1]) * world_size / len(steps[last]))

    def _order(self, number: int) -> Tensor:
        """The rows that a network learns from, shuffled; of folds that differ by a row, one is left out."""
        rows = self._learned[number]
        generator = torch.Generator().manual_seed(epoch_seed(self._seed + number, self._trainer.current_epoch))
        order = torch.randperm(len(self._tensors[2] if rows is None else rows), generator=generator)
        return order if rows is None else rows[order[: self._n_rows]]


def batch_rows(trainer: Trainer) -> int:
    """Rows a step, once the table is known."""
    assert trainer.batch_size != "auto", "see batch_size_for"
    return trainer.batch_size


def batch_size_for(n_rows: int) -> int:
    """Rows a step for `trainer.batch_size=auto`: what TabM's authors chose for tables of so many training rows.

    Gorishniy et al. 2024, as pytabkit 1.7 infers it from the choices in the paper.
    """
    return next((size for limit, size in BATCH_SIZES if n_rows < limit), LARGEST_BATCH)


def steps_per_epoch(n_rows: int, batch_size: int, world_size: int = 1) -> int:
    """Mini-batches an epoch."""
    whole, rest = divmod(n_rows, batch_size * world_size)
    return whole + (rest >= SMALLEST_BATCH * world_size)


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """A seed for one epoch of one process: what an epoch draws does not depend on the epochs before it.

    That makes a resumed run equal to an uninterrupted one without keeping any generator's state.
    """
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)


class TableDataModule(pl.LightningDataModule):
    """From `config.data` to batches; `prepared` is its table where that is at hand already.

    Attributes, after `setup`:
        table, splits, preprocessor, features: the parts.
        train, val, test: prepared `Arrays`.
        folds: which rows are held out from which network of an ensemble, where there are folds.
        sample, key: some test rows as they were read, and a name for all of this, see `Prepared`.
    """

    table: Table
    splits: Splits
    preprocessor: Preprocessor
    sample: Mapping[str, np.ndarray]
    features: Features
    folds: Folds | None
    key: str

    def __init__(self, config: Config, prepared: Prepared | None = None) -> None:
        super().__init__()
        self.config, self._prepared = config, prepared

    def setup(self, stage: str | None = None) -> None:
        """Read, split and prepare, once, or take what is kept; raises DataError."""
        if hasattr(self, "train"):
            return
        prepared = self._prepared or prepare(self.config)
        self.table, self.splits, self.preprocessor = prepared.table, prepared.splits, prepared.preprocessor
        self.train, self.val, self.test = prepared.train, prepared.val, prepared.test
        self.folds = None if prepared.folds is None else Folds(prepared.folds, self.config.trainer.seeds)
        self.sample, self.features, self.key = prepared.sample, self.preprocessor.features_, prepared.key

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Targets of `rows` as metrics take them: codes (N,), or values (N, T) in the target's own unit."""
        y = self.table.targets.iloc[rows].to_numpy()
        return y if self.table.task == "regression" else y[:, 0]

    @property
    def n_learned(self) -> int:
        """Rows that a network learns from."""
        return min(len(rows) for rows in self.folds.learned) if self.folds else len(self.train.y)

    def validation_batches(self) -> list[Batch]:
        """The validation rows; with folds, side by side those of each network: num (B, M, n_num) and so on."""
        return batches(self.val if self.folds is None else Arrays(*(array[self.folds.beside()] for array in self.val)))

    def train_dataloader(self) -> Blocks:
        """The shuffled blocks of an epoch."""
        assert self.trainer is not None
        trainer = self.config.trainer
        asked = trainer.steps_per_execution
        steps = self._auto_steps() if asked == "auto" else asked
        return Blocks(
            self.train,
            batch_size=batch_rows(trainer),
            steps_per_block=steps,
            seed=self.config.seed,
            trainer=self.trainer,
            learned=self.folds.learned if self.folds else [None] * trainer.n_networks,
        )

    def _auto_steps(self) -> int:
        row_bytes = sum(array[:1].nbytes for array in self.train)
        fitting = BLOCK_BYTES // (row_bytes * batch_rows(self.config.trainer) * self.config.trainer.n_networks)
        return max(1, min(BLOCK_STEPS, fitting))


def batches(arrays: Arrays, n_rows: int = EVALUATION_ROWS) -> list[Batch]:
    """Arrays as batches of tensors, in order; large ones are for passes without gradients."""
    parts = (torch.from_numpy(array).split(n_rows) for array in arrays)
    return [Batch(*part) for part in zip(*parts, strict=True)]
