"""Operations on their way to a store, written by a thread of its own that keeps and retries them."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import first_line

Op = dict[str, Any]  # {"do": "batch" | "inputs" | "file" | "end", …}: JSON, so that it can wait in a file

MAX_METRICS = 1000  # of one batch, MLflow's limit
RETRY_SECONDS = 1.0  # between two tries while the store is away

logger = logging.getLogger(__name__)


class Writer:
    """Sends operations from a thread of its own, in order; keeps and retries them while the store is away."""

    def __init__(self, send: Callable[[Op], object], flush_seconds: float) -> None:
        self._send, self._flush_seconds = send, flush_seconds
        self._metrics: list[tuple[str, float, int, int]] = []
        self._ops: list[Op] = []
        self._lock, self._wake, self._closing = threading.Lock(), threading.Event(), False
        self._away = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        with self._lock:
            self._metrics += [(name, float(value), now, step) for name, value in values.items()]

    def put(self, op: Op) -> None:
        with self._lock:
            self._take_metrics()
            self._ops.append(op)

    def close(self, wait_seconds: float) -> list[Op]:
        """Send what is left; returns what could not be sent after `wait_seconds` without success."""
        self._wait_seconds, self._deadline = wait_seconds, time.monotonic() + wait_seconds
        self._closing = True
        self._wake.set()
        self._thread.join()
        with self._lock:
            self._take_metrics()
            return self._ops

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(RETRY_SECONDS if self._away else self._flush_seconds)
            self._flush()
        while self._ops or self._metrics:
            self._flush()
            if not self._ops or time.monotonic() > self._deadline:
                return
            time.sleep(RETRY_SECONDS / 4)

    def _flush(self) -> None:
        with self._lock:
            self._take_metrics()
        while self._ops:
            try:
                self._send(self._ops[0])
            except Exception as error:  # whatever the store says, the operation is kept
                self._say_away(error)
                return
            self._away = False
            with self._lock:
                self._ops.pop(0)
            if self._closing:
                self._deadline = time.monotonic() + self._wait_seconds

    def _say_away(self, error: Exception) -> None:
        if not self._away:
            logger.warning(
                "the tracking store took nothing just now; all is kept and sent later (%s)", first_line(error)
            )
        self._away = True

    def _take_metrics(self) -> None:
        for first in range(0, len(self._metrics), MAX_METRICS):
            self._ops.append({"do": "batch", "metrics": self._metrics[first : first + MAX_METRICS]})
        self._metrics = []
