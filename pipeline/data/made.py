"""Tables that are made, always the same, to show what a loss or an optimizer does."""

import numpy as np
import pandas as pd

N_OUTLIERS_ROWS, N_SPARSE_ROWS = 1000, 2000
N_NUMBERS, N_COLUMNS, N_LEVELS = 8, 12, 40
FAR = 30.0  # noise deviations that an outlier lies above the rest, at the mean


def make_outliers(share: float) -> tuple[pd.DataFrame, str]:
    """A smooth target of 8 numbers (Friedman 1991, with unit noise) of which a share is thrown far upwards."""
    rng = np.random.default_rng(0)
    x = rng.random((N_OUTLIERS_ROWS, N_NUMBERS))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y += rng.normal(size=N_OUTLIERS_ROWS)
    thrown = rng.permutation(N_OUTLIERS_ROWS)[: round(share * N_OUTLIERS_ROWS)]
    y[thrown] += FAR * (1 + rng.exponential(size=len(thrown)))
    frame = pd.DataFrame(x, columns=[f"x{number}" for number in range(N_NUMBERS)])
    return frame.assign(target=y), "made: Friedman's function with outliers"


def make_sparse() -> tuple[pd.DataFrame, str]:
    """Two classes by 12 columns of 40 words each, a few common, most of them rare (Zipf), each with its own weight."""
    rng = np.random.default_rng(0)
    often = 1 / np.arange(1, N_LEVELS + 1)
    codes = rng.choice(N_LEVELS, (N_SPARSE_ROWS, N_COLUMNS), p=often / often.sum())
    weights = rng.normal(size=(N_COLUMNS, N_LEVELS))
    score = weights[np.arange(N_COLUMNS), codes].sum(axis=1)
    columns = {f"column {number}": [f"word {code}" for code in codes[:, number]] for number in range(N_COLUMNS)}
    return pd.DataFrame(columns).assign(target=np.where(score > np.median(score), "yes", "no")), "made: rare words"
