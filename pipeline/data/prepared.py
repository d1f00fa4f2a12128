"""A table ready to train on: read, split and prepared once, later taken from the cache under the tracking root."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

import pipeline.types
from pipeline.config import Config, FileSection
from pipeline.data import cache
from pipeline.data.files import release_memory
from pipeline.data.preprocess import Preprocessor
from pipeline.data.raw import raw_values, sampled
from pipeline.data.sources import FeatureColumns, address_of, digest_of_files, load_table, name_of
from pipeline.data.splits import fold_codes, split_table
from pipeline.types import Arrays, Splits, Stacked, Table

CODE = (*sorted(Path(__file__).parent.glob("*.py")), Path(pipeline.types.__file__))
PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn")


@dataclass(frozen=True)
class Prepared:
    """The parts of a table that training needs; `table.frame` has no rows any more.

    With folds `train` and `val` are the same rows, all outside the test, and `folds` (N,) says which is in which.
    `sample` has some test rows as they were read: those at the positions `raw.sampled`, as a bundle takes them. `key`
    names all that the arrays depend on.
    """

    table: Table
    splits: Splits
    preprocessor: Preprocessor
    train: Arrays
    val: Arrays
    test: Arrays
    folds: np.ndarray | None
    sample: Mapping[str, np.ndarray]
    key: str


def prepare(config: Config) -> Prepared:
    """The table that `config.data` names, prepared; raises DataError where it cannot be trained on."""
    digest = digest_of_files(config.data)
    key = _key(config, digest)
    folder = Path(config.tracking.root) / "cache" / key
    found = cache.fetch(folder, partial(_make, config, digest), partial(_read, config, key))
    release_memory()
    return found


def _key(config: Config, digest: str) -> str:
    """A name for all that prepared arrays depend on: code, libraries, settings, and what is in the files read.

    A data set that scikit-learn ships or fetches is known by its name and version, which are among the settings.
    """
    code = hashlib.blake2b(b"\0".join(file.read_bytes() for file in CODE)).hexdigest()
    libraries = [version(package) for package in PACKAGES]
    data = config.data.model_dump(mode="json", exclude={"path", "test_path"})
    kinds = [Path(path).suffix.lower() for path in _paths(config)]
    parts = [code, libraries, data, config.preprocess.model_dump(mode="json"), config.trainer.folds, kinds, digest]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _paths(config: Config) -> list[str]:
    data = config.data
    return [path for path in (data.path, data.test_path) if path] if isinstance(data, FileSection) else []


def _make(config: Config, digest: str) -> cache.Entry:
    """Read, split and prepare."""
    table, columns = load_table(config.data, digest)
    release_memory()  # of what parsing took
    splits, n_folds = split_table(table, config.data), config.trainer.folds
    folds = np.empty(0, dtype=np.int64)
    if n_folds > 1:
        rows = np.concatenate([splits.train, splits.val])
        splits, folds = Splits(rows, rows[:0], splits.test), fold_codes(table, config.data, rows, n_folds)
    preprocessor = Preprocessor(config.preprocess)
    sample: dict[str, np.ndarray] = {}
    reading = Lock()  # one column is read at a time, the one before it prepared meanwhile: reading holds it twice

    def take(name: str, rows: np.ndarray) -> pd.Series:
        with reading:
            column, n_test = columns.take(name, rows), len(splits.test)
        sample[name] = raw_values(column.iloc[len(rows) - n_test + sampled(n_test)])
        return column

    num, cat, y = preprocessor.fit_transform(columns.names, take, table, splits)
    numbers = [name for name, values in sample.items() if values.dtype != object]
    facts = {
        "table": _facts_of(table, columns),
        "preprocessor": preprocessor.to_dict(),
        "n_rows": [len(rows) for rows in splits],
        "texts": {name: values.tolist() for name, values in sample.items() if values.dtype == object},
        "numbers": numbers,
    }
    figures = np.array([sample[name] for name in numbers]).reshape(-1, len(sampled(len(splits.test))))
    rows, targets = np.concatenate(splits), table.targets.to_numpy()
    arrays: dict[str, np.ndarray | Stacked] = {"num": num, "cat": cat, "y": y, "folds": folds}
    arrays |= {"rows": rows, "targets": targets, "sample": figures}
    return cache.Entry(arrays, facts)


def _facts_of(table: Table, columns: FeatureColumns) -> dict[str, Any]:
    return {
        "source": table.source,
        "digest": table.digest,
        "task": table.task,
        "classes": table.classes,
        "labels": table.labels,
        "n_given_test": table.n_given_test,
        "notes": [*table.notes, *chain(*(columns.notes[name] for name in columns.names))],
        "columns": {name: columns.kinds[name] for name in columns.names},
        "targets": list(table.targets),
    }


def _read(config: Config, key: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Prepared:
    """The parts again; name and address are those of the file asked for now, whose content alone is that of then."""
    given, data = dict(facts["table"]), config.data
    columns, names = given.pop("columns"), given.pop("targets")
    if isinstance(data, FileSection):
        given["source"] = address_of(data)
    ends = np.cumsum(facts["n_rows"])[:2]
    splits = Splits(*np.split(arrays["rows"], ends))
    train, val, test = (
        Arrays(*part) for part in zip(*(np.split(arrays[name], ends) for name in Arrays._fields), strict=True)
    )
    folds = arrays["folds"] if len(arrays["folds"]) else None
    if folds is not None:
        splits, val = splits._replace(val=splits.train), train
    return Prepared(
        table=Table(
            name=name_of(data),
            frame=pd.DataFrame({name: pd.Series(dtype=_dtype(kind)) for name, kind in columns.items()}),
            targets=pd.DataFrame(arrays["targets"], columns=names, copy=False),
            **given | {field: tuple(given[field]) for field in ("classes", "labels", "notes")},
        ),
        splits=splits,
        preprocessor=Preprocessor.from_dict(facts["preprocessor"]),
        train=train,
        val=val,
        test=test,
        folds=folds,
        sample=_sample(arrays["sample"], facts),
        key=key,
    )


def _sample(figures: np.ndarray, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The test rows kept as they were read, in the table's order."""
    texts = {name: np.array(values, dtype=object) for name, values in facts["texts"].items()}
    found = texts | dict(zip(facts["numbers"], figures, strict=True))
    return {name: found[name] for name in facts["table"]["columns"]}


def _dtype(kind: str) -> Any:  # what pandas calls a dtype
    try:
        return pd.api.types.pandas_dtype(kind)
    except TypeError:  # pandas does not read the names of sparse columns, which openml.org has
        return np.dtype(object)
