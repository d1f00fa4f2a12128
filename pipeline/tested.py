"""Test predictions of a run, read back from the file that `evaluate.predictions_parquet` makes."""

from pathlib import Path
from typing import IO

import numpy as np

from pipeline.types import Task

TESTED = "predictions/test.parquet"  # among a run's artifacts


def read_tested(file: Path | IO[bytes], task: Task) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted values of the N test rows, as metrics take them.

    Of a classification y is (N,) codes and the prediction (N, C) probabilities, of a regression both are (N, T).
    """
    import pandas as pd

    frame = pd.read_parquet(file)
    columns = [str(name) for name in frame]
    if task == "regression":
        predicted = [name for name in columns if name.startswith("predicted ")]
        targets = [name.removeprefix("predicted ") for name in predicted]
        return frame[targets].to_numpy(), frame[predicted].to_numpy()
    chances = [name for name in columns if name.startswith("probability of ")]
    codes = {name.removeprefix("probability of "): code for code, name in enumerate(chances)}
    return frame[columns[1]].map(codes).to_numpy(), frame[chances].to_numpy()
