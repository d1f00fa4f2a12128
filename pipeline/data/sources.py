"""Where tables come from: scikit-learn's sets, OpenML, files; and the checks a table must pass."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import (
    CaliforniaHousing,
    Csv,
    Data,
    DataSection,
    FileSection,
    MobilePrice,
    OpenML,
    Outliers,
    Sparse,
)
from pipeline.data.columns import (
    ALMOST,
    as_datetime,
    as_moments,
    as_numbers,
    as_text,
    decoded,
    is_coded,
    is_datetime,
    is_number,
    is_opaque,
    is_textual,
    kind_of,
    misfits,
    n_distinct,
    override,
    require_finite,
    shown,
    text_codes,
)
from pipeline.data.files import file_digest, open_file, release_memory
from pipeline.data.made import make_outliers, make_sparse
from pipeline.data.targets import encode, infer_task, labels_of, require_sound_targets
from pipeline.errors import DataError
from pipeline.types import Table


@dataclass(frozen=True)
class Raw:
    """A table not looked at yet: its columns are read as they are taken, each once."""

    names: Sequence[str]
    n_rows: int
    take: Callable[[str], pd.Series]
    targets: tuple[str, ...]
    source: str  # path or address, as MLflow shows it
    digest: str  # of what was read; empty where the files' own is meant
    n_given_test: int = 0

    def files(self, data: Data) -> list[tuple[str, slice]]:
        """Rows of each file read, with the words that say which file where there are two."""
        n_own = self.n_rows - self.n_given_test
        files = [("", slice(n_own))]
        if isinstance(data, FileSection) and data.test_path:
            files.append((f" of {data.test_path}", slice(n_own, None)))
        return files


class FeatureColumns:
    """The features of a table: each column is read and checked when it is taken, which it can be once.

    Attributes:
        names: in the table's order.
        kinds: of each column taken, what pandas calls its type.
        notes: of each column taken, what looks odd.
    """

    def __init__(self, names: Sequence[str], raw: Raw, read: Callable[[str], pd.Series], data: Data) -> None:
        self.names = names
        self.kinds: dict[str, str] = {}
        self.notes: dict[str, list[str]] = {}
        self._read, self._files, self._categorical = read, raw.files(data), data.categorical

    def take(self, name: str, rows: np.ndarray) -> pd.Series:
        """A column's values in `rows`; raises DataError where any row holds what nothing can be learned from."""
        column = self._checked(name)
        self.kinds[name], self.notes[name] = kind_of(column), _id_notes(column)
        taken = pd.Series(column.array.take(rows), name=name, dtype=column.dtype, copy=False)
        del column  # so that what it takes can go
        release_memory()
        return taken

    def _checked(self, name: str) -> pd.Series:
        column = self._read(name)
        for where, rows in self._files:
            _require_usable(column.iloc[rows], where)
            if name not in self._categorical:
                _require_sound_numbers(column.iloc[rows], where)
        return as_text(column) if name in self._categorical else column


def load_table(data: Data, digest: str = "") -> tuple[Table, FeatureColumns]:
    """The table that `data` names, checked: its targets and what steers the split; its features when they are taken.

    Args:
        data: the config's section.
        digest: `digest_of_files(data)`, where it is known already.

    Raises:
        DataError: for a table that cannot be trained on; the message names column and row. Rows count from 1,
            the header not among them.
    """
    digest = digest or digest_of_files(data)
    raw = SOURCES[data.name](data)
    steering = [name for name in (data.group, data.time) if name]
    _require_columns(raw.names, [*raw.targets, *data.drop, *data.categorical, *steering])
    _require_roles(raw.targets, data)
    names = [name for name in raw.names if name not in (*raw.targets, *data.drop, data.group)]
    if not names:
        raise DataError("no feature columns: the target, data.drop and data.group leave none")

    def read(name: str) -> pd.Series:
        column = raw.take(name)
        return column if name in (*data.drop, *data.categorical) else as_datetime(column)

    held = {name: decoded(read(name)) for name in raw.names if name in (*raw.targets, *steering)}
    targets = pd.DataFrame({name: held.pop(name) for name in raw.targets})
    for where, rows in raw.files(data):
        require_sound_targets(targets.iloc[rows], where)
        for name, column in held.items():
            if name not in data.drop:
                _require_usable(column.iloc[rows], where)
    task, classes, note = infer_task(targets, data.task)
    table = Table(
        name=name_of(data),
        source=raw.source,
        digest=raw.digest or digest,
        frame=pd.DataFrame(),
        targets=encode(targets, task, classes),
        task=task,
        classes=classes,
        labels=labels_of(targets.iloc[:, 0], classes),
        group=held[data.group] if data.group else None,
        time=held[data.time] if data.time else None,
        n_given_test=raw.n_given_test,
        notes=(note,),
    )
    return table, FeatureColumns(names, raw, lambda name: held[name] if name in held else read(name), data)


