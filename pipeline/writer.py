"""Operations on their way to a store, written by a thread of its own that keeps and retries them."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import first_line

Op = dict[str, Any]  # {"do": "batch" | "inputs" | "file" | "end", …}: JSON, so that it can wait in a file

MAX_ENTRIES, MAX_PAIRS = 1000, 100  # of one batch, MLflow's limits: in all, and of params or tags
RETRY_SECONDS = 1.0  # between two tries while the store is away

logger = logging.getLogger(__name__)


class Writer:
    """Sends operations from a thread of its own, in order; keeps and retries them while the store is away.

    Metrics, params and tags that come between two flushes go together, ahead of what else came: a batch costs a
    store about as much as a single entry.
    """

    def __init__(self, send: Callable[[Op], object], flush_seconds: float) -> None:
        self._send, self._flush_seconds = send, flush_seconds
        self._metrics: list[tuple[str, float, int, int]] = []
        self._pairs: dict[str, dict[str, str]] = {"params": {}, "tags": {}}
        self._others: list[Op] = []  # since the last flush
        self._ops: list[Op] = []  # ready to be sent
        self._lock, self._wake, self._closing = threading.Lock(), threading.Event(), False
        self._away = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        with self._lock:
            self._metrics += [(name, float(value), now, step) for name, value in values.items()]

    def params(self, values: Mapping[str, str]) -> None:
        with self._lock:
            self._pairs["params"] |= values

    def tags(self, values: Mapping[str, str]) -> None:
        """A later value replaces an earlier one."""
        with self._lock:
            self._pairs["tags"] |= values

    def put(self, op: Op) -> None:
        with self._lock:
            self._others.append(op)

    def close(self, wait_seconds: float) -> list[Op]:
        """Send what is left; returns what could not be sent after `wait_seconds` without success."""
        self._wait_seconds, self._deadline = wait_seconds, time.monotonic() + wait_seconds
        self._closing = True
        self._wake.set()
        self._thread.join()
        with self._lock:
            self._gather()
            return self._ops

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(RETRY_SECONDS if self._away else self._flush_seconds)
            self._flush()
        while True:
            self._flush()
            if not self._ops or time.monotonic() > self._deadline:
                return
            time.sleep(RETRY_SECONDS / 4)

    def _flush(self) -> None:
        with self._lock:
            self._gather()
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

    def _gather(self) -> None:
        """Make what came since the last time ready to be sent."""
        params, tags = (list(pairs.items()) for pairs in self._pairs.values())
        while self._metrics or params or tags:
            op: Op = {"do": "batch", "params": params[:MAX_PAIRS], "tags": tags[:MAX_PAIRS]}
            room = MAX_ENTRIES - len(op["params"]) - len(op["tags"])
            op["metrics"], self._metrics = self._metrics[:room], self._metrics[room:]
            params, tags = params[MAX_PAIRS:], tags[MAX_PAIRS:]
            self._ops.append(op)
        self._ops += self._others
        self._pairs, self._others = {"params": {}, "tags": {}}, []
