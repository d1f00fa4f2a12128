"""The model being served, and how another takes its place while requests run."""

import threading
from collections.abc import Callable
from pathlib import Path

from pipeline.bundle import DESCRIPTION, Bundle

Resolve = Callable[[], Path]  # the folder of the model that should be served now


class Served:
    """A bundle that can be exchanged; a request uses the one it began with."""

    def __init__(self, resolve: Resolve, told: Callable[[Bundle], object]) -> None:
        self._resolve, self._told, self._lock = resolve, told, threading.Lock()
        self.bundle = self._load(resolve())

    def reload(self) -> bool:
        """Load what should be served now; whether that is another model. Raises PipelineError, and keeps the old."""
        with self._lock:
            folder = self._resolve()
            if self._mark(folder) == self._loaded:
                return False
            self.bundle = self._load(folder)
            return True

    def _load(self, folder: Path) -> Bundle:
        mark, bundle = self._mark(folder), Bundle.load(folder)
        bundle.predict(_example(bundle))  # the first pass takes longer: not at a user's cost
        self._loaded = mark
        self._told(bundle)
        return bundle

    @staticmethod
    def _mark(folder: Path) -> tuple[str, int]:
        file = folder / DESCRIPTION
        return str(folder), file.stat().st_mtime_ns if file.exists() else 0


def _example(bundle: Bundle):  # type: ignore[no-untyped-def]  # columns as `Bundle.predict` takes them
    from pipeline.rows import read_rows

    absent = {column.name: [None] for column in bundle.schema.columns}
    return read_rows(bundle.schema, absent, 1, unknown="impute").columns
