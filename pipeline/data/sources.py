"""Where tables come from: scikit-learn's sets, OpenML, files; and the checks a table must pass."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import CaliforniaHousing, Csv, Data, DataSection, FileSection, MobilePrice, OpenML
from pipeline.errors import DataError
from pipeline.types import Table, Task

MAX_CLASSES = 20  # distinct whole numbers in a target up to which the task is read as classification
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A")
ALMOST_NUMBERS = 0.8  # share of numbers from which a text column is a number column with mistakes in it

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Raw:
    """A table as it was read, not looked at yet."""

    frame: pd.DataFrame
    targets: tuple[str, ...]
    source: str  # path or address, as MLflow shows it
    digest: str
    n_given_test: int = 0


def load_table(data: Data) -> Table:
    """Read the table that `data` names and check it.

    Raises:
        DataError: for a table that cannot be trained on; the message names column and row. Rows count from 1,
            the header not among them.
    """
    raw = SOURCES[data.name](data)
    targets, steering = list(raw.targets), [name for name in (data.group, data.time) if name]
    _require_columns(raw.frame, [*targets, *data.drop, *data.categorical, *steering])
    y = raw.frame[targets]
    _require_no_missing(y)
    task, classes, note = _infer_task(y, data.task)
    dropped = {*targets, *data.drop, *([data.group] if data.group else [])}
    frame = raw.frame.drop(columns=list(dropped))
    frame = _as_categories(frame, [name for name in data.categorical if name in frame])
    _require_features(frame)
    return Table(
        name=data.name if not isinstance(data, Csv) else _stem(data.path),
        source=raw.source,
        digest=raw.digest,
        frame=frame,
        targets=_encode(y, task, classes),
        task=task,
        classes=tuple(str(label) for label in classes),
        group=raw.frame[data.group] if data.group else None,
        time=raw.frame[data.time] if data.time else None,
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
    return Raw(
        bunch.frame,
        tuple(bunch.target_names),
        "sklearn.datasets.fetch_california_housing",
        digest_of(bunch.frame),
    )


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
    from urllib.error import URLError

    try:
        with warnings.catch_warnings():  # scikit-learn warns at each of its retries
            warnings.simplefilter("ignore")
            return fetch()
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{setting}: could not be downloaded ({reason}); "
            "without a network use data=csv data.path=FILE data.target=COLUMN"
        ) from error
    except ValueError as error:  # what scikit-learn raises for a name, version or target it does not find
        raise DataError(f"{setting}: {' '.join(str(error).split())}") from error


def _from_mobile_price(data: MobilePrice) -> Raw:
    if not Path(data.path).exists():
        raise DataError(
            f"data.path: no such file, got '{data.path}'; download train.csv from "
            "https://www.kaggle.com/datasets/iabhishekofficial/mobile-price-classification "
            "and give its place: data.path=FOLDER/train.csv"
        )
    return _from_file(data)


def _from_file(data: FileSection) -> Raw:
    targets = (data.target,) if isinstance(data.target, str) else data.target
    frame = read_file(data.path, separator=data.separator, missing_values=data.missing_values)
    digest = hashlib.blake2b(_file_digest(data.path), digest_size=16)
    n_given_test = 0
    if data.test_path is not None:
        test = read_file(data.test_path, separator=data.separator, missing_values=data.missing_values)
        digest.update(_file_digest(data.test_path))
        _require_columns(frame, targets)
        frame, n_given_test = _append(frame, test, data), len(test)
    return Raw(frame, targets, str(Path(data.path).resolve()), digest.hexdigest(), n_given_test)


def _append(frame: pd.DataFrame, test: pd.DataFrame, data: FileSection) -> pd.DataFrame:
    absent = [name for name in frame.columns if name not in test.columns and name not in data.drop]
    if absent:
        raise DataError(f"data.test_path: column '{absent[0]}' of {data.path} is not in {data.test_path}")
    for name in frame.columns.intersection(test.columns):
        if is_number(frame[name]) and test[name].notna().any() and not is_number(test[name]):
            _require_numbers(name, test[name], f" of {data.test_path}")
    return pd.concat([frame, test.reindex(columns=frame.columns)], ignore_index=True)


SOURCES: dict[str, Callable[..., Raw]] = {
    "breast_cancer": _from_sklearn,
    "iris": _from_sklearn,
    "wine": _from_sklearn,
    "digits": _from_sklearn,
    "diabetes": _from_sklearn,
    "california_housing": _from_california,
    "openml": _from_openml,
    "csv": _from_file,
    "mobile_price": _from_mobile_price,
}


# ---------------------------------------------------------------- files
def read_file(path: str, *, separator: str = ",", missing_values: Sequence[str] = ()) -> pd.DataFrame:
    """A table file as a frame; format and compression are told by the suffix.

    Raises:
        DataError: no such file, a suffix that is not read, an empty or broken file, a column name given twice.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    file = Path(path)
    if not file.is_file():
        raise DataError(f"data.path: no such file, got '{path}'")
    if not file.name.lower().endswith((".csv", ".csv.gz", ".parquet")):
        raise DataError(f"data.path: must end in .csv, .csv.gz or .parquet, got '{path}'")
    missing = [*MISSING, *missing_values]
    try:
        if file.suffix.lower() == ".parquet":
            table = parquet.read_table(file)
        else:
            table = csv.read_csv(
                file,
                parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
                convert_options=csv.ConvertOptions(null_values=missing, strings_can_be_null=True),
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {_first_line(error)}") from error
    _require_sound(table.column_names, table.num_rows, path, separator)
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    frame = frame.reset_index(drop=frame.index.name is None)
    frame.columns = frame.columns.map(str)
    return frame


def _require_sound(names: Sequence[str], n_rows: int, path: str, separator: str) -> None:
    twice = [name for position, name in enumerate(names) if name in names[:position]]
    if twice:
        raise DataError(
            f"{path}: column name '{twice[0]}' stands {list(names).count(twice[0])} times; names must differ"
        )
    if not n_rows:
        raise DataError(f"{path}: has no rows")
    others = [mark for mark in ",;\t|" if mark != separator and mark in names[0]]
    if len(names) == 1 and others:
        raise DataError(
            f"{path}: has one column, '{names[0]}'; if '{others[0]}' separates fields, set data.separator='{others[0]}'"
        )


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.removeprefix("CSV parse error: ").rstrip(".")


def _file_digest(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def digest_of(frame: pd.DataFrame) -> str:
    """A digest of a frame's names and values, 32 hex digits."""
    digest = hashlib.blake2b("\0".join(map(str, frame.columns)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(frame, index=False)).tobytes())
    return digest.hexdigest()


def _stem(path: str) -> str:
    return Path(path).name.split(".")[0]


# ---------------------------------------------------------------- columns
def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers (booleans are categories)."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def is_datetime(column: pd.Series) -> bool:
    """Whether a column holds dates or times."""
    return pd.api.types.is_datetime64_any_dtype(column)


def row_of(bad: pd.Series | np.ndarray) -> int:
    """Number, from 1, of the first row marked."""
    return int(np.asarray(bad).argmax()) + 1


def as_datetimes(frame: pd.DataFrame) -> pd.DataFrame:
    """Date objects and text that is throughout an ISO date become datetimes."""
    found: dict[str, pd.Series] = {}
    for name, column in frame.items():
        if is_number(column) or is_datetime(column) or pd.api.types.is_bool_dtype(column):
            continue
        sample = column.dropna().head(100)
        if len(sample) and sample.astype(str).str.match(r"\d{4}-\d{2}-\d{2}([T ]|$)").all():
            parsed = pd.to_datetime(column, errors="coerce", format="ISO8601")
            if parsed.notna().sum() == column.notna().sum():
                found[str(name)] = parsed
    return frame.assign(**found)


def _as_categories(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The frame with dates parsed, named columns turned to text, and number columns that hold text refused."""
    frame = as_datetimes(frame)
    chosen = {name: as_text(frame[name]) for name in names}
    for name, column in frame.items():
        if name in chosen:
            continue
        if is_number(column):
            _require_finite(str(name), column)
        elif not is_datetime(column) and not pd.api.types.is_bool_dtype(column) and column.dtype != "category":
            _require_numbers(str(name), column)
    return frame.assign(**chosen)


def as_text(column: pd.Series) -> pd.Series:
    """A column's values as text, whole numbers without a decimal point, missing ones kept."""
    if is_number(column):
        values = column.astype("Float64")
        whole = (values % 1 == 0).fillna(False)
        text = values.astype("string").where(~whole, values.where(whole).astype("Int64").astype("string"))
        return text.astype(object).where(column.notna(), None)
    return column.astype("string").astype(object).where(column.notna(), None)


def _require_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    from difflib import get_close_matches

    for name in names:
        if name not in frame.columns:
            known = [str(column) for column in frame.columns]
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"columns: {', '.join(known[:20])}"
            raise DataError(f"column '{name}': not in the table; {hint}")


def _require_no_missing(targets: pd.DataFrame) -> None:
    for name, column in targets.items():
        missing = column.isna()
        if missing.any():
            raise DataError(
                f"column '{name}': the target is missing in {int(missing.sum())} of {len(column)} rows, "
                f"first in row {row_of(missing)}; remove or fill these rows"
            )


def _require_features(frame: pd.DataFrame) -> None:
    if frame.columns.empty:
        raise DataError("no feature columns: the target, data.drop and data.group leave none")


def _require_finite(name: str, column: pd.Series) -> None:
    infinite = np.isinf(column.to_numpy(dtype=float, na_value=np.nan))
    if infinite.any():
        raise DataError(
            f"column '{name}': {int(infinite.sum())} of {len(column)} values are infinite, "
            f"first in row {row_of(infinite)}; make them missing or finite"
        )


def _require_numbers(name: str, column: pd.Series, where: str = "") -> None:
    """Refuse a text column that is a number column but for a few cells."""
    given = column.notna()
    numbers = pd.to_numeric(column.where(given), errors="coerce")
    bad = given & numbers.isna()
    if where or (bad.any() and numbers.notna().sum() >= ALMOST_NUMBERS * given.sum()):
        first = column[bad].iloc[0]
        raise DataError(
            f"column '{name}'{where}: {int(bad.sum())} of {len(column)} values are not numbers, "
            f"first is '{first}' in row {row_of(bad)}; if it means missing, set data.missing_values=['{first}'], "
            f"if the column holds categories, data.categorical=[{name}]"
        )


def _id_notes(frame: pd.DataFrame) -> list[str]:
    """A note for each column whose values name rows instead of describing them."""
    notes = []
    for name, column in frame.items():
        whole = pd.api.types.is_integer_dtype(column)
        textual = not is_number(column) and not is_datetime(column)
        if len(column) >= 20 and (whole or textual) and column.nunique() > 0.95 * column.notna().sum() > 0:
            ordered = whole and (column.is_monotonic_increasing or column.is_monotonic_decreasing)
            if textual or ordered or str(name).lower().replace("_", "").endswith("id"):
                notes.append(
                    f"column '{name}' looks like an id ({column.nunique()} distinct values in {len(column)} rows); "
                    f"if it is one, leave it out with data.drop=[{name}]"
                )
    return notes


# ---------------------------------------------------------------- target
def _infer_task(targets: pd.DataFrame, asked: str) -> tuple[Task, list[object], str]:
    """Task, sorted class labels, and a sentence that says how the task was found."""
    name, column = str(targets.columns[0]), targets.iloc[:, 0]
    labels = sorted(column.unique().tolist(), key=lambda label: (isinstance(label, str), label))
    if asked == "regression" or (asked == "auto" and (targets.shape[1] > 1 or not _is_label(column, len(labels)))):
        for target in targets:
            _require_regression_target(str(target), targets[target])
        names = ", ".join(f"'{target}'" for target in targets)
        reason = (
            "as asked"
            if asked != "auto"
            else f"{targets.shape[1]} targets"
            if targets.shape[1] > 1
            else (f"{len(labels)} distinct numbers in the target")
        )
        return "regression", [], f"task: regression of {names} ({reason}; data.task overrides)"
    if targets.shape[1] > 1:
        raise DataError(f"data.target: several targets mean regression, got data.task={asked} with {list(targets)}")
    if len(labels) < 2:
        raise DataError(f"column '{name}': the target has one class only, '{labels[0]}'")
    reason = "as asked" if asked != "auto" else f"{len(labels)} distinct values in the target"
    task: Task = "binary" if len(labels) == 2 else "multiclass"
    return (
        task,
        labels,
        f"task: classification of '{name}', {len(labels)} classes ({reason}; data.task overrides)",
    )


def _is_label(column: pd.Series, n_distinct: int) -> bool:
    if not is_number(column):
        return True
    values = column.to_numpy(dtype=float)
    return bool(n_distinct <= MAX_CLASSES and np.isfinite(values).all() and (values == np.round(values)).all())


def _require_regression_target(name: str, column: pd.Series) -> None:
    if not is_number(column) and not pd.api.types.is_bool_dtype(column):
        bad = pd.to_numeric(column, errors="coerce").isna()
        first = column[bad].iloc[0] if bad.any() else column.iloc[0]
        raise DataError(
            f"column '{name}': a regression target must hold numbers, "
            f"first other value is '{first}' in row {row_of(bad)}"
        )
    _require_finite(name, column)
    if column.nunique() < 2:
        raise DataError(f"column '{name}': the target is the same in every row, {column.iloc[0]}")


def _encode(targets: pd.DataFrame, task: Task, classes: Sequence[object]) -> pd.DataFrame:
    """Class codes in the order of `classes`, or float64 values."""
    if task == "regression":
        return targets.astype("float64")
    codes = targets.iloc[:, 0].map({label: code for code, label in enumerate(classes)})
    return pd.DataFrame({str(targets.columns[0]): codes.astype("int64").to_numpy()})
