"""What networks answer: classes, values and units, and the validation rows with folds."""

import numpy as np
import torch
from scipy.special import expit, softmax
from torch import Tensor

from pipeline.outputs import predictions


def random_outputs(n_outputs: int) -> Tensor:
    return 5 * torch.randn(20, 3, n_outputs, generator=torch.Generator().manual_seed(0))


UNSCALED = {"center": np.zeros(1), "scale": np.ones(1)}


def test_probabilities_are_the_members_mean() -> None:
    outputs = random_outputs(4)
    found = predictions(outputs, "multiclass", **UNSCALED)
    np.testing.assert_allclose(found, softmax(outputs.double().numpy(), axis=2).mean(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-14)


def test_binary_has_a_column_a_class() -> None:
    outputs = random_outputs(1)
    one = expit(outputs.double().numpy()[:, :, 0]).mean(axis=1)
    np.testing.assert_allclose(predictions(outputs, "binary", **UNSCALED), np.stack([1 - one, one], axis=1))


def test_values_are_taken_back_to_the_targets_units() -> None:
    outputs, center, scale = random_outputs(2), np.array([100.0, -1]), np.array([10.0, 0.5])
    found = predictions(outputs, "regression", center=center, scale=scale)
    np.testing.assert_allclose(found, outputs.double().numpy().mean(axis=1) * [10, 0.5] + [100, -1])
