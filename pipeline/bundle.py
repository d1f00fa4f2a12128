"""A trained model as data: a folder with one ONNX graph, from raw columns to predictions, and what it expects as JSON.

Written and read without pickle; reading and predicting need numpy and onnxruntime alone, so that a server starts fast.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np

from pipeline.errors import PipelineError, first_line

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from pipeline.types import Task

FORMAT = 1  # of bundle.json; a reader refuses another
MISSING = "\ue000"  # a missing category in the graph's text inputs: of Unicode's private use, in no language
CELLS = 2**18  # rows times columns of a pass through the graph: 2 MB of numbers, which stay in a processor's cache
MODEL, DESCRIPTION = "model.onnx", "bundle.json"

Kind = Literal["number", "category", "datetime"]
Label = str | int | float | bool


class BundleError(PipelineError):
    """A folder that is no bundle, or columns that a bundle does not take."""


@dataclass(frozen=True)
class Column:
    """A raw column that the model takes, and what its training rows held."""

    name: str
    kind: Kind
    missing: bool  # whether values were missing
    integer: bool  # whether all numbers were whole
    low: float | None  # smallest and largest; of datetimes seconds since 1970-01-01 UTC; None: of a category
    high: float | None
    levels: tuple[str, ...]  # categories known, sorted
    example: float | str | None  # of a training row; None: missing
    rare: bool = False  # whether there were further categories, pooled because few rows had them: others are no news

    @cached_property
    def known(self) -> frozenset[str]:
        """The levels, to be looked up."""
        return frozenset(self.levels)


@dataclass(frozen=True)
class Schema:
    """What a model takes and gives, how good it is, and where it comes from."""

    name: str  # of the data set
    run_id: str
    task: "Task"
    targets: tuple[str, ...]
    classes: tuple[Label, ...]  # as in the data; empty for regression
    columns: tuple[Column, ...]
    coverage: float  # that sets or intervals were made for
    metrics: Mapping[str, float]  # val/… and test/…
    versions: Mapping[str, str]
    digest: str  # of the data
    test_digest: str  # of the test rows: models with the same one can be compared
    created: str  # ISO 8601

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes as text, whole numbers without a decimal point."""
        return tuple(str(int(c)) if isinstance(c, float) and c.is_integer() else str(c) for c in self.classes)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The schema that `dataclasses.asdict` described; raises KeyError, TypeError for something else."""
        columns = tuple(Column(**column | {"levels": tuple(column["levels"])}) for column in given["columns"])
        lists = {name: tuple(given[name]) for name in ("targets", "classes")}
        return cls(**{**given, "columns": columns, **lists})


class Predictions(NamedTuple):
    """Answers for N rows."""

    values: np.ndarray  # (N, C) calibrated probabilities, or (N, T) values; float64
    low: np.ndarray | None = None  # (N, T) of regression
    high: np.ndarray | None = None
    sets: np.ndarray | None = None  # (N, C) bool of classification: the classes that may be true


def _lists(sets: np.ndarray, classes: Sequence[Label]) -> list[Any]:
    """For each row of sets (N, C) the list of its classes; rows with the same set share one."""
    if len(sets) == 1:
        return [[label for label, is_member in zip(classes, sets[0].tolist(), strict=True) if is_member]]
    packed = np.packbits(sets, axis=1)
    distinct, which = np.unique(packed.view(f"V{packed.shape[1]}")[:, 0], return_inverse=True)
    unpacked = np.unpackbits(distinct.view(np.uint8).reshape(len(distinct), -1), axis=1, count=len(classes))
    lists = np.empty(len(distinct), dtype=object)
    for position, row in enumerate(unpacked):
        lists[position] = [label for label, is_member in zip(classes, row, strict=True) if is_member]
    return lists[which].tolist()  # type: ignore[no-any-return]


class Bundle:
    """A model ready to use.

    Attributes:
        schema: what it takes and gives.
        model: the serialised graph.
    """

    def __init__(self, schema: Schema, model: bytes, where: str, *, threads: int = 1) -> None:
        self.schema, self.model, self._where = schema, model, where
        self._session = _session(model, threads, where)
        self._used = [given.name for given in self._session.get_inputs()]  # a column that never varied is not
        self._step = max(1, CELLS // max(1, len(schema.columns)))

    @classmethod
    def load(cls, folder: str | Path, *, threads: int = 1) -> Self:
        """The bundle in `folder`, which computes with `threads` threads; raises BundleError."""
        return cls.of({name: _read(Path(folder), name) for name in (DESCRIPTION, MODEL)}, str(folder), threads=threads)

    @classmethod
    def of(cls, files: Mapping[str, bytes], where: str, *, threads: int = 1) -> Self:
        """The bundle of these files by name; `where` they are from stands in the message of a BundleError."""
        schema, digest = _described(files[DESCRIPTION], where)
        if hashlib.sha256(files[MODEL]).hexdigest() != digest:
            raise BundleError(f"bundle {where}: {MODEL} is not the one that {DESCRIPTION} describes")
        return cls(schema, files[MODEL], where, threads=threads)

    def entered_by(self, model: bytes) -> Self:
        """This bundle with another graph in it, which takes other values of the same columns to the same answers."""
        return type(self)(self.schema, model, self._where)

    def predict(self, columns: Mapping[str, np.ndarray]) -> Predictions:
        """Answers for rows given as columns (N,), N at least 1.

        Args:
            columns: every column of the schema: float64 of numbers (nan: missing) and of datetimes (seconds since
                1970-01-01 UTC, as `seconds_of` makes them), objects of str of categories (MISSING: missing).

        Raises:
            BundleError: a column is absent or unknown, or they differ in length.
        """
        n_rows = self._check(columns)
        parts = [
            self._session.run(None, {name: columns[name][start : start + self._step] for name in self._used})
            for start in range(0, n_rows, self._step)
        ]
        outputs = parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]
        if self.schema.task == "regression":
            values, low, high = outputs
            return Predictions(values, low, high)
        values, sets = outputs
        return Predictions(values, sets=sets)

    def table(
        self, predictions: Predictions, lists: Callable[[np.ndarray, Sequence[Label]], Any] = _lists
    ) -> dict[str, Any]:
        """Answers as columns by name: labels as in the data with a probability a class, or values with intervals.

        Args:
            predictions: the answers.
            lists: makes a column of lists of sets (N, C) and the C classes.
        """
        values, schema = predictions.values, self.schema
        if schema.task == "regression":
            assert predictions.low is not None
            assert predictions.high is not None
            ends = [f" {target}" for target in schema.targets] if len(schema.targets) > 1 else [""]
            parts = {"predicted": values, "low": predictions.low, "high": predictions.high}
            return {f"{what}{end}": part[:, i] for i, end in enumerate(ends) for what, part in parts.items()}
        assert predictions.sets is not None
        named = {f"probability of {label}": values[:, code] for code, label in enumerate(schema.labels)}
        predicted = _as_array(schema.classes)[values.argmax(axis=1)]
        return {"predicted": predicted, **named, "set": lists(predictions.sets, schema.classes)}

    def _check(self, columns: Mapping[str, np.ndarray]) -> int:
        """The number of rows of columns that fit the schema."""
        expected = [column.name for column in self.schema.columns]
        for name in expected:
            if name not in columns:
                raise BundleError(f"column '{name}': not given, and the model needs it")
        if len(columns) > len(expected):
            unknown = next(name for name in columns if name not in expected)
            raise BundleError(f"column '{unknown}': the model knows no such column")
        lengths = {len(column) for column in columns.values()}
        if len(lengths) != 1 or not max(lengths):
            raise BundleError(f"columns must be of one length, at least 1, got {', '.join(map(str, sorted(lengths)))}")
        return lengths.pop()


def seconds_of(microseconds: np.ndarray) -> np.ndarray:
    """Seconds as float64 of whole microseconds since 1970 (int64), never rounded up into the next second.

    In 9999, which often stands for "never", float64 cannot tell the last microseconds of a day from the next day.
    """
    seconds: np.ndarray = microseconds / 1e6
    following = microseconds // 10**6 + 1
    return np.where(seconds < following, seconds, np.nextafter(following.astype(np.float64), -np.inf))


def bundle_files(schema: Schema, model: bytes) -> dict[str, bytes]:
    """A bundle's files by name; `model` is the serialised ONNX graph."""
    description = {"format": FORMAT, "model_sha256": hashlib.sha256(model).hexdigest(), "schema": asdict(schema)}
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
    return {MODEL: model, DESCRIPTION: text.encode()}


