"""(5) From file to prepared arrays, against pyarrow alone reading the file."""

import tempfile
from functools import partial
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet

from pipeline.compose import load_config
from pipeline.data.datamodule import TableDataModule
from tests.benchmarks.harness import Case, Sample, ratio, seconds
from tests.benchmarks.tables import overrides, table_file

AT_MOST = 2.0
READERS = {"csv": pyarrow.csv.read_csv, "parquet": pyarrow.parquet.read_table}


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """A case a format."""
    return [_case(folder, 2000 if quick else 10**6, suffix) for suffix in READERS]


def _case(folder: Path, n_rows: int, suffix: str) -> Case:
    file = table_file(folder, n_rows, n_float=15, n_text=5, suffix=suffix)
    contestants = {
        "pyarrow": partial(seconds, partial(READERS[suffix], file)),
        "ours, cold": partial(_cold, file, folder),
        "ours, warm": partial(_ready, file, folder / "mlruns"),
    }
    lines = [ratio("ours, cold", "pyarrow", at_most=AT_MOST), ratio("ours, warm", "pyarrow")]
    return Case(f"{suffix}, {n_rows} x 20", contestants, lines)


def _ready(file: Path, root: Path) -> Sample:
    data = TableDataModule(load_config(overrides(file, root)))
    return seconds(data.setup)


def _cold(file: Path, folder: Path) -> Sample:
    """A root of its own, where nothing is cached."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        return _ready(file, Path(root))
