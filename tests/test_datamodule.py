"""Mini-batches: each row once an epoch, shared out among processes, handed over in blocks."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.data.datamodule import (
    BLOCK_STEPS,
    EVALUATION_ROWS,
    Block,
    Blocks,
    TableDataModule,
    batch_size_for,
    batches,
    epoch_seed,
    steps_per_epoch,
)
from pipeline.types import Arrays
from tests.conftest import quick


def trainer(rank: int = 0, world_size: int = 1, epoch: int = 0) -> pl.Trainer:
    return cast(pl.Trainer, SimpleNamespace(global_rank=rank, world_size=world_size, current_epoch=epoch))


def arrays(n_rows: int) -> Arrays:
    """Rows that tell their number in each of the arrays."""
    rows = np.arange(n_rows)
    return Arrays(rows[:, None].astype(np.float32), rows[:, None], rows)


def blocks(
    n_rows: int, size: int, *, per_block: int = 3, rank: int = 0, world: int = 1, epoch: int = 0, seed: int = 0
) -> list[Block]:
    whole = Blocks(
        arrays(n_rows), batch_size=size, steps_per_block=per_block, seed=seed, trainer=trainer(rank, world, epoch)
    )
    made = list(whole)
    assert len(whole) == len(made)
    return made


def mini_batches(made: list[Block], size: int) -> list[Tensor]:
    return [part for block in made for part in block.y.split(size)]


n_rows, sizes, per_blocks, worlds = st.integers(1, 150), st.integers(2, 30), st.integers(1, 9), st.integers(1, 4)


@given(n=n_rows, size=sizes, per_block=per_blocks, world=worlds)
def test_each_row_comes_once_and_ranks_share_each_global_mini_batch(
    n: int, size: int, per_block: int, world: int
) -> None:
    shares = [mini_batches(blocks(n, size, per_block=per_block, rank=rank, world=world), size) for rank in range(world)]
    steps = [torch.cat(parts) for parts in zip(*shares, strict=True)]
    whole, rest = divmod(n, size * world)
    left_out = rest if rest < 2 * world else 0
    assert [len(step) for step in steps] == [size * world] * whole + ([rest] if rest > left_out else [])
    assert len(steps) == steps_per_epoch(n, size, world)
    rows = torch.cat(steps).tolist() if steps else []
    assert len(rows) == len(set(rows)) == n - left_out
    assert all(len(part) >= 2 for share in shares for part in share)


@given(n=n_rows, size=sizes, world=worlds)
def test_weighted_mean_over_ranks_is_the_mean_of_the_global_mini_batch(n: int, size: int, world: int) -> None:
    made = [blocks(n, size, per_block=1, rank=rank, world=world) for rank in range(world)]
    for shares in zip(*made, strict=True):
        averaged = sum(float(share.y.double().mean()) * share.last_weight for share in shares) / world
        assert averaged == pytest.approx(float(torch.cat([share.y for share in shares]).double().mean()))


@given(n=n_rows, size=sizes, per_block=per_blocks)
def test_block_size_changes_nothing_but_the_blocks(n: int, size: int, per_block: int) -> None:
    made = blocks(n, size, per_block=per_block)
    one_by_one = mini_batches(blocks(n, size, per_block=1), size)
    assert [part.tolist() for part in mini_batches(made, size)] == [part.tolist() for part in one_by_one]
    assert [block.first_step for block in made] == list(range(0, len(one_by_one), per_block))


def test_parts_of_a_row_stay_together() -> None:
    for block in blocks(100, 8):
        assert torch.equal(block.num[:, 0].long(), block.y)
        assert torch.equal(block.cat[:, 0], block.y)


def test_shuffle_goes_by_seed_and_epoch() -> None:
    def order(**settings: int) -> list[int]:
        return torch.cat([block.y for block in blocks(100, 10, **settings)]).tolist()

    assert order(seed=1, epoch=3) == order(seed=1, epoch=3)
    assert order(seed=1, epoch=3) != order(seed=1, epoch=4)
    assert order(seed=1, epoch=3) != order(seed=2, epoch=3)
    assert order() != sorted(order())


def test_shuffle_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    blocks(100, 10)
    assert torch.equal(before, torch.get_rng_state())


def test_epoch_seeds_differ_and_are_ones_that_torch_takes() -> None:
    seeds = {epoch_seed(seed, epoch, rank) for seed in (0, 2**32 - 1) for epoch in range(50) for rank in range(3)}
    assert len(seeds) == 300
    for seed in seeds:
        torch.Generator().manual_seed(seed)


def test_evaluation_batches_keep_the_order() -> None:
    parts = batches(arrays(2 * EVALUATION_ROWS + 5))
    assert [len(part.y) for part in parts] == [EVALUATION_ROWS, EVALUATION_ROWS, 5]
    assert torch.equal(torch.cat([part.y for part in parts]), torch.arange(2 * EVALUATION_ROWS + 5))


# ---------------------------------------------------------------- TableDataModule
def ready(*overrides: str) -> TableDataModule:
    data = TableDataModule(quick(*overrides))
    data.setup()
    return data


def test_setup_reads_once() -> None:
    data = ready()
    table, train = data.table, data.train
    data.setup("fit")
    assert data.table is table
    assert data.train is train


def test_classes_are_codes_and_values_are_in_the_targets_own_unit() -> None:
    iris, diabetes = ready(), ready("data=diabetes")
    assert iris.targets(iris.splits.val).tolist() == iris.val.y.tolist()
    values = diabetes.targets(diabetes.splits.val)
    assert values.shape == (len(diabetes.splits.val), 1)
    center, scale = diabetes.preprocessor.target_center_, diabetes.preprocessor.target_scale_
    np.testing.assert_allclose(diabetes.val.y * scale + center, values, rtol=1e-5)
    assert diabetes.train.y.mean() == pytest.approx(0, abs=1e-6)
    assert diabetes.train.y.std() == pytest.approx(1)


def test_validation_comes_whole_and_in_order() -> None:
    data = ready()
    (batch,) = batches(data.val)
    assert batch.y.tolist() == data.val.y.tolist()


@pytest.mark.parametrize(("asked", "n_blocks"), [("1", 12), ("5", 3), ("100", 1), ("auto", 1)])
def test_steps_per_execution_is_the_size_of_a_block(asked: str, n_blocks: int) -> None:
    data = ready("trainer.batch_size=8", f"trainer.steps_per_execution={asked}")
    data.trainer = trainer()
    assert len(data.train_dataloader()) == n_blocks


@pytest.mark.parametrize(
    ("n_rows", "size"),
    [(1, 32), (2_799, 32), (2_800, 64), (4_500, 128), (6_400, 256), (32_000, 512), (108_000, 1024), (10**9, 1024)],
)
def test_larger_tables_have_larger_batches_where_none_is_asked_for(n_rows: int, size: int) -> None:
    assert batch_size_for(n_rows) == size


def test_auto_blocks_are_bounded_in_bytes_and_in_steps() -> None:
    data = ready("trainer.batch_size=2")
    assert data._auto_steps() == BLOCK_STEPS
    wide = np.zeros((2, 4_000_000), np.float32)
    data.train = Arrays(wide, np.zeros((2, 0), np.int64), np.zeros(2, np.int64))
    assert data._auto_steps() == 1
