"""What a run predicted for its test rows, read back as metrics take it."""

import io

import numpy as np

from pipeline.tested import read_tested
from tests.past import parquet, shop_predictions


def test_a_classification_is_read_as_codes_and_probabilities() -> None:
    y, prediction = read_tested(io.BytesIO(shop_predictions()), "binary")
    assert y.tolist() == [0, 0, 1, 1]
    assert np.allclose(prediction, [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])


def test_a_regression_is_read_as_values_a_column_each() -> None:
    row = {"row": 1, "a": 1.0, "predicted a": 2.0, "b": 3.0, "predicted b": 4.0}
    y, prediction = read_tested(io.BytesIO(parquet([row])), "regression")
    assert (y.tolist(), prediction.tolist()) == ([[1.0, 3.0]], [[2.0, 4.0]])
