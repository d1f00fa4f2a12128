"""Folds: who learns from which rows, and whose outputs stand for which."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.folds import Folds

CODES = np.array([0, 1, 2, 0, 1, 2, 0])


@st.composite
def folds(draw: st.DrawFn) -> Folds:
    n_parts = draw(st.integers(2, 6))
    codes = np.arange(draw(st.integers(n_parts, 40))) % n_parts
    return Folds(np.random.default_rng(draw(st.integers(0, 99))).permutation(codes), draw(st.integers(1, 3)))


@given(folds())
def test_every_row_is_held_out_from_one_network_of_each_seed_and_learned_by_the_others(made: Folds) -> None:
    n_rows = len(made.codes)
    for learned, held in zip(made.learned, made.held, strict=True):
        assert sorted([*learned.tolist(), *held.tolist()]) == list(range(n_rows))
    n_seeds = len(made.held) // made.n_parts
    assert sorted(torch.cat(made.held).tolist()) == sorted([*range(n_rows)] * n_seeds)


@given(folds(), st.integers(1, 3))
def test_pooled_outputs_of_a_row_are_those_of_the_networks_that_have_not_seen_it(made: Folds, k: int) -> None:
    """Each output names its row and its network."""
    n_networks = len(made.held)
    rows, networks = torch.from_numpy(made.beside()), torch.arange(n_networks)
    outputs = torch.stack([rows, networks.expand_as(rows)], dim=2)  # (n, M, 2)
    found = made.pooled(outputs.repeat_interleave(k, dim=1))
    assert found.shape == (len(made.codes), n_networks // made.n_parts * k, 2)
    for row, answers in enumerate(found.tolist()):
        assert [answer[0] for answer in answers] == [row] * len(answers)
        asked = [network for network in range(n_networks) if network % made.n_parts == made.codes[row]]
        assert [answer[1] for answer in answers] == [network for network in asked for _ in range(k)]


def test_rows_beside_each_other_end_with_the_last_one_again() -> None:
    assert Folds(CODES, 1).beside().tolist() == [[0, 1, 2], [3, 4, 5], [6, 4, 5]]


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_networks_of_further_seeds_have_the_same_folds(n_seeds: int) -> None:
    made = Folds(CODES, n_seeds)
    assert [rows.tolist() for rows in made.held] == [[0, 3, 6], [1, 4], [2, 5]] * n_seeds