def write_bundle(folder: Path, schema: Schema, model: bytes) -> None:
    """Write a bundle into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in bundle_files(schema, model).items():
        (folder / name).write_bytes(content)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {folder}: {name} cannot be read: {error.strerror}") from error


def _described(description: bytes, where: str) -> tuple[Schema, str]:
    """The schema, and the digest of the model it belongs to."""
    try:
        given = json.loads(description)
    except ValueError as error:
        raise BundleError(f"bundle {where}: {DESCRIPTION} is not JSON: {first_line(error)}") from error
    found = given.get("format") if isinstance(given, dict) else None
    if found != FORMAT:
        raise BundleError(f"bundle {where}: {DESCRIPTION} has format {found}, this version reads {FORMAT}")
    try:
        return Schema.from_dict(given["schema"]), str(given["model_sha256"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"bundle {where}: {DESCRIPTION} is not as it is written: {first_line(error)}") from error


def _session(model: bytes, threads: int, where: str) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors; the graph's own are raised
    options.enable_mem_pattern = False  # which is for batches of one size
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores alone
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own have no base
        raise BundleError(f"bundle {where}: {MODEL} cannot be loaded: {first_line(error)}") from error
    session._validate_input = lambda names: None  # `_check` did that; theirs takes 9 ms for 1000 columns
    return session


def _as_array(classes: Sequence[Label]) -> np.ndarray:
    """Labels as an array of their own type, where they have one."""
    kinds = {type(label) for label in classes}
    return np.array(classes, dtype=None if kinds <= {int} or kinds <= {float} or kinds <= {bool} else object)
