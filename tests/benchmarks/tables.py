"""Made-up tables as files, each made once a sitting."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

TEXT_LEVELS = (4, 8, 30, 100, 1000)  # of the first, second … text column


def table_file(
    folder: Path,
    n_rows: int,
    *,
    n_float: int = 20,
    n_text: int = 0,
    n_levels: Sequence[int] = TEXT_LEVELS,
    dtype: str = "float64",
    suffix: str = "parquet",
) -> Path:
    """A table of floats x0 …, texts t0 … and the class y, one of four, which x0 tells half of."""
    file = folder / f"{n_rows}_{n_float}_{'_'.join(map(str, n_levels[:n_text]))}_{dtype}.{suffix}"
    if file.exists():
        return file
    rng = np.random.default_rng(0)
    columns = {f"x{i}": pa.array(rng.standard_normal(n_rows).round(4).astype(dtype)) for i in range(n_float)}
    for i, n in enumerate(n_levels[:n_text]):
        levels = pa.array([f"level {level}" for level in range(n)])
        columns[f"t{i}"] = levels.take(pa.array(rng.integers(0, n, n_rows)))
    signal = columns["x0"].to_numpy() + rng.standard_normal(n_rows)
    columns["y"] = pa.array(np.digitize(signal, [-1, 0, 1]))
    if suffix == "csv":
        pa.csv.write_csv(pa.table(columns), file)
    else:
        pa.parquet.write_table(pa.table(columns), file)
    return file


def overrides(file: Path, root: Path) -> list[str]:
    """What a config needs to train on such a file, untracked, with everything it writes under `root`."""
    return ["data=csv", f"data.path={file}", "data.target=y", "tracking=none", f"tracking.root={root}"]
