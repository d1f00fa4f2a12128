"""What a server counts for Prometheus: requests, seconds, and where the rows leave what training saw."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from pipeline.bundle import MISSING, Schema

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each that nobody looks at
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Meters:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        given: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("requests", "Requests answered", ["path", "status"], **given)
        self._seconds = Histogram("request_seconds", "Seconds to an answer", ["path"], buckets=SECONDS, **given)
        self._rows = Counter("rows", "Rows read, those refused included", **given)
        self._missing = Counter("missing", "Missing and unreadable values", ["column"], **given)
        self._unseen = Counter("unseen_category", "Categories never seen in training", ["column"], **given)
        self._outside = Counter("out_of_range", "Numbers outside the training range", ["column"], **given)
        self._model = Gauge("model_info", "The model served", ["name", "run_id"], **given)
        self._known: dict[str, frozenset[str]] = {}
        self._ends: np.ndarray = np.empty((2, 0))

    def serve(self, schema: Schema) -> None:
        """Begin to count for a model."""
        self._numbers = [column for column in schema.columns if column.kind != "category"]
        self._texts = [column for column in schema.columns if column.kind == "category"]
        self._known = {column.name: frozenset((*column.levels, MISSING)) for column in self._texts}
        low = [-np.inf if column.low is None else column.low for column in self._numbers]
        high = [np.inf if column.high is None else column.high for column in self._numbers]
        self._ends = np.array([low, high])[:, :, None]
        self._model.clear()
        self._model.labels(schema.name, schema.run_id).set(1)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def rows(self, columns: Mapping[str, np.ndarray]) -> None:
        """Count rows, and their values that are missing or new; none of a table that lacks a column."""
        if len(columns) < len(self._numbers) + len(self._texts):
            return
        self._rows.inc(len(next(iter(columns.values()))))
        if self._numbers:
            x = np.array([columns[column.name] for column in self._numbers])  # (n, N)
            self._add(self._missing, self._numbers, np.isnan(x))
            self._add(self._outside, self._numbers, (x < self._ends[0]) | (x > self._ends[1]))
        for column in self._texts:
            values, known = columns[column.name].tolist(), self._known[column.name]
            if n_missing := values.count(MISSING):
                self._missing.labels(column.name).inc(n_missing)
            if n_unseen := sum(value not in known for value in values):
                self._unseen.labels(column.name).inc(n_unseen)

    def text(self) -> bytes:
        """All of it in Prometheus' form."""
        return generate_latest(self._registry)

    @staticmethod
    def _add(counter: Counter, columns: list[Any], marked: np.ndarray) -> None:
        if marked.any():
            for column, count in zip(columns, marked.sum(axis=1).tolist(), strict=True):
                if count:
                    counter.labels(column.name).inc(count)
