"""Cross-validated bagging: the rows that each network of an ensemble learns from, and those it is judged on."""

import numpy as np
import torch
from torch import Tensor


class Folds:
    """N rows in parts, and M networks: number m learns from all rows but those of part m modulo the number of parts.

    Args:
        codes: the part (N,) of each row, from 0.
        n_seeds: networks a part.

    Attributes:
        codes, n_parts: as given, and how many parts there are.
        learned: for each network the numbers (n,) of the rows it learns from.
        held: those of the rows held out from it.
    """

    def __init__(self, codes: np.ndarray, n_seeds: int) -> None:
        parts = range(int(codes.max()) + 1)
        self.codes, self.n_parts = codes, len(parts)
        self.learned = [torch.from_numpy(np.flatnonzero(codes != part)) for part in parts] * n_seeds
        self.held = [torch.from_numpy(np.flatnonzero(codes == part)) for part in parts] * n_seeds

    def beside(self) -> np.ndarray:
        """Row numbers (n, M): those held out from each network; the last one again where another has more."""
        longest = max(len(rows) for rows in self.held)
        columns = [np.pad(rows.numpy(), (0, longest - len(rows)), mode="edge") for rows in self.held]
        return np.stack(columns, axis=1)

    def pooled(self, outputs: Tensor) -> Tensor:
        """Outputs (n, M·K, C) on rows that stand `beside` each other, as (N, M/parts·K, C): each row out of fold."""
        own = outputs.unflatten(1, (len(self.held), -1))  # (n, M, K, C)
        found = outputs.new_empty(len(self.codes), len(self.held) // self.n_parts, *own.shape[2:])
        for network, rows in enumerate(self.held):
            found[rows, network // self.n_parts] = own[: len(rows), network]
        return found.flatten(1, 2)
