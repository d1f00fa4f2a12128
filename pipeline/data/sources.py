"""Where tables come from: scikit-learn's sets, OpenML, files; and the checks a table must pass."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import CaliforniaHousing, Csv, Data, DataSection, FileSection, MobilePrice, OpenML
from pipeline.data.columns import (
    ALMOST,
    as_datetimes,
    as_moments,
    as_numbers,
    as_text,
    is_datetime,
    is_number,
    is_opaque,
    is_textual,
    misfits,
    override,
    row_of,
    shown,
    text_codes,
)
from pipeline.data.files import file_digest, read_file
from pipeline.data.targets import encode, infer_task
from pipeline.errors import DataError
from pipeline.types import Table


@dataclass(frozen=True)
class Raw:
    """A table as it was read, not looked at yet."""

    frame: pd.DataFrame
    targets: tuple[str, ...]
    source: str  # path or address, as MLflow shows it
    digest: str  # of what was read; empty where the files' own is meant
    n_given_test: int = 0

    def files(self, data: Data) -> list[tuple[str, slice]]:
        """Rows of each file read, with the words that say which file where there are two."""
        n_own = len(self.frame) - self.n_given_test
        files = [("", slice(n_own))]
        if isinstance(data, FileSection) and data.test_path:
            files.append((f" of {data.test_path}", slice(n_own, None)))
        return files


def load_table(data: Data, digest: str = "") -> Table:
    """Read the table that `data` names and check it.

    Args:
        data: the config's section.
        digest: `digest_of_files(data)`, where it is known already.

    Raises:
        DataError: for a table that cannot be trained on; the message names column and row. Rows count from 1,
            the header not among them.
    """
    digest = digest or digest_of_files(data)
    raw = SOURCES[data.name](data)
    targets, steering = list(raw.targets), [name for name in (data.group, data.time) if name]
    _require_columns(raw.frame, [*targets, *data.drop, *data.categorical, *steering])
    _require_roles(targets, data)
    typed = as_datetimes(raw.frame, besides=(*data.drop, *data.categorical))
    y = typed[targets]
    frame = typed.drop(columns=[*targets, *data.drop, *([data.group] if data.group else [])])
    if frame.columns.empty:
        raise DataError("no feature columns: the target, data.drop and data.group leave none")
    for where, rows in raw.files(data):
        _require_sound_targets(y.iloc[rows], where)
        _require_usable(typed.iloc[rows].drop(columns=list(data.drop)), where)
        _require_sound_numbers(frame.iloc[rows].drop(columns=list(data.categorical)), where)
    task, classes, note = infer_task(y, data.task)
    frame = frame.assign(**{name: as_text(frame[name]) for name in data.categorical})
    return Table(
        name=name_of(data),
        source=raw.source,
        digest=raw.digest or digest,
        frame=frame,
        targets=encode(y, task, classes),
        task=task,
        classes=classes,
        group=typed[data.group] if data.group else None,
        time=typed[data.time] if data.time else None,
        n_given_test=raw.n_given_test,
        notes=(note, *_id_notes(frame)),
    )


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
    return Raw(frame, ("target",), f"sklearn.datasets.load_{name}", digest_of(frame))


def _from_california(data: CaliforniaHousing) -> Raw:
    from sklearn.datasets import fetch_california_housing

    bunch = _fetch(lambda: fetch_california_housing(as_frame=True), "data=california_housing")
    source = "sklearn.datasets.fetch_california_housing"
    return Raw(bunch.frame, tuple(bunch.target_names), source, digest_of(bunch.frame))


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
    return Raw(bunch.frame, names, f"openml.org/d/{bunch.details['id']}", digest_of(bunch.frame))


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
    frame = read_file(data.path, separator=data.separator, missing_values=data.missing_values)
    n_given_test = 0
    if data.test_path is not None:
        test = read_file(data.test_path, "data.test_path", separator=data.separator, missing_values=data.missing_values)
        _require_columns(frame, targets)
        n_given_test = len(test)
        frame = _append(frame, test, data)
    return Raw(frame, targets, address_of(data), "", n_given_test)


def _append(frame: pd.DataFrame, test: pd.DataFrame, data: FileSection) -> pd.DataFrame:
    """The rows of both files, those of the test file with the columns and types of the first."""
    absent = [name for name in frame.columns if name not in test.columns and name not in data.drop]
    if absent:
        raise DataError(
            f"data.test_path: column '{absent[0]}' of {data.path} is not in {data.test_path}"
            + ("; test rows need their target" if absent[0] in data.target else "")
        )
    besides = (*data.drop, *data.categorical)
    frame, test = (as_datetimes(part, besides=besides) for part in (frame, test))
    kept = [name for name in frame.columns if name not in besides]
    like = {name: _like(frame[name], test[name], f" of {data.test_path}") for name in kept}
    return pd.concat([frame, test.assign(**like).reindex(columns=frame.columns)], ignore_index=True)


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
    if isinstance(data, MobilePrice) and not Path(data.path).expanduser().exists():
        raise DataError(
            f"data.path: no such file, got '{data.path}'; download train.csv from "
            "https://www.kaggle.com/datasets/iabhishekofficial/mobile-price-classification "
            "and give its place: data.path=FOLDER/train.csv"
        )
    digest = hashlib.blake2b(file_digest(data.path), digest_size=16)
    if data.test_path is not None:
        digest.update(file_digest(data.test_path, "data.test_path"))
    return digest.hexdigest()


def digest_of(frame: pd.DataFrame) -> str:
    """A digest of a frame's names and values, 32 hex digits."""
    digest = hashlib.blake2b("\0".join(map(str, frame.columns)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(frame, index=False)).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- checks
def _require_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    from difflib import get_close_matches

    for name in names:
        if name not in frame.columns:
            known = [str(column) for column in frame.columns]
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


def _require_sound_targets(targets: pd.DataFrame, where: str) -> None:
    for name, column in targets.items():
        missing = column.isna()
        if missing.any():
            raise DataError(
                f"column '{name}'{where}: the target is missing in {int(missing.sum())} of {len(column)} rows, "
                f"first in row {row_of(missing)}; remove or fill these rows"
            )
        if is_datetime(column) or is_opaque(column):
            raise DataError(
                f"column '{name}'{where}: a target must hold numbers, text or booleans, "
                f"first is '{shown(column.iloc[0])}'"
            )
        if is_number(column):
            _require_finite(column, where)


def _require_usable(frame: pd.DataFrame, where: str) -> None:
    for name, column in frame.items():
        if is_opaque(column):
            raise DataError(
                f"column '{name}'{where}: holds neither numbers nor text nor dates, "
                f"first is '{shown(column.dropna().iloc[0])}'; leave it out with {override('data.drop', str(name))}"
            )


def _require_sound_numbers(frame: pd.DataFrame, where: str) -> None:
    for _, column in frame.items():
        if is_number(column):
            _require_finite(column, where)
        elif is_textual(column):
            _require_no_numbers(column, where)


def _require_finite(column: pd.Series, where: str) -> None:
    infinite = np.isinf(column.to_numpy(dtype=float, na_value=np.nan))
    if infinite.any():
        raise DataError(
            f"column '{column.name}'{where}: {int(infinite.sum())} of {len(column)} values are infinite, "
            f"first in row {row_of(infinite)}; make them missing or finite"
        )


def _require_no_numbers(column: pd.Series, where: str) -> None:
    """Refuse a text column that is a number column but for a few cells, or for the commas in its numbers."""
    codes, labels = text_codes(column)  # the distinct values alone: text that is no number is slow to refuse
    distinct = pd.Series([*labels, "0"], dtype="str")  # the last one for code −1, missing
    is_numeric, is_almost = (
        pd.to_numeric(text, errors="coerce").notna().to_numpy()[codes]
        for text in (distinct, distinct.str.replace(",", ""))
    )
    n_missing = np.count_nonzero(codes < 0)
    if is_numeric.all() or is_almost.sum() - n_missing < ALMOST * (len(codes) - n_missing):
        return
    first = shown(column[~is_numeric].iloc[0])
    fix = f"if it means missing, set {override('data.missing_values', first)}"
    if "," in first:
        fix = "write numbers with a decimal point and without commas"
    categorical = override("data.categorical", str(column.name))
    raise misfits(column, ~is_numeric, "numbers", where, f"; {fix}, if the column holds categories, {categorical}")


def _id_notes(frame: pd.DataFrame) -> list[str]:
    """A note for each column whose values name rows instead of describing them."""
    notes = []
    for name, column in frame.items():
        whole = pd.api.types.is_integer_dtype(column)
        textual = not is_number(column) and not is_datetime(column)
        if len(column) < 20 or not (whole or textual):
            continue
        n_distinct = column.nunique()
        ordered = whole and (column.is_monotonic_increasing or column.is_monotonic_decreasing)
        named = str(name).lower().replace("_", "").endswith("id")
        if n_distinct > 0.95 * column.notna().sum() and (textual or ordered or named) and n_distinct:
            notes.append(
                f"column '{name}' looks like an id ({n_distinct} distinct values in {len(column)} rows); "
                f"if it is one, leave it out with {override('data.drop', str(name))}"
            )
    return notes