# ---------------------------------------------------------------- sources
def _from_sklearn(data: DataSection) -> Raw:
    from sklearn import datasets

    name: str = data.name  # type: ignore[attr-defined]
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame: pd.DataFrame = bunch.data.copy()
    target = bunch.target
    labels = getattr(bunch, "target_names", None)
    if labels is not None and name != "digits":
        target = pd.Series(np.asarray(labels)[target].astype(str), name=target.name)
    frame["target"] = target
    return _in_memory(frame, ("target",), f"sklearn.datasets.load_{name}")


def _from_california(data: CaliforniaHousing) -> Raw:
    from sklearn.datasets import fetch_california_housing

    bunch = _fetch(lambda: fetch_california_housing(as_frame=True), "data=california_housing")
    source = "sklearn.datasets.fetch_california_housing"
    return _in_memory(bunch.frame, tuple(bunch.target_names), source)


def _from_openml(data: OpenML) -> Raw:
    from sklearn.datasets import fetch_openml

    number = int(data.dataset) if data.dataset.isdigit() else None
    query = {"data_id": number} if number is not None else {"name": data.dataset, "version": data.version or "active"}
    if number is not None and data.version is not None:
        raise DataError(f"data.version: goes with a data set's name, not with its number {number}")
    target = list(data.target) if isinstance(data.target, tuple) else data.target or "default-target"
    bunch = _fetch(lambda: fetch_openml(**query, target_column=target, as_frame=True), f"data.dataset={data.dataset}")
    names = tuple(bunch.target_names)
    if not names:
        raise DataError(f"data.dataset={data.dataset}: has no target of its own; set data.target=COLUMN")
    return _in_memory(bunch.frame, names, f"openml.org/d/{bunch.details['id']}")


def _made(data: Outliers | Sparse) -> Raw:
    frame, source = make_outliers(data.share) if isinstance(data, Outliers) else make_sparse()
    return _in_memory(frame, ("target",), source)


def _in_memory(frame: pd.DataFrame, targets: tuple[str, ...], source: str) -> Raw:
    names = [str(name) for name in frame]
    return Raw(names, len(frame), lambda name: frame[name], targets, source, digest_of(frame))


def _fetch(fetch: Callable[[], object], setting: str):  # type: ignore[no-untyped-def]  # a scikit-learn Bunch
    """A download, with one clear line where it fails."""
    from http.client import HTTPException

    try:
        with warnings.catch_warnings():  # scikit-learn warns at each of its retries
            warnings.simplefilter("ignore")
            return fetch()
    except (OSError, HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{setting}: could not be downloaded ({reason}); "
            "without a network use data=csv data.path=FILE data.target=COLUMN"
        ) from error
    except (ValueError, KeyError) as error:  # what scikit-learn raises for a name, version or target it does not find
        raise DataError(f"{setting}: {' '.join(str(error.args[0]).split())}") from error


def _from_file(data: FileSection) -> Raw:
    targets = (data.target,) if isinstance(data.target, str) else data.target
    own = open_file(data.path, separator=data.separator, missing_values=data.missing_values)
    if data.test_path is None:
        return Raw(own.names, own.n_rows, own.take, targets, address_of(data), "")
    test = open_file(data.test_path, "data.test_path", separator=data.separator, missing_values=data.missing_values)
    _require_columns(own.names, targets)
    absent = [name for name in own.names if name not in test.names and name not in data.drop]
    if absent:
        raise DataError(
            f"data.test_path: column '{absent[0]}' of {data.path} is not in {data.test_path}"
            + ("; test rows need their target" if absent[0] in data.target else "")
        )

    def take(name: str) -> pd.Series:
        given = test.take(name) if name in test.names else pd.Series(np.nan, range(test.n_rows), name=name)
        return _append(own.take(name), given, data)

    return Raw(own.names, own.n_rows + test.n_rows, take, targets, address_of(data), "", test.n_rows)


def _append(column: pd.Series, test: pd.Series, data: FileSection) -> pd.Series:
    """The values of both files, those of the test file of the first one's type."""
    if column.name not in (*data.drop, *data.categorical):
        column = as_datetime(column)
        test = _like(column, as_datetime(test), f" of {data.test_path}")
    return pd.concat([column, test], ignore_index=True)


def _like(model: pd.Series, column: pd.Series, where: str) -> pd.Series:
    """`column` as numbers or dates where `model` holds them, and never as numbers where it does not."""
    if is_number(model):
        return as_numbers(column, where)
    return as_moments(column, where) if is_datetime(model) else column.astype(object)


SOURCES: dict[str, Callable[..., Raw]] = {
    "breast_cancer": _from_sklearn,
    "iris": _from_sklearn,
    "wine": _from_sklearn,
    "digits": _from_sklearn,
    "diabetes": _from_sklearn,
    "california_housing": _from_california,
    "openml": _from_openml,
    "outliers": _made,
    "sparse": _made,
    "csv": _from_file,
    "mobile_price": _from_file,
}


def name_of(data: Data) -> str:
    """What the table is called."""
    return Path(data.path.removesuffix(".gz")).stem if isinstance(data, Csv) else data.name


def address_of(data: FileSection) -> str:
    """Where the file is."""
    return str(Path(data.path).expanduser().resolve())


def digest_of_files(data: Data) -> str:
    """A digest of the bytes of the files read, 32 hex digits; empty for a source that reads none.

    Raises:
        DataError: a file cannot be read.
    """
    if not isinstance(data, FileSection):
        return ""
    require_downloaded(data)
    digest = hashlib.blake2b(file_digest(data.path), digest_size=16)
    if data.test_path is not None:
        digest.update(file_digest(data.test_path, "data.test_path"))
    return digest.hexdigest()


def require_downloaded(data: Data) -> None:
    """Refuse a file that does not come with this package and is not there; raises DataError with its address."""
    if isinstance(data, MobilePrice) and not Path(data.path).expanduser().exists():
        raise DataError(
            f"data.path: no such file, got '{data.path}'; download train.csv from "
            "https://www.kaggle.com/datasets/iabhishekofficial/mobile-price-classification "
            "and give its place: data.path=FOLDER/train.csv"
        )


def digest_of(frame: pd.DataFrame) -> str:
    """A digest of a frame's names and values, 32 hex digits."""
    digest = hashlib.blake2b("\0".join(map(str, frame.columns)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(frame, index=False)).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- checks
def _require_columns(known: Sequence[str], names: Sequence[str]) -> None:
    from difflib import get_close_matches

    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"columns: {', '.join(known[:20])}"
            raise DataError(f"column '{name}': not in the table; {hint}")


def _require_roles(targets: Sequence[str], data: Data) -> None:
    """Each column has one role: an argument that cannot apply is an error."""
    twice = [name for name in targets if targets.count(name) > 1]
    if twice:
        raise DataError(f"data.target: column '{twice[0]}' stands {targets.count(twice[0])} times")
    steering = {"data.group": data.group, "data.time": data.time}
    given = {"data.drop": data.drop, "data.categorical": data.categorical} | {
        setting: (name,) for setting, name in steering.items() if name
    }
    for setting, names in given.items():
        for name in set(names) & set(targets):
            raise DataError(f"{setting}: column '{name}' is the target")
    for name in data.categorical:
        if name in data.drop or name == data.group:
            other = "data.drop" if name in data.drop else "data.group"
            raise DataError(f"data.categorical: column '{name}' is in {other} and so no feature")


def _require_usable(column: pd.Series, where: str) -> None:
    if is_opaque(column):
        raise DataError(
            f"column '{column.name}'{where}: holds neither numbers nor text nor dates, "
            f"first is '{shown(column.dropna().iloc[0])}'; leave it out with {override('data.drop', str(column.name))}"
        )


def _require_sound_numbers(column: pd.Series, where: str) -> None:
    if is_number(column):
        require_finite(column, where)
    elif is_textual(column):
        _require_no_numbers(column, where)


def _require_no_numbers(column: pd.Series, where: str) -> None:
    """Refuse a text column that is a number column but for a few cells, or for the commas in its numbers."""
    codes, labels = text_codes(column)  # the distinct values alone: text that is no number is slow to refuse
    distinct = pd.Series(labels, dtype="str")
    is_numeric, is_almost = (
        pd.to_numeric(text, errors="coerce").notna().to_numpy() for text in (distinct, distinct.str.replace(",", ""))
    )
    if is_numeric.all() or not is_almost.any():
        return
    counts = np.bincount(codes + 1, minlength=1 + len(labels))[1:]
    if not counts[~is_numeric].any() or counts[is_almost].sum() < ALMOST * counts.sum():
        return
    bad = np.append(~is_numeric, False)[codes]  # −1, missing, takes the last
    first = shown(column[bad].iloc[0])
    fix = f"if it means missing, set {override('data.missing_values', first)}"
    if "," in first:
        fix = "write numbers with a decimal point and without commas"
    categorical = override("data.categorical", str(column.name))
    raise misfits(column, bad, "numbers", where, f"; {fix}, if the column holds categories, {categorical}")


def _id_notes(column: pd.Series) -> list[str]:
    """A note for a column whose values name rows instead of describing them."""
    whole = pd.api.types.is_integer_dtype(column)
    textual = not is_number(column) and not is_datetime(column)
    ordered = whole and (column.is_monotonic_increasing or column.is_monotonic_decreasing)
    named = whole and str(column.name).lower().replace("_", "").endswith("id")
    if len(column) < 20 or not (textual or ordered or named):
        return []
    n_enough = 0.95 * column.notna().sum()
    if is_coded(column) and len(text_codes(column)[1]) <= n_enough:  # as most text, without a look at its rows
        return []
    n_values = n_distinct(column)
    if n_values <= n_enough:
        return []
    return [
        f"column '{column.name}' looks like an id ({n_values} distinct values in {len(column)} rows); "
        f"if it is one, leave it out with {override('data.drop', str(column.name))}"
    ]
